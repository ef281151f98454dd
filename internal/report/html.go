package report

import (
	"bytes"
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

//go:embed report.css
var styles string

//go:embed report.html.tmpl
var layout string

// page is what the layout is filled with.
type page struct {
	Styles   template.CSS
	Title    string
	Tone     string // "good", "missed", "bad", "open"
	Verdict  string
	Eyebrow  string
	Answer   string
	Lead     []string
	Facts    [][2]string
	Before   []shown // what went wrong
	Clocks   []gauge
	Points   []gauge
	Losses   string // title of the points
	Timeline timeline
	Sections []shown
	Told     string
}

// gauge is what was achieved of an objective, drawn so that all objectives stand in a line.
type gauge struct {
	Name, Detail        string
	Achieved, Objective string
	Verdict             string
	Drawn               bool
	X                   float64 // how far it came
	Over                bool
}

// objectiveAt is where every objective stands in a gauge that ends at 100.
const objectiveAt = 70

// drawn leaves out what would only say that nothing came back.
func drawn(gauges []gauge) []gauge {
	if slices.ContainsFunc(gauges, func(g gauge) bool { return g.Verdict != notRecovered }) {
		return gauges
	}
	return nil
}

// Past is how far a gauge goes past its objective.
func (g gauge) Past() float64 { return max(thinnest, g.X-objectiveAt) }

// shown is a section as the layout writes it.
type shown struct {
	ID, Title string
	Columns   []shownColumn
	Rows      [][]shownCell
}

type shownColumn struct{ Name, Class string }

type shownCell struct{ Text, Class string }

// HTML writes the report as one file that needs nothing else: no script, no
// font, no address. It prints on A4. now stands for the end of a run that goes on.
func HTML(w io.Writer, r *Run, now time.Time) error {
	var b bytes.Buffer
	t, err := template.New("report").Funcs(template.FuncMap{
		"parts": parts,
		"at":    func(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + "%" },
	}).Parse(layout)
	if err == nil {
		err = t.Execute(&b, r.page(now))
	}
	if err != nil {
		return fault.New(fault.PathFailed, "write report", r.ID, err)
	}
	return write(w, r, b.String())
}

func (r *Run) page(now time.Time) page {
	d := r.compose(now)
	p := page{
		Styles: template.CSS(styles), Title: flat(d.title), Answer: flat(d.title), Eyebrow: flat(r.eyebrow()),
		Timeline: r.timeline(now), Told: timeText(now),
	}
	p.Tone, p.Verdict = r.tone(now)
	p.Losses = "Lost at most"
	if r.kind() == kindDrill {
		p.Losses = "Would have been lost at most"
	}
	for _, sentence := range d.lead {
		p.Lead = append(p.Lead, flat(sentence))
	}
	for _, fact := range d.facts {
		p.Facts = append(p.Facts, [2]string{fact[0], flat(fact[1])})
	}
	for _, s := range d.sections {
		switch s.id {
		case sectionClocks:
			p.Clocks = drawn(r.clockGauges())
		case sectionPoints:
			p.Points = drawn(r.pointGauges())
		case sectionSteps: // the timeline
		case sectionFailures:
			p.Before = append(p.Before, s.shown())
		default:
			p.Sections = append(p.Sections, s.shown())
		}
	}
	return p
}

// eyebrow says what the page is and of which day.
func (r *Run) eyebrow() string {
	text := r.kind() + " report"
	if r.System != "" {
		text += " · " + r.System
	}
	if at := r.zero(); !at.IsZero() {
		text += " · " + at.UTC().Format("2 January 2006, 15:04 UTC")
	}
	return text
}

// tone is how the answer is coloured, and the word that says the same where the answer does not.
func (r *Run) tone(now time.Time) (tone, word string) {
	missed := r.Breached || r.Objective > 0 && r.RTA(now) > std(r.Objective)
	for _, c := range r.Clocks {
		missed = missed || c.Breached && !c.Open
	}
	for _, p := range r.Points {
		missed = missed || p.Breached
	}
	switch {
	case r.Outcome == Failed, r.Outcome == Aborted:
		return "bad", ""
	case r.Outcome != Succeeded:
		return "open", ""
	case missed:
		return "missed", "objective missed"
	case r.Objective > 0:
		return "good", "objectives met"
	default:
		return "good", ""
	}
}

func (r *Run) clockGauges() []gauge {
	gauges := make([]gauge, 0, len(r.Clocks))
	for i := range r.Clocks {
		c := &r.Clocks[i]
		g := newGauge(std(c.Took), std(c.Objective), c.Open)
		g.Name, g.Verdict = flat(c.Name), c.verdict()
		gauges = append(gauges, g)
	}
	return gauges
}

func (r *Run) pointGauges() []gauge {
	gauges := make([]gauge, 0, len(r.Points))
	for i := range r.Points {
		p := &r.Points[i]
		verdict := r.pointVerdict(p)
		g := newGauge(std(p.RPA), std(p.Objective), verdict == notRecovered)
		g.Name, g.Detail, g.Verdict = flat(p.Component), strings.ReplaceAll(p.moment(), " UTC", ""), verdict
		gauges = append(gauges, g)
	}
	return gauges
}

func newGauge(achieved, objective time.Duration, open bool) gauge {
	g := gauge{Achieved: durationText(achieved), Objective: dash(""), Drawn: objective > 0 && !open}
	if open {
		g.Achieved = dash("")
	}
	if objective > 0 {
		g.Objective = durationText(objective)
		g.X = objectiveAt * float64(achieved) / float64(objective)
		g.Over = achieved > objective
		g.X = min(max(g.X, thinnest), 100)
	}
	return g
}

// longestWord is how long a word may be before it is broken, in bytes.
const longestWord = 30

func (s *section) shown() shown {
	made := shown{ID: s.id, Title: s.title}
	for _, c := range s.columns {
		made.Columns = append(made.Columns, shownColumn{c.name, c.class()})
	}
	for _, row := range s.rows {
		cells := make([]shownCell, 0, len(row))
		for i, text := range row {
			cell := shownCell{Text: flat(text)}
			if i < len(s.columns) {
				cell.Class = s.columns[i].class()
			}
			if cell.Class == "" && slices.ContainsFunc(strings.Fields(text), func(word string) bool { return len(word) > longestWord }) {
				cell.Class = "long"
			}
			cells = append(cells, cell)
		}
		made.Rows = append(made.Rows, cells)
	}
	return made
}

// shortWord is how long a word may be and need no place to be broken, in bytes.
const shortWord = 18

// parts are what a text may be broken between, beside its blanks: those of long
// paths and keys.
func parts(text string) []string {
	var all []string
	begin := 0 // of the part
	word := 0
	for i, r := range text {
		if r == ' ' {
			word = i + 1
		}
		if r != '/' && r != '_' {
			continue
		}
		end := i + strings.IndexByte(text[i:]+" ", ' ')
		if end-word > shortWord && end > i+1 {
			all, begin = append(all, text[begin:i+1]), i+1
		}
	}
	return append(all, text[begin:])
}

func (c column) class() string {
	switch {
	case c.right:
		return "number"
	case c.code:
		return "code"
	case c.long:
		return "sentence"
	case c.moment:
		return "moment"
	default:
		return ""
	}
}
