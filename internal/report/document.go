package report

import (
	"fmt"
	"time"
)

// document is a report before it is Markdown, text or HTML: the answer first,
// then tables, and what identifies the run.
type document struct {
	title    string
	lead     []string // sentences
	facts    [][2]string
	sections []section
}

// section is a titled table, or a list when it has no columns.
type section struct {
	id      string
	title   string
	note    string
	columns []column
	rows    [][]string
}

// column is how the cells of a table stand.
type column struct {
	name  string
	right bool // numbers
	code  bool // keys and the like
	long  bool // sentences

	moment bool // times of day
}

// Sections that HTML draws in its own way.
const (
	sectionFailures = "failures"
	sectionClocks   = "recovery-times"
	sectionPoints   = "recovery-points"
	sectionSteps    = "steps"
)

// compose puts together what is told of a run, whatever the form. Sections
// without content are left out.
func (r *Run) compose(now time.Time) document {
	d := document{title: r.headline(now), lead: r.lead(), facts: r.facts(now)}
	for _, s := range []section{
		r.failureSection(), r.clockSection(), r.pointSection(), r.stepSection(now), r.sourceSection(), r.backupSection(),
		r.checkSection(), r.fallbackSection(), r.approvalSection(), r.noticeSection(), r.noteSection(),
	} {
		if len(s.rows) > 0 {
			d.sections = append(d.sections, s)
		}
	}
	return d
}

func (r *Run) facts(now time.Time) [][2]string {
	var facts [][2]string
	fact := func(name, value string) {
		if value != "" {
			facts = append(facts, [2]string{name, value})
		}
	}
	fact("system", r.System)
	fact("run", r.ID)
	fact("temporal run", r.RunID)
	fact("workflow", r.Kind)
	fact("target", r.Target)
	fact("started by", r.By)
	fact("phase", r.Phase)
	if r.fromDisaster() {
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
	fact("its recovery", r.Recovery)
	if bytes := r.restored(); bytes > 0 && r.Outcome == Succeeded {
		fact("restored", bytesText(bytes))
	}
	return facts
}

// restored is how many bytes all steps moved.
func (r *Run) restored() int64 {
	var bytes int64
	for i := range r.Steps {
		bytes += r.Steps[i].Bytes
	}
	return bytes
}
