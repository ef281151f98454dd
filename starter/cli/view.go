package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// plainEvery is how often a step that runs is told where no terminal redraws it.
const plainEvery = 10 * time.Second

// viewer shows a run as it changes: what has ended as lines that stay, what runs
// as lines that are redrawn on a terminal and repeated now and then elsewhere.
type viewer struct {
	out    io.Writer
	now    func() time.Time
	width  func() int // 0: no terminal
	json   bool
	meters map[string]*meter // by activity

	told      map[string]api.StepState // steps whose end is on the screen
	phase     api.Phase
	waiting   string
	live      int // lines that the next show replaces
	lastPlain time.Time
	lastJSON  string
	quiet     bool // it was said that nobody answers
}

// show tells what is new.
func (v *viewer) show(s seen) {
	v.quiet = false
	if v.json {
		v.showJSON(s)
		return
	}
	if v.told == nil {
		v.told = map[string]api.StepState{}
	}
	v.erase()
	if s.Phase != v.phase {
		v.phase = s.Phase
		fmt.Fprintf(v.out, "%s  %s: %s\n", v.now().UTC().Format(time.TimeOnly), s.ID, s.Phase)
	}
	for _, step := range s.Steps {
		if step.State != api.StepRunning && v.told[step.ID] != step.State {
			v.told[step.ID] = step.State
			fmt.Fprintln(v.out, fold(endedLine(step), v.width()-1))
		}
	}
	if s.Waiting != "" && s.Waiting != v.waiting {
		fmt.Fprint(v.out, asked(s.Waiting, v.width()-1))
	}
	v.waiting = s.Waiting
	v.showRunning(s)
}

func (v *viewer) showRunning(s seen) {
	now := v.now()
	width := v.width()
	lines := []string{}
	for _, step := range s.Steps {
		if step.State == api.StepRunning && s.Finished == nil {
			key := activityKey(step.Workflow, step.ID)
			line, figures := runningLine(step, s.activities[key], v.meter(key).rate(s.activities[key].done, now), clockOf(s.Clocks, step.Component), now)
			switch {
			case figures == "":
				lines = append(lines, line)
			case width > 0 && utf8.RuneCountInString(line+figures)+2 > width-1:
				lines = append(lines, line, strings.Repeat(" ", indent)+figures)
			default:
				lines = append(lines, line+"  "+figures)
			}
		}
	}
	if width == 0 {
		if len(lines) > 0 && now.Sub(v.lastPlain) >= plainEvery {
			v.lastPlain = now
			fmt.Fprintln(v.out, strings.Join(lines, "\n"))
		}
		return
	}
	if s.Finished == nil {
		lines = append(lines, headLine(s, now))
	}
	for _, line := range lines {
		fmt.Fprintln(v.out, clip(line, width-1))
	}
	v.live = len(lines)
}

func (v *viewer) meter(key string) *meter {
	if v.meters[key] == nil {
		v.meters[key] = &meter{}
	}
	return v.meters[key]
}

// erase removes the lines that are redrawn.
func (v *viewer) erase() {
	if v.live > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA\x1b[J", v.live)
		v.live = 0
	}
}

// leave removes what only made sense while the run went on.
func (v *viewer) leave() { v.erase() }

// silent says once that nobody answers.
func (v *viewer) silent(error) {
	if v.quiet || v.json {
		return
	}
	v.quiet = true
	v.erase()
	fmt.Fprintf(v.out, "%s  no answer from the worker or from Temporal; the run goes on when they are back\n", v.now().UTC().Format(time.TimeOnly))
}

func (v *viewer) showJSON(s seen) {
	text, err := json.Marshal(s.Progress)
	if err == nil && string(text) != v.lastJSON {
		v.lastJSON = string(text)
		fmt.Fprintln(v.out, v.lastJSON)
	}
}

// endedLine tells a step that ended.
func endedLine(step api.Step) string {
	mark, took := "done", ""
	if step.State == api.StepFailed {
		mark = "FAILED"
	}
	stamp := step.Started
	if step.Finished != nil {
		stamp = *step.Finished
		took = brief(step.Finished.Sub(step.Started))
	}
	line := fmt.Sprintf("%s  %-6s %6s  %s", stamp.UTC().Format(time.TimeOnly), mark, took, placed(step))
	if step.Outcome != "" {
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
		parts = append(parts, fmt.Sprintf("%s of %s", brief(now.Sub(clock.Since)), clock.Objective))
	}
	if len(parts) > 0 {
		figures = "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprintf("          %-6s %6s  %s", "…", brief(now.Sub(step.Started)), placed(step)), figures
}

// headLine tells the whole: the phase, and the time since the disaster or the start.
func headLine(s seen, now time.Time) string {
	line := fmt.Sprintf("          %s: %s", s.Phase, brief(now.Sub(s.Since)))
	if clock := clockOf(s.Clocks, ""); clock != nil {
		elapsed := now.Sub(clock.Since)
		line += fmt.Sprintf(" of %s", clock.Objective)
		if clock.Objective > 0 && elapsed > clock.Objective.Std() {
			line += ": OBJECTIVE MISSED, the run goes on"
		}
	}
	return line
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

// brief writes a duration as a person says it: "0.4s", "41.2s", "3m12s".
func brief(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return system.Duration(d.Round(time.Second)).String()
}

func clip(line string, width int) string {
	if width < 2 || utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}

// indent is where the text of a step begins.
const indent = 26

// fold breaks a line that stays, between words, where the terminal ends. What
// has no blank, such as a key, stays whole, so that it can be copied.
func fold(line string, width int) string {
	var b strings.Builder
	margin := 0 // the leading blanks of a line are no place to break it
	rest := []rune(line)
	for width > 2*indent && len(rest) > width {
		end := width
		for end > margin+indent && rest[end] != ' ' {
			end--
		}
		if end <= margin+indent {
			for end = width; end < len(rest) && rest[end] != ' '; end++ {
				continue
			}
		}
		if end == len(rest) {
			break
		}
		b.WriteString(strings.TrimRight(string(rest[:end]), " ") + "\n")
		rest = []rune(strings.Repeat(" ", indent) + strings.TrimLeft(string(rest[end:]), " "))
		margin = indent
	}
	return b.String() + string(rest)
}

// asked tells what a person is asked. Each command, which stands between
// backquotes, has a line of its own and stays whole, so that it can be copied.
func asked(waiting string, width int) string {
	var b strings.Builder
	for i, part := range strings.Split(waiting, "`") {
		if i%2 == 1 {
			fmt.Fprintf(&b, "  %s\n", part)
		} else if part = strings.Trim(part, " ,."); part != "" {
			fmt.Fprintln(&b, fold("          "+part, width))
		}
	}
	return b.String()
}

// table aligns columns on stdout.
func (a *app) table() *tabwriter.Writer { return tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0) }
