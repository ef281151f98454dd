package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// plainEvery is how often a step that runs is told where no terminal redraws it.
const plainEvery = 10 * time.Second

// viewer shows a run as it changes: on a terminal as frames, and when it leaves
// as lines that stay, of what has ended; elsewhere as such lines at once, and what
// runs now and then.
type viewer struct {
	out      io.Writer
	now      func() time.Time
	screen   func() (width, height int) // 0: no terminal
	json     bool
	terminal terminal
	meters   map[string]*meter // by activity

	told      map[string]api.StepState // steps whose end was told
	held      []event                  // what is told in a moment
	phase     api.Phase
	waiting   string
	last      *seen
	lastPlain time.Time
	lastJSON  string
	quiet     time.Time // since when nobody answers
}

// show tells what is new.
func (v *viewer) show(s seen) {
	v.quiet = time.Time{}
	width, _ := v.screen()
	switch {
	case v.json:
		v.showJSON(s)
	case width > 0:
		v.last = &s
		v.draw()
	default:
		v.tell(s)
		v.showRunning(s)
	}
}

// draw draws the newest state again: its clock goes on.
func (v *viewer) draw() {
	width, height := v.screen()
	if v.last == nil || width == 0 {
		return
	}
	now := v.now()
	rates := map[string]float64{}
	for key, a := range v.last.activities {
		rates[key] = v.meter(key).rate(a.done, now)
	}
	lines := frame(*v.last, rates, size{width, height}, now)
	if !v.quiet.IsZero() {
		line := styled{text: clip("no answer since "+v.quiet.UTC().Format(time.TimeOnly)+" from the worker or from Temporal; the run goes on when they are back", width), style: alarm}
		lines = append(lines[:min(len(lines), max(0, height-1))], line)
	}
	v.terminal.draw(lines)
}

// tell tells what has ended, as lines that stay.
func (v *viewer) tell(s seen) {
	width, _ := v.screen()
	if v.told == nil {
		v.told = map[string]api.StepState{}
	}
	now := v.now()
	for _, step := range s.Steps {
		key := activityKey(step.Workflow, step.ID)
		if step.State != api.StepRunning && v.told[key] != step.State {
			v.told[key] = step.State
			v.held = append(v.held, event{stampOf(step), now, endedLine(step)})
		}
	}
	if s.Phase != v.phase {
		v.phase = s.Phase
		at := v.entered(s)
		v.held = append(v.held, event{at, now, fmt.Sprintf("%s  %s: %s", at.UTC().Format(time.TimeOnly), s.ID, s.Phase)})
	}
	slices.SortStableFunc(v.held, func(a, b event) int { return a.at.Compare(b.at) })
	settled := len(v.held)
	for s.Finished == nil && s.Waiting == "" && settled > 0 && now.Sub(v.held[settled-1].seen) < settle {
		settled--
	}
	v.release(settled)
	if s.Waiting != "" && s.Waiting != v.waiting {
		fmt.Fprint(v.out, asked(s.Waiting, width-1))
	}
	v.waiting = s.Waiting
}

// event is something that happened, and how it is told.
type event struct {
	at   time.Time
	seen time.Time // by the viewer's clock
	line string
}

// settle is how long an event is held back, so that one which happened before it
// and is heard of later, for components tell theirs in their own time, is told first.
const settle = 2 * pollEvery

// release tells the first events that were held back.
func (v *viewer) release(count int) {
	width, _ := v.screen()
	for _, one := range v.held[:count] {
		fmt.Fprintln(v.out, fold(one.line, width-1, indent))
	}
	v.held = slices.Delete(v.held, 0, count)
}

// entered is when a run entered its phase. A worker of the first version does not say.
func (v *viewer) entered(s seen) time.Time {
	switch {
	case !s.Entered.IsZero():
		return s.Entered
	case s.Finished != nil:
		return *s.Finished
	default:
		return v.now()
	}
}

// stampOf is when a step ended.
func stampOf(step api.Step) time.Time {
	if step.Finished != nil {
		return *step.Finished
	}
	return step.Started
}

// showRunning repeats now and then what runs.
func (v *viewer) showRunning(s seen) {
	now := v.now()
	lines := []string{}
	for _, step := range s.Steps {
		if step.State == api.StepRunning && s.Finished == nil {
			key := activityKey(step.Workflow, step.ID)
			line, figures := runningLine(step, s.activities[key], v.meter(key).rate(s.activities[key].done, now), clockOf(s.Clocks, step.Component), now)
			if figures != "" {
				line += "  " + figures
			}
			lines = append(lines, line)
		}
	}
	if len(lines) > 0 && now.Sub(v.lastPlain) >= plainEvery {
		v.lastPlain = now
		fmt.Fprintln(v.out, strings.Join(lines, "\n"))
	}
}

func (v *viewer) meter(key string) *meter {
	if v.meters[key] == nil {
		v.meters[key] = &meter{}
	}
	return v.meters[key]
}

// leave gives the terminal back, and leaves on it what has ended.
func (v *viewer) leave() {
	v.terminal.leave()
	if v.last != nil {
		v.tell(*v.last)
	}
	v.release(len(v.held))
}

// silent says once that nobody answers.
func (v *viewer) silent() {
	if v.json {
		return
	}
	first := v.quiet.IsZero()
	if first {
		v.quiet = v.now()
	}
	width, _ := v.screen()
	switch {
	case width > 0:
		v.draw()
	case first:
		fmt.Fprintf(v.out, "%s  no answer from the worker or from Temporal; the run goes on when they are back\n", v.quiet.UTC().Format(time.TimeOnly))
	}
}

func (v *viewer) showJSON(s seen) {
	text, err := json.Marshal(s.own)
	if err == nil && string(text) != v.lastJSON {
		v.lastJSON = string(text)
		fmt.Fprintln(v.out, v.lastJSON)
	}
}

// endedLine tells a step that ended.
func endedLine(step api.Step) string {
	mark, took := "done", ""
	switch step.State {
	case api.StepFailed:
		mark = "FAILED"
	case api.StepAborted:
		mark = "aborted"
	}
	if step.Finished != nil {
		took = brief(step.Finished.Sub(step.Started))
	}
	line := fmt.Sprintf("%s  %s %*s  %s", stampOf(step).UTC().Format(time.TimeOnly), mark, 12-len(mark), took, placed(step))
	if step.Outcome != "" && step.State != api.StepAborted {
		line += ": " + step.Outcome
	}
	return line
}

// runningLine tells a step that runs, and its figures: how far, how fast, how long still, and against which objective.
func runningLine(step api.Step, a activity, rate float64, clock *api.Clock, now time.Time) (line, figures string) {
	parts := []string{}
	if a.total > 0 {
		parts = append(parts, fmt.Sprintf("%d %%", min(100, a.done*100/a.total)))
	}
	if a.done > 0 && a.total == 0 {
		parts = append(parts, system.Bytes(a.done).Human())
	}
	if rate >= 1 {
		parts = append(parts, system.Bytes(rate).Human()+"/s")
		if left := a.total - a.done; a.total > 0 && left > 0 {
			parts = append(parts, brief(time.Duration(float64(left)/rate*float64(time.Second)))+" left")
		}
	}
	if a.attempt > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", a.attempt))
	}
	if clock != nil {
		parts = append(parts, fmt.Sprintf("%s of RTO %s", brief(now.Sub(clock.Since)), clock.Objective))
	}
	if len(parts) > 0 {
		figures = "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprintf("          %-6s %6s  %s", "…", brief(now.Sub(step.Started)), placed(step)), figures
}

func placed(step api.Step) string {
	if step.Component == "" || strings.Contains(step.Title, step.Component) {
		return step.Title
	}
	return step.Component + "  " + step.Title
}

// clockOf finds the clock of a component, or of the whole when it has none.
func clockOf(clocks []api.Clock, component string) *api.Clock {
	for i := range clocks {
		if clocks[i].Name == component {
			return &clocks[i]
		}
	}
	if len(clocks) > 0 {
		return &clocks[0]
	}
	return nil
}

// meter measures bytes per second over the last moments.
type meter struct{ samples []sample }

type sample struct {
	at   time.Time
	done int64
}

// window is how far back a rate looks: long enough to be calm, short enough to be true.
const window = 10 * time.Second

// rate takes note of what is done now and gives bytes per second; 0 while it is not known.
func (m *meter) rate(done int64, now time.Time) float64 {
	if n := len(m.samples); n > 0 && done < m.samples[n-1].done {
		m.samples = nil // a new attempt counts from where it stands
	}
	m.samples = append(m.samples, sample{now, done})
	for len(m.samples) > 2 && now.Sub(m.samples[0].at) > window {
		m.samples = m.samples[1:]
	}
	first := m.samples[0]
	seconds := now.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(done-first.done) / seconds
}

// table aligns columns on stdout.
