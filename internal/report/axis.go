package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// axis puts moments, counted from the zero of a run, on a line from 0 to 100.
// Long stretches in which nothing was done are cut out of it, or the hours until
// somebody came would leave no room for the seconds of the work.
type axis struct {
	segments []segment
	end      time.Duration
}

// segment is a stretch of the axis.
type segment struct {
	from, to time.Duration
	x, width float64
	cut      bool
}

// cutWidth is what a stretch that was cut out still takes, and half of the line
// is what all of them take at most.
const cutWidth = 10

// span is a stretch of time.
type span struct{ from, to time.Duration }

func (s span) length() time.Duration { return s.to - s.from }

// newAxis makes an axis over a run: from zero to its end, or to the objectives
// that lie close behind it.
func newAxis(busy []span, end time.Duration, objectives []time.Duration) *axis {
	busy = merged(busy)
	var worked time.Duration
	for _, s := range busy {
		worked += s.length()
	}
	worked = cmp.Or(worked, end, time.Second)
	a := &axis{end: max(end, time.Millisecond)}
	idle := span{}
	for _, s := range append(busy, span{end, end}) {
		idle.to = s.from
		if idle.length() > worked*3/2 {
			a.add(idle.from, false)
			a.add(idle.to, true)
		}
		idle.from = max(idle.from, s.to)
	}
	last := a.end
	for _, objective := range objectives {
		if objective <= last+worked*2/5 {
			a.end = max(a.end, objective+worked/20)
		}
	}
	a.add(a.end, false)
	a.place()
	return a
}

// add makes the axis reach to a moment.
func (a *axis) add(to time.Duration, cut bool) {
	from := time.Duration(0)
	if n := len(a.segments); n > 0 {
		from = a.segments[n-1].to
	}
	if to > from {
		a.segments = append(a.segments, segment{from: from, to: to, cut: cut})
	}
}

// place gives each stretch its part of the line.
func (a *axis) place() {
	cuts, drawn := 0.0, time.Duration(0)
	for _, s := range a.segments {
		if s.cut {
			cuts++
		} else {
			drawn += s.to - s.from
		}
	}
	cutWidth := min(cutWidth, 50/max(cuts, 1))
	x := 0.0
	for i := range a.segments {
		s := &a.segments[i]
		s.x, s.width = x, cutWidth
		if !s.cut {
			s.width = (100 - cuts*cutWidth) * float64(s.to-s.from) / float64(drawn)
		}
		x += s.width
	}
}

// x is the place of a moment; what lies outside is at the nearer end.
func (a *axis) x(at time.Duration) float64 {
	for _, s := range a.segments {
		if at < s.to {
			return s.x + s.width*float64(max(0, at-s.from))/float64(s.to-s.from)
		}
	}
	return 100
}

// tick is a moment that is written on the axis.
type tick struct {
	at time.Duration
	x  float64
}

// ticks are at round moments, at most about six.
func (a *axis) ticks() []tick {
	drawn, taken := time.Duration(0), []float64{}
	for _, s := range a.segments {
		if s.cut {
			taken = append(taken, s.x+s.width/2)
		} else {
			drawn += s.to - s.from
		}
	}
	step := roundStep(drawn / 6)
	var ticks []tick
	for _, s := range a.segments {
		if s.cut {
			continue
		}
		for at := (s.from + step - 1) / step * step; at <= s.to; at += step {
			x := s.x + s.width*float64(at-s.from)/float64(s.to-s.from)
			if x > 97 || slices.ContainsFunc(taken, func(other float64) bool { return x-other < 11 && other-x < 11 }) {
				continue
			}
			taken = append(taken, x)
			ticks = append(ticks, tick{at, x})
		}
	}
	return ticks
}

// roundStep is the smallest round time that is at least as long.
func roundStep(least time.Duration) time.Duration {
	for _, unit := range []struct {
		size   time.Duration
		counts []int64
	}{
		{time.Millisecond, []int64{1, 2, 5, 10, 20, 50, 100, 200, 500}},
		{time.Second, []int64{1, 2, 5, 10, 15, 30}},
		{time.Minute, []int64{1, 2, 5, 10, 15, 30}},
		{time.Hour, []int64{1, 2, 3, 6, 12}},
	} {
		for _, count := range unit.counts {
			if step := unit.size * time.Duration(count); step >= least {
				return step
			}
		}
	}
	const day = 24 * time.Hour
	return (least + day - 1) / day * day
}

// tickText writes a moment shortly: "0", "0.5 s", "10 s", "1:30 min", "2 h", "2:10:05 h".
func tickText(at time.Duration) string {
	hours, minutes, seconds := int(at.Hours()), int(at.Minutes())%60, int(at.Seconds())%60
	switch {
	case at == 0:
		return "0"
	case at < time.Second:
		return fmt.Sprintf("%d ms", at.Milliseconds())
	case at < time.Minute:
		return strconv.FormatFloat(at.Seconds(), 'f', -1, 64) + " s"
	case at < time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%d:%02d", minutes, seconds), ":00") + " min"
	case seconds != 0:
		return fmt.Sprintf("%d:%02d:%02d h", hours, minutes, seconds)
	default:
		return strings.TrimSuffix(fmt.Sprintf("%d:%02d", hours, minutes), ":00") + " h"
	}
}

// merged joins spans that touch, in order.
func merged(spans []span) []span {
	sorted := slices.SortedFunc(slices.Values(spans), func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var joined []span
	for _, s := range sorted {
		if n := len(joined); n > 0 && s.from <= joined[n-1].to {
			joined[n-1].to = max(joined[n-1].to, s.to)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}
