package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// timeline is a run's steps as a chart: a row for each, in groups by component.
type timeline struct {
	Summary string // for those who can't see it
	Ticks   []label
	Lines   []float64 // where ticks stand
	Cuts    []cut
	Marks   []mark // objectives of the run
	Beyond  string // objectives that lie outside
	Groups  []group

	Critical, Breached, Waited bool // what the legend has to explain
}

// label is a text at a place.
type label struct {
	X      float64
	Anchor string // "start", "middle", "end"
	Text   string
}

// cut is a stretch that was left out.
type cut struct {
	X, Width float64
	Label    label
}

// mark is an objective on the axis.
type mark struct {
	X     float64
	Label label
	Row   int // of the label
}

// wholeName is what the steps of no component are called.
const wholeName = "whole system"

// drawing is what a timeline is made from.
type drawing struct {
	*Run
	axis   *axis
	now    time.Time
	clocks map[string]*Clock
}

// timeline draws the steps. now stands for the end of a run that goes on.
func (r *Run) timeline(now time.Time) timeline {
	d := drawing{Run: r, now: now, clocks: map[string]*Clock{}}
	var objectives []time.Duration
	for i := range r.Clocks {
		d.clocks[r.Clocks[i].Name] = &r.Clocks[i]
		if at, known := d.deadline(&r.Clocks[i]); known {
			objectives = append(objectives, at)
		}
	}
	busy, end := d.busy()
	d.axis = newAxis(busy, end, objectives)
	t := timeline{Summary: d.summary()}
	for _, tick := range d.axis.ticks() {
		t.Lines = append(t.Lines, tick.x)
		t.Ticks = append(t.Ticks, at(tick.x, tickText(tick.at)))
	}
	for _, s := range d.axis.segments {
		if s.cut {
			t.Cuts = append(t.Cuts, cut{X: s.x, Width: s.width, Label: label{s.x + s.width/2, "middle", durationText((s.to - s.from).Round(time.Second))}})
		}
	}
	t.Marks, t.Beyond = d.marks()
	for _, name := range d.names() {
		t.Groups = append(t.Groups, d.group(name))
	}
	for _, g := range t.Groups {
		t.Breached = t.Breached || g.Track != nil && g.Track.Over != nil
		for _, row := range g.Rows {
			t.Critical = t.Critical || row.Critical
			if row.Bar != nil {
				t.Breached = t.Breached || row.Bar.Over != nil
				t.Waited = t.Waited || row.Bar.Class == "waited"
			}
		}
	}
	return t
}

// longest is what a chart can show: no run takes ten years.
const longest = 10 * 365 * 24 * time.Hour

func within(at time.Duration) time.Duration { return min(max(0, at), longest) }

// since is a moment counted from zero.
func (d *drawing) since(at time.Time) time.Duration { return within(at.Sub(d.zero())) }

// deadline is when a clock's objective is reached. Where an old record's clock
// of the application began is not known.
func (d *drawing) deadline(c *Clock) (time.Duration, bool) {
	switch {
	case c == nil || c.Objective <= 0:
		return 0, false
	case !c.Since.IsZero():
		return within(d.since(c.Since) + within(std(c.Objective))), true
	default:
		return within(std(c.Objective)), c.Name != "application"
	}
}

// busy gives when something was done, and the end of it all.
func (d *drawing) busy() ([]span, time.Duration) {
	end := within(d.elapsed(d.now))
	var busy []span
	for i := range d.Steps {
		step := &d.Steps[i]
		if step.Started.IsZero() {
			continue
		}
		s := d.span(step)
		end = max(end, s.to)
		if !step.Waited && !step.notice() {
			busy = append(busy, s)
		}
	}
	return busy, end
}

func (d *drawing) span(step *Step) span {
	from := d.since(step.Started)
	return span{from, within(from + within(step.Took(d.now)))}
}

// marks are the objectives that no single component has.
func (d *drawing) marks() (marks []mark, beyond string) {
	var outside []string
	for i := range d.Clocks {
		c := &d.Clocks[i]
		at, known := d.deadline(c)
		if !known {
			continue
		}
		if at > d.axis.end {
			outside = append(outside, clip(flat(c.Name), longestWord)+" "+objectiveText(c.Objective))
			continue
		}
		if !d.hasSteps(c.Name) {
			marks = append(marks, newMark(d.axis.x(at), clip(flat(c.Name), longestWord)+" "+objectiveText(c.Objective)))
		}
	}
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(a.X, b.X) })
	for i := 1; i < len(marks); i++ {
		if marks[i].X-marks[i-1].X < 30 && marks[i-1].Row == 0 {
			marks[i].Row = 1
		}
	}
	return marks, few(outside, 3)
}

func (d *drawing) hasSteps(component string) bool {
	return slices.ContainsFunc(d.Steps, func(step Step) bool { return step.Component == component })
}

func newMark(x float64, text string) mark {
	m := mark{X: x, Label: label{x, "start", text}}
	if x > 60 {
		m.Label.Anchor = "end"
	}
	return m
}

// at places the text of a tick so that it stays inside.
func at(x float64, text string) label {
	l := label{x, "middle", text}
	switch {
	case x < 3:
		l.Anchor = "start"
	case x > 95:
		l.Anchor = "end"
	}
	return l
}

// names gives the components in the order of the clocks, after the whole; those
// without a clock as their steps come.
func (d *drawing) names() []string {
	names := []string{}
	add := func(name string) {
		if d.hasSteps(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add("")
	for _, c := range d.Clocks {
		add(c.Name)
	}
	for _, step := range d.Steps {
		add(step.Component)
	}
	return names
}

// summary tells the chart in a sentence.
func (d *drawing) summary() string {
	steps, critical := 0, []string{}
	for i := range d.Steps {
		if d.Steps[i].notice() {
			continue
		}
		steps++
		if d.Steps[i].Critical {
			critical = append(critical, flat(d.Steps[i].Title))
		}
	}
	from := "the start"
	if d.fromDisaster() {
		from = "the disaster"
	}
	told := fmt.Sprintf("%d steps over %s, counted from %s.", steps, durationText(d.axis.end), from)
	if len(critical) > 0 {
		told += " On the critical path: " + strings.Join(critical, "; ") + "."
	}
	return told
}
