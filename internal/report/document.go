package report

import (
	"fmt"
	"strings"
	"time"
)

// document is a report before it is Markdown or text: a title, facts, tables.
type document struct {
	title    string
	facts    [][2]string
	sections []section
}

// section is a titled table, or a list when it has no columns.
type section struct {
	title   string
	columns []string
	right   []bool // columns whose cells stand on the right
	rows    [][]string
}

// compose puts together what is told of a run, whatever the form. Sections
// without content are left out.
func (r *Run) compose(now time.Time) document {
	d := document{title: r.verdict(now)}
	fact := func(name, value string) {
		if value != "" {
			d.facts = append(d.facts, [2]string{name, value})
		}
	}
	fact("system", r.System)
	fact("run", r.ID)
	fact("temporal run", r.RunID)
	fact("workflow", r.Kind)
	fact("target", r.Target)
	fact("started by", r.By)
	fact("phase", r.Phase)
	if !r.Disaster.IsZero() {
		fact("disaster", timeText(r.Disaster))
	}
	fact("started", timeText(r.Started))
	if !r.Finished.IsZero() {
		fact("finished", timeText(r.Finished))
	}
	if r.Objective != 0 {
		fact("objective (RTO)", objectiveText(r.Objective))
	}
	if r.Objective != 0 && r.Outcome == Succeeded {
		fact("achieved (RTA)", fmt.Sprintf("%s, %s", durationText(r.RTA(now)), met(r.Objective, r.Breached)))
	}
	if r.Critical != 0 {
		fact("critical path", durationText(std(r.Critical)))
	}
	for _, s := range []section{
		r.failureSection(), r.clockSection(), r.pointSection(), r.stepSection(now),
		r.checkSection(), r.fallbackSection(), r.approvalSection(),
	} {
		if len(s.rows) > 0 {
			d.sections = append(d.sections, s)
		}
	}
	return d
}

func (r *Run) failureSection() section {
	s := section{title: "What went wrong"}
	for _, f := range r.failures() {
		line := f.Message
		if f.Kind != "" && !strings.HasPrefix(line, f.Kind+": ") {
			line = f.Kind + ": " + line
		}
		if f.Step != "" {
			line = "step " + f.Step + ": " + line
		}
		row := []string{line}
		if f.Hint != "" {
			row = append(row, "hint: "+f.Hint)
		}
		s.rows = append(s.rows, row)
	}
	return s
}

// failures are those of the run, and those of steps that the run does not repeat.
func (r *Run) failures() []Failure {
	all := append([]Failure(nil), r.Failures...)
	for _, step := range r.Steps {
		if step.Failure == nil {
			continue
		}
		told := false
		for _, f := range r.Failures {
			told = told || strings.Contains(f.Message, step.Failure.Message)
		}
		if !told {
			f := *step.Failure
			if f.Step == "" {
				f.Step = step.ID
			}
			all = append(all, f)
		}
	}
	return all
}

func (r *Run) clockSection() section {
	s := section{title: "Recovery times", columns: []string{"part", "objective (RTO)", "achieved (RTA)", ""}, right: []bool{false, true, true, false}}
	for _, c := range r.Clocks {
		achieved, verdict := durationText(std(c.Took)), met(c.Objective, c.Breached)
		if c.Open {
			achieved, verdict = dash(""), notRecovered
		}
		s.rows = append(s.rows, []string{c.Name, objectiveText(c.Objective), achieved, verdict})
	}
	return s
}

func (r *Run) pointSection() section {
	s := section{
		title:   "Recovery points",
		columns: []string{"component", "point", "age (RPA)", "objective (RPO)", "", "position", "proof", "backup"},
		right:   []bool{false, false, true, true, false, false, false, false},
	}
	open := map[string]bool{}
	for _, c := range r.Clocks {
		open[c.Name] = c.Open
	}
	for _, p := range r.Points {
		verdict := met(p.Objective, p.Breached)
		if open[p.Component] {
			verdict = notRecovered
		}
		position := p.LSN
		if position != "" && p.Timeline != 0 {
			position = fmt.Sprintf("%s, timeline %d", position, p.Timeline)
		}
		s.rows = append(s.rows, []string{
			p.Component, p.moment(), durationText(std(p.RPA)), objectiveText(p.Objective), verdict, dash(position), dash(p.Proof), p.Backup,
		})
	}
	return s
}

// moment is the recovery point, with its end when the capture took a while.
func (p *Point) moment() string {
	if p.Until.Sub(p.Time) < time.Second {
		return timeText(p.Time)
	}
	return timeText(p.Time) + ", taken until " + p.Until.UTC().Format("15:04:05")
}

func (r *Run) stepSection(now time.Time) section {
	s := section{title: "Steps", columns: []string{"", "component", "step", "began", "took", ""}, right: []bool{false, false, false, true, true, false}}
	for i := range r.Steps {
		step := &r.Steps[i]
		began, took := "–", "–"
		if !step.Started.IsZero() {
			began = "+" + durationText(max(0, step.Started.Sub(r.Started)))
			took = durationText(step.Took(now))
		}
		s.rows = append(s.rows, []string{step.state(), dash(step.Component), step.Title, began, took, step.details()})
	}
	return s
}

func (r *Run) checkSection() section {
	s := section{title: "Checks", columns: []string{"", "check", "seen", "latency"}, right: []bool{false, false, false, true}}
	for _, c := range r.Checks {
		state := "failed"
		if c.OK {
			state = "ok"
		}
		s.rows = append(s.rows, []string{state, c.Name, dash(c.Message), durationText(std(c.Latency))})
	}
	return s
}

func (r *Run) fallbackSection() section {
	s := section{title: "Read from the other region", columns: []string{"object", "why", "instead of", "from"}, right: make([]bool, 4)}
	add := func(all []Fallback) {
		for _, f := range all {
			row := []string{f.Object, f.Reason, f.From, f.To}
			known := false
			for _, other := range s.rows {
				known = known || strings.Join(other, "\x00") == strings.Join(row, "\x00")
			}
			if !known {
				s.rows = append(s.rows, row)
			}
		}
	}
	add(r.Fallbacks)
	for _, step := range r.Steps {
		add(step.Fallbacks)
	}
	return s
}

func (r *Run) approvalSection() section {
	s := section{title: "Decisions", columns: []string{"when", "what", "step", "by"}, right: make([]bool, 4)}
	for _, a := range r.Approvals {
		s.rows = append(s.rows, []string{timeText(a.At), a.Decision, dash(a.Step), dash(a.By)})
	}
	return s
}

func dash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}
