package system

import (
	"fmt"
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

// checkCron refuses what Temporal would not run: see "Schedule spec" in its
// documentation. All fields must match (AND), so that a day which none of the
// months has makes a schedule that never starts.
func checkCron(text string) error {
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return fmt.Errorf("%q has %d fields instead of 5", text, len(fields))
	}
	var sets [5][]bool
	for i, field := range cronFields() {
		set, err := field.parse(fields[i])
		if err != nil {
			return err
		}
		sets[i] = set
	}
	days := [...]int{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	for month := 1; month <= 12; month++ {
		for dayOfMonth := 1; sets[3][month] && dayOfMonth <= days[month]; dayOfMonth++ {
			if sets[2][dayOfMonth] {
				return nil
			}
		}
	}
	return fmt.Errorf("%q never comes: no such month has day %s", text, fields[2])
}

// parse gives the numbers that match the field.
func (f cronField) parse(text string) ([]bool, error) {
	set := make([]bool, f.top+1)
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
			set[n] = true
		}
	}
	return set, nil
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
