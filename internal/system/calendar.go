package system

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Calendar says when a schedule starts, in UTC: at every minute of every hour,
// on each day that all three of Days, Months and Weekdays hold. A schedule with
// Every has no Calendar.
type Calendar struct {
	Minutes, Hours []int // from 0
	Days           []int // of the month, from 1
	Months         []int // from 1
	Weekdays       []int // 0 is Sunday
}

// daysIn is the longest that each month gets.
func daysIn(month int) int { return [...]int{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[month] }

// comes says whether the calendar has a day at all.
func (c Calendar) comes() bool {
	return slices.ContainsFunc(c.Months, func(month int) bool { return c.Days[0] <= daysIn(month) })
}

func (c Calendar) everyDay() bool     { return len(c.Days) == 31 }
func (c Calendar) everyMonth() bool   { return len(c.Months) == 12 }
func (c Calendar) everyWeekday() bool { return len(c.Weekdays) == 7 }

// horizon is how far ahead Next looks: February 29 comes again within 8 years,
// and on a given weekday within 40.
const horizon = 41

// Next is the first start after a moment; the zero time when there is none.
func (c Calendar) Next(after time.Time) time.Time {
	after = after.UTC()
	last := after.AddDate(horizon, 0, 0)
	for d := time.Date(after.Year(), after.Month(), after.Day(), 0, 0, 0, 0, time.UTC); d.Before(last); d = d.AddDate(0, 0, 1) {
		if !slices.Contains(c.Months, int(d.Month())) || !slices.Contains(c.Days, d.Day()) || !slices.Contains(c.Weekdays, int(d.Weekday())) {
			continue
		}
		for _, hour := range c.Hours {
			for _, minute := range c.Minutes {
				if at := d.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute); at.After(after) {
					return at
				}
			}
		}
	}
	return time.Time{}
}

// Last is the last start up to a moment, that moment included; the zero time when there was none.
func (c Calendar) Last(until time.Time) time.Time {
	until = until.UTC()
	first := until.AddDate(-horizon, 0, 0)
	for d := time.Date(until.Year(), until.Month(), until.Day(), 0, 0, 0, 0, time.UTC); d.After(first); d = d.AddDate(0, 0, -1) {
		if !slices.Contains(c.Months, int(d.Month())) || !slices.Contains(c.Days, d.Day()) || !slices.Contains(c.Weekdays, int(d.Weekday())) {
			continue
		}
		for _, hour := range slices.Backward(c.Hours) {
			for _, minute := range slices.Backward(c.Minutes) {
				if at := d.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute); !at.After(until) {
					return at
				}
			}
		}
	}
	return time.Time{}
}

// String says it in words that leave no doubt: "06:00 UTC on the first saturday
// of january, april, july, october".
func (c Calendar) String() string {
	var b strings.Builder
	b.WriteString(c.clock() + " UTC")
	months := inWords(c.Months, 1, months())
	if c.everyMonth() {
		months = "the month"
	}
	weekday := inWords(c.Weekdays, 0, weekdays())
	nth := c.nth()
	switch {
	case nth != "":
		b.WriteString(" on the " + nth + " " + weekday + " of " + months)
	case !c.everyDay():
		b.WriteString(" on each day " + spans(c.Days) + " of " + months)
		if !c.everyWeekday() {
			b.WriteString(" that is a " + weekday)
		}
	default:
		if c.everyWeekday() {
			weekday = "day"
		}
		b.WriteString(" every " + weekday)
		if !c.everyMonth() {
			b.WriteString(" of " + months)
		}
	}
	return b.String()
}

// nth says that the days are those of one week, and one weekday of it; "" else.
func (c Calendar) nth() string {
	if len(c.Days) != 7 || len(c.Weekdays) != 1 || c.Days[6] != c.Days[0]+6 || c.Days[0]%7 != 1 || c.Days[0] > 22 {
		return ""
	}
	return ordinals()[c.Days[0]/7]
}

// clock gives the times of a day.
func (c Calendar) clock() string {
	if len(c.Hours)*len(c.Minutes) <= 4 {
		var times []string
		for _, hour := range c.Hours {
			for _, minute := range c.Minutes {
				times = append(times, fmt.Sprintf("%02d:%02d", hour, minute))
			}
		}
		return strings.Join(times, ", ")
	}
	hours := "every hour"
	if len(c.Hours) < 24 {
		hours = "hour " + spans(c.Hours)
	}
	return "minute " + spans(c.Minutes) + " of " + hours
}

// spans writes numbers that follow each other as a range: "1-7, 15".
func spans(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		end := i
		for end+1 < len(numbers) && numbers[end+1] == numbers[end]+1 {
			end++
		}
		part := strconv.Itoa(numbers[i])
		if end > i {
			part += "-" + strconv.Itoa(numbers[end])
		}
		parts = append(parts, part)
		i = end + 1
	}
	return strings.Join(parts, ", ")
}

// inWords writes numbers as names, and three or more that follow each other as a
// span: "monday to friday".
func inWords(numbers []int, low int, all []string) string {
	var parts []string
	for i := 0; i < len(numbers); {
		end := i
		for end+1 < len(numbers) && numbers[end+1] == numbers[end]+1 {
			end++
		}
		if end-i < 2 {
			end = i
		}
		part := all[numbers[i]-low]
		if end > i {
			part += " to " + all[numbers[end]-low]
		}
		parts = append(parts, part)
		i = end + 1
	}
	return strings.Join(parts, ", ")
}

func ordinals() []string { return []string{"first", "second", "third", "fourth"} }

func weekdays() []string {
	return []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
}

func months() []string {
	return []string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}
}

// numbersTo lists low to top.
func numbersTo(low, top int) []int {
	all := make([]int, 0, top-low+1)
	for n := low; n <= top; n++ {
		all = append(all, n)
	}
	return all
}
