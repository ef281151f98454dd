package report

import (
	"fmt"
	"strings"
	"time"
)

func (r *Run) failureSection() section {
	s := section{id: sectionFailures, title: "What went wrong"}
	if r.Outcome == Aborted {
		s.title = "Why it ended"
	}
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
		if step.Failure == nil || step.Failure.Message == "cancelled" { // because of another failure
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
	s := section{
		id: sectionClocks, title: "Recovery times",
		columns: []column{{name: "part"}, {name: "achieved (RTA)", right: true}, {name: "objective (RTO)", right: true}, {}},
	}
	for i := range r.Clocks {
		c := &r.Clocks[i]
		achieved := durationText(std(c.Took))
		if c.Open {
			achieved = dash("")
		}
		s.rows = append(s.rows, []string{c.Name, achieved, objectiveText(c.Objective), c.verdict()})
	}
	return s
}

func (r *Run) pointSection() section {
	s := section{
		id: sectionPoints, title: "Recovery points",
		columns: []column{{name: "component"}, {name: "back to"}, {name: "lost at most (RPA)", right: true}, {name: "objective (RPO)", right: true}, {}},
	}
	for i := range r.Points {
		p := &r.Points[i]
		lost, verdict := durationText(std(p.RPA)), r.pointVerdict(p)
		if verdict == notRecovered {
			lost = dash("")
		}
		s.rows = append(s.rows, []string{p.Component, p.moment(), lost, objectiveText(p.Objective), verdict})
	}
	return s
}

func (r *Run) pointVerdict(p *Point) string {
	for i := range r.Clocks {
		if r.Clocks[i].Name == p.Component && r.Clocks[i].Open {
			return notRecovered
		}
	}
	return met(p.Objective, p.Breached)
}

// moment is the recovery point, with what was asked for, and its end when the
// capture took a while.
func (p *Point) moment() string {
	if p.Asked != "" {
		reached := *p
		reached.Asked = ""
		return reached.moment() + ", asked for " + p.Asked
	}
	if p.Until.Sub(p.Time) < time.Second {
		return timeText(p.Time)
	}
	return timeText(p.Time) + ", taken until " + p.Until.UTC().Format("15:04:05")
}

// sourceSection says what was restored from what.
func (r *Run) sourceSection() section {
	s := section{
		id: "sources", title: "Restored from",
		columns: []column{{name: "component"}, {name: "backup", code: true}, {name: "proof"}, {name: "position"}, {name: "bytes", right: true}, {name: "rate", right: true}},
	}
	if r.Outcome != Succeeded {
		s.title = "Backups used"
	}
	var passed []string // newer ones, that could not be used
	for _, p := range r.Points {
		position := p.LSN
		if position != "" && p.Timeline != 0 {
			position = fmt.Sprintf("%s, timeline %d", position, p.Timeline)
		}
		bytes, rate := p.Bytes, p.Rate
		for _, step := range r.Steps {
			if p.Bytes == 0 && step.Component == p.Component && step.Bytes > 0 {
				bytes, rate = bytes+step.Bytes, step.Rate
			}
		}
		row := []string{p.Component, p.Backup, dash(p.Proof), dash(position), dash(""), dash("")}
		if bytes > 0 {
			row[4] = bytesText(bytes)
		}
		if rate > 0 {
			row[5] = bytesText(rate) + "/s"
		}
		s.rows = append(s.rows, row)
		for _, newer := range p.PassedOver {
			passed = append(passed, newer.Backup+" was passed over: "+newer.Why+".")
		}
	}
	s.note = strings.Join(passed, " ")
	return s
}

func (r *Run) backupSection() section {
	s := section{
		id: "backups", title: "Backups made",
		columns: []column{{name: "component"}, {name: "backup", code: true}, {name: "state of", moment: true}, {name: "size", right: true}, {name: "stored", right: true}, {name: "proof"}, {}},
	}
	for _, b := range r.Backups {
		state := Point{Time: b.From, Until: b.To}
		s.rows = append(s.rows, []string{b.Component, b.Key, state.moment(), bytesText(b.Bytes), bytesText(b.Stored), dash(b.Proof), b.Note})
	}
	return s
}

func (r *Run) stepSection(now time.Time) section {
	s := section{
		id: sectionSteps, title: "Steps",
		columns: []column{{}, {}, {name: "component"}, {name: "step"}, {name: "began", right: true}, {name: "took", right: true}, {}},
	}
	critical := false
	for i := range r.Steps {
		step := &r.Steps[i]
		if step.notice() {
			continue
		}
		mark := ""
		if step.Critical {
			mark, critical = "*", true
		}
		began, took := r.times(step, now)
		s.rows = append(s.rows, []string{mark, step.state(), dash(step.Component), step.Title, began, took, step.details()})
	}
	s.note = "Times count from the start of the run."
	if r.fromDisaster() {
		s.note = "Times count from the disaster."
	}
	if critical {
		s.note += " A step with * is on the critical path."
	}
	return s
}

// times says when a step began, counted from zero, and how long it took.
func (r *Run) times(step *Step, now time.Time) (began, took string) {
	if step.Started.IsZero() {
		return dash(""), dash("")
	}
	return "+" + durationText(max(0, step.Started.Sub(r.zero()))), durationText(step.Took(now))
}

func (r *Run) checkSection() section {
	s := section{id: "checks", title: "Checks", columns: []column{{}, {name: "check"}, {name: "seen", long: true}, {name: "latency", right: true}}}
	for _, c := range r.Checks {
		state := "failed"
		if c.OK {
			state = "ok"
		}
		latency := dash("")
		if c.Latency > 0 {
			latency = durationText(std(c.Latency))
		}
		s.rows = append(s.rows, []string{state, c.Name, dash(c.Message), latency})
	}
	return s
}

func (r *Run) fallbackSection() section {
	s := section{
		id: "fallbacks", title: "Read from the other region",
		columns: []column{{name: "object", code: true}, {name: "why"}, {name: "instead of"}, {name: "from"}},
	}
	known := map[Fallback]bool{}
	add := func(all []Fallback) {
		for _, f := range all {
			if !known[f] {
				known[f] = true
				s.rows = append(s.rows, []string{f.Object, f.Reason, f.From, f.To})
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
	s := section{id: "decisions", title: "Decisions", columns: []column{{name: "when"}, {name: "what"}, {name: "about"}, {name: "by"}}}
	for _, a := range r.Approvals {
		s.rows = append(s.rows, []string{timeText(a.At), a.Decision, dash(a.Step), dash(a.By)})
	}
	return s
}

// noticeSection tells what people were told while the run went on.
func (r *Run) noticeSection() section {
	s := section{id: "notices", title: "Notices", columns: []column{{name: "when"}, {name: "what"}}}
	for i := range r.Steps {
		if step := &r.Steps[i]; step.notice() {
			s.rows = append(s.rows, []string{timeText(step.Started), step.Title})
		}
	}
	return s
}

// noteSection tells what was not done, and why.
func (r *Run) noteSection() section {
	s := section{id: "notes", title: "Notes", columns: []column{{name: "what"}}}
	for _, note := range r.Notes {
		s.rows = append(s.rows, []string{note})
	}
	return s
}

func dash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}
