package system

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// cronField is one of the five fields, with what may stand in it.
type cronField struct {
	name     string
	low, top int
	names    string // three letters each, in order, from low on
}

func cronFields() []cronField {
	return []cronField{
		{"minute", 0, 59, ""},
		{"hour", 0, 23, ""},
		{"day of month", 1, 31, ""},
		{"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
		{"day of week", 0, 7, "sunmontuewedthufrisat"},
	}
}

// parseCron reads five fields as Temporal does (see "Schedule spec" in its
// documentation) and refuses what never comes, and what cron(8) would read otherwise:
// there, a day needs to fit day of month or day of week, here both.
func parseCron(text string) (Calendar, error) {
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return Calendar{}, fmt.Errorf("%q has %d fields instead of 5", text, len(fields))
	}
	var sets [5][]int
	for i, field := range cronFields() {
		set, err := field.parse(fields[i])
		if err != nil {
			return Calendar{}, err
		}
		sets[i] = set
	}
	c := Calendar{Minutes: sets[0], Hours: sets[1], Days: sets[2], Months: sets[3], Weekdays: sets[4]}
	switch {
	case !c.comes():
		return Calendar{}, fmt.Errorf("%q never comes: no such month has day %s", text, fields[2])
	case !c.everyDay() && !c.everyWeekday():
		return Calendar{}, errBothDays
	}
	return c, nil
}

// parse gives the numbers that match the field, in order. Sunday is 0 and 7.
func (f cronField) parse(text string) ([]int, error) {
	var set []int
	for part := range strings.SplitSeq(text, ",") {
		span, step, stepped := strings.Cut(part, "/")
		every := 1
		if stepped {
			count, err := strconv.Atoi(step)
			if err != nil || count < 1 || count > f.top {
				return nil, fmt.Errorf("%s %q: the step is not between 1 and %d", f.name, part, f.top)
			}
			every = count
		}
		low, top := f.low, f.top
		if span != "*" {
			first, last, ranged := strings.Cut(span, "-")
			var err error
			if low, err = f.number(first); err != nil {
				return nil, err
			}
			switch {
			case ranged:
				if top, err = f.number(last); err != nil {
					return nil, err
				}
			case !stepped:
				top = low
			}
			if low > top {
				return nil, fmt.Errorf("%s %q: the range is backwards", f.name, part)
			}
		}
		for n := low; n <= top; n += every {
			if f.top == 7 {
				set = append(set, n%7)
			} else {
				set = append(set, n)
			}
		}
	}
	slices.Sort(set)
	return slices.Compact(set), nil
}

func (f cronField) number(text string) (int, error) {
	if at := strings.Index(f.names, strings.ToLower(text)); len(text) == 3 && at >= 0 && at%3 == 0 {
		return f.low + at/3, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < f.low || n > f.top {
		return 0, fmt.Errorf("%s %q is not between %d and %d", f.name, text, f.low, f.top)
	}
	return n, nil
}
