package temporal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// times are when a schedule starts, as its terms have them.
type times struct {
	Calendars []calendar `json:"calendars,omitempty"`
	Intervals []interval `json:"intervals,omitempty"`
}

// calendar is one of Temporal's calendars, with every number that it matches.
type calendar struct {
	Seconds  []int `json:"seconds"`
	Minutes  []int `json:"minutes"`
	Hours    []int `json:"hours"`
	Days     []int `json:"days"`
	Months   []int `json:"months"`
	Weekdays []int `json:"weekdays"`
	Years    []int `json:"years,omitempty"` // none: all
}

type interval struct {
	Every  system.Duration `json:"every"`
	Offset system.Duration `json:"offset,omitempty"`
}

func timesOf(calendars []client.ScheduleCalendarSpec, intervals []client.ScheduleIntervalSpec) times {
	var t times
	for _, c := range calendars {
		one := calendar{
			Seconds: numbers(c.Second), Minutes: numbers(c.Minute), Hours: numbers(c.Hour), Days: numbers(c.DayOfMonth),
			Months: numbers(c.Month), Weekdays: numbers(c.DayOfWeek), Years: numbers(c.Year),
		}
		if len(one.Seconds) == 0 {
			one.Seconds = []int{0} // as Temporal fills it in
		}
		t.Calendars = append(t.Calendars, one)
	}
	for _, i := range intervals {
		t.Intervals = append(t.Intervals, interval{Every: system.Duration(i.Every), Offset: system.Duration(i.Offset)})
	}
	return t
}

func (t times) term() (string, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return "", fault.New(fault.InputInvalid, "describe", "schedule", err)
	}
	return string(text), nil
}

// String says it in words.
func (t times) String() string {
	var parts []string
	for _, c := range t.Calendars {
		part := system.Calendar{Minutes: c.Minutes, Hours: c.Hours, Days: c.Days, Months: c.Months, Weekdays: c.Weekdays}.String()
		if !slices.Equal(c.Seconds, []int{0}) {
			part += fmt.Sprintf(", at seconds %v", c.Seconds)
		}
		if len(c.Years) > 0 {
			part += fmt.Sprintf(", in the years %v", c.Years)
		}
		parts = append(parts, part)
	}
	for _, i := range t.Intervals {
		part := "every " + i.Every.String()
		if i.Offset != 0 {
			part += " + " + i.Offset.String()
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return "never"
	}
	return strings.Join(parts, "; ")
}

// numbers lists what ranges hold.
func numbers(ranges []client.ScheduleRange) []int {
	var all []int
	for _, r := range ranges {
		for n := r.Start; n <= max(r.Start, r.End); n += max(1, r.Step) {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return system.Duration(d).String()
}

func moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}
