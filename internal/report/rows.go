package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// group is a component and its steps.
type group struct {
	Name, Note string
	Mark       *mark // its objective
	Track      *bar  // until it was back
	Rows       []row
}

// row is a step.
type row struct {
	State         string // a word
	Title, Detail string
	Critical      bool
	Began, Took   string
	Bar           *bar
}

// Class is how a row is drawn: what did not go well stands out.
func (r row) Class() string {
	if r.State == string(Failed) || r.State == string(Aborted) {
		return r.State
	}
	return "plain"
}

// Sign is the outcome in one character.
func (r row) Sign() string {
	switch r.State {
	case string(Succeeded):
		return "✓"
	case string(Failed), string(Aborted):
		return "✕"
	case "running":
		return "▸"
	case string(Skipped):
		return "–"
	default:
		return "·"
	}
}

// bar is a stretch of time as it is drawn.
type bar struct {
	Class    string
	X, Width float64
	Over     *bar // the part past the objective
	Note     label
	Title    string
}

func (d *drawing) group(name string) group {
	g := group{Name: flat(cmp.Or(name, wholeName))}
	clock := d.clocks[name]
	if name == "" {
		clock = d.clocks[ClockWhole]
	}
	deadline, limited := d.deadline(clock)
	if limited && name != "" && deadline <= d.axis.end {
		m := newMark(d.axis.x(deadline), "objective "+objectiveText(clock.Objective))
		g.Mark = &m
	}
	if clock != nil {
		g.Note = clock.told()
		began := time.Duration(0)
		if !clock.Since.IsZero() {
			began = d.since(clock.Since)
		}
		g.Track = d.bar("track", span{began, within(began + within(std(clock.Took)))}, deadline, limited)
		g.Track.Title = g.Name + ": " + g.Note
		if clock.Open {
			g.Track.Class = "track open"
		}
	}
	for i := range d.Steps {
		step := &d.Steps[i]
		if step.Component == name && !step.notice() {
			g.Rows = append(g.Rows, d.row(step, deadline, limited))
		}
	}
	return g
}

// told says in a few words what became of a part.
func (c *Clock) told() string {
	switch {
	case c.Open && c.Objective > 0:
		return notRecovered + ", objective " + objectiveText(c.Objective)
	case c.Open:
		return notRecovered
	case c.Breached:
		return fmt.Sprintf("back after %s, %s", durationText(std(c.Took)), c.verdict())
	case c.Objective > 0:
		return fmt.Sprintf("back after %s of %s", durationText(std(c.Took)), objectiveText(c.Objective))
	default:
		return "back after " + durationText(std(c.Took))
	}
}

func (d *drawing) row(step *Step, deadline time.Duration, limited bool) row {
	r := row{State: flat(step.state()), Title: flat(step.Title), Detail: flat(step.details()), Critical: step.Critical}
	r.Began, r.Took = d.times(step, d.now)
	if step.Started.IsZero() {
		return r
	}
	class := "step"
	if step.Critical {
		class = "step critical"
	}
	switch {
	case step.Waited:
		class = "waited"
	case step.Outcome == Failed:
		class += " failed"
	case step.Outcome == "":
		class += " running"
	}
	r.Bar = d.bar(class, d.span(step), deadline, limited)
	r.Bar.Title = fmt.Sprintf("%s: %s, began %s, took %s", r.Title, r.State, r.Began, r.Took)
	if step.Attempts > 1 {
		r.Bar.note(fmt.Sprintf("%d attempts", step.Attempts))
	}
	return r
}

// thinnest is the width of a bar that can still be seen.
const thinnest = 0.35

func (d *drawing) bar(class string, s span, deadline time.Duration, limited bool) *bar {
	b := &bar{Class: class, X: d.axis.x(s.from)}
	b.Width = max(thinnest, d.axis.x(s.to)-b.X)
	b.X = min(b.X, 100-b.Width)
	if limited && s.to > deadline {
		from := d.axis.x(max(s.from, deadline))
		b.Over = &bar{X: min(from, 100-thinnest), Width: max(thinnest, d.axis.x(s.to)-from)}
	}
	return b
}

// Top and Height are the place of a step's bar in its row: what is on the critical
// path is thicker, so that no colour is needed to see it.
func (b *bar) Top() int {
	if strings.HasPrefix(b.Class, "step critical") {
		return 6
	}
	return 8
}

// Height is that of the bar.
func (b *bar) Height() int { return 2 * (12 - b.Top()) }

// note writes beside a bar: behind it, or before it when there is no room.
func (b *bar) note(text string) {
	switch {
	case b.X+b.Width < 80:
		b.Note = label{b.X + b.Width, "start", text}
	case b.X > 20:
		b.Note = label{b.X, "end", text}
	default:
		b.Note = label{50, "middle", text}
	}
}
