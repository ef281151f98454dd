package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// figure is what was measured, and what it must and should be: at most or, when
// more is better, at least.
type figure struct {
	name      string
	value     float64
	unit      string // empty: the value is a ratio
	must, aim float64
	more      bool // is better
}

// misses says whether the figure is not what it must be.
func (f figure) misses() bool {
	if f.more {
		return f.value < f.must
	}
	return f.value > f.must
}

func (f figure) String() string {
	if f.unit == "" {
		return fmt.Sprintf("bench %s ratio=%.2f must=%.2f aim=%.2f", f.name, f.value, f.must, f.aim)
	}
	return fmt.Sprintf("bench %s value=%s unit=%s must=%s aim=%s", f.name, number(f.value), f.unit, number(f.must), number(f.aim))
}

// number writes at most one digit behind the point.
func number(value float64) string {
	return strconv.FormatFloat(float64(int64(value*10+0.5))/10, 'f', -1, 64)
}

// tell prints a figure, if it was asked for, and remembers it when it misses its must.
func (b *bench) tell(f figure) {
	if !b.wants(f.name) {
		return
	}
	fmt.Fprintln(b.out, f)
	if f.misses() {
		b.missed = append(b.missed, f.name)
	}
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// list writes times for a # line, in the order they were taken.
func list(times []time.Duration) string {
	text := ""
	for i, t := range times {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%.2f", t.Seconds())
	}
	return text + " s"
}
