package system

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// whenForm is what When reads, for hints.
const whenForm = "first saturday of quarter at 06:00"

// parseWhen reads "first saturday of quarter at 06:00": the first, second, third
// or fourth of a weekday, in the first month of each quarter, in every month, or
// in January of each year. Cron can't say this without being misread.
func parseWhen(text string) (Calendar, error) {
	word := strings.Fields(strings.ToLower(text))
	if len(word) != 6 || word[2] != "of" || word[4] != "at" {
		return Calendar{}, fmt.Errorf("%q is not of the form %q", text, whenForm)
	}
	nth := slices.Index(ordinals(), word[0])
	if nth < 0 {
		return Calendar{}, fmt.Errorf("%q is not first, second, third or fourth", word[0])
	}
	weekday := slices.Index(weekdays(), word[1])
	if weekday < 0 {
		return Calendar{}, fmt.Errorf("%q is no weekday: %s", word[1], strings.Join(weekdays(), ", "))
	}
	c := Calendar{Days: numbersTo(1+7*nth, 7+7*nth), Weekdays: []int{weekday}}
	switch word[3] {
	case "month":
		c.Months = numbersTo(1, 12)
	case "quarter":
		c.Months = []int{1, 4, 7, 10}
	case "year":
		c.Months = []int{1}
	default:
		return Calendar{}, fmt.Errorf("%q is not month, quarter or year", word[3])
	}
	at, err := time.Parse("15:04", word[5])
	if err != nil || len(word[5]) != len("15:04") {
		return Calendar{}, fmt.Errorf("%q is not a time of day from 00:00 to 23:59", word[5])
	}
	c.Hours, c.Minutes = []int{at.Hour()}, []int{at.Minute()}
	return c, nil
}

// errBothDays: cron(8) starts on a day that fits either field, Temporal on one that fits both.
var errBothDays = errors.New("day of month and day of week are both narrowed: cron would start on either, Temporal on a day that is both")

// Calendar gives when the schedule starts; false when it has Every instead. An
// error says what can't be read or never comes.
func (s Schedule) Calendar() (c Calendar, ok bool, err error) {
	switch {
	case s.Cron != "":
		c, err = parseCron(s.Cron)
		return c, true, err
	case s.When != "":
		c, err = parseWhen(s.When)
		return c, true, err
	default:
		return Calendar{}, false, nil
	}
}

// Starts says in words when the schedule starts.
func (s Schedule) Starts() string {
	if c, ok, err := s.Calendar(); ok && err == nil {
		return c.String()
	}
	return "every " + s.Every.String()
}

// Next is the first start after a moment. Every counts from 1970-01-01T00:00:00Z,
// as Temporal does.
func (s Schedule) Next(after time.Time) time.Time {
	if c, ok, err := s.Calendar(); ok {
		if err != nil {
			return time.Time{}
		}
		return c.Next(after)
	}
	every := int64(s.Every.Std() / time.Second)
	if every <= 0 {
		return time.Time{}
	}
	return time.Unix((after.Unix()/every+1)*every, 0).UTC()
}

// Due is the last start that no run can be late for any more: one that was missed is
// made up for within Catchup. The zero time when there was none.
func (s Schedule) Due(now time.Time) time.Time {
	until := now.Add(-s.Catchup.Std())
	if c, ok, err := s.Calendar(); ok {
		if err != nil {
			return time.Time{}
		}
		return c.Last(until)
	}
	every := int64(s.Every.Std() / time.Second)
	if every <= 0 {
		return time.Time{}
	}
	return time.Unix(until.Unix()/every*every, 0).UTC()
}
