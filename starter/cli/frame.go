package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// style is how a line of a frame is drawn.
type style int

const (
	plain style = iota
	bold
	faint // over
	alarm
)

// styled is one line of a frame.
type styled struct {
	text   string
	style  style
	joined bool // goes on where the line before filled its row, so that both are copied as one
}

// size is that of a terminal, in characters.
type size struct{ width, height int }

const (
	barWidth    = 24
	mostName    = 22 // of a component
	leastTitle  = 14 // a step's title is not cut shorter for its figures
	leastRecent = 3  // lines for what ended; those of components make way for them, on a low screen for fewer
)

// frame draws a run as it stands: what it is and its clock, a line for each
// component and what runs there, and what ended last. It has at most as many
// lines as the screen, none wider than it. It is a pure function of its input;
// rates are bytes per second by activity.
func frame(s seen, rates map[string]float64, to size, now time.Time) []styled {
	to.width, to.height = max(to.width, 2), max(to.height, 1)
	if s.Finished != nil {
		now = *s.Finished
	}
	lines := head(s, to.width, now)
	if s.Waiting != "" {
		lines = append(lines, styled{})
		for line := range strings.Lines(asked(s.Waiting, to.width)) {
			lines = append(lines, whole(strings.TrimRight(line, "\n"), to.width)...)
		}
	}
	lines = append(lines, styled{})
	rows := rows(s, rates, to.width, now)
	left := to.height - len(lines) - 1
	if room := max(0, left-min(leastRecent, left/3)); len(rows) > room {
		shown := max(0, room-1)
		rows = append(rows[:shown], styled{text: fmt.Sprintf("… and %d more lines", len(rows)-shown), style: faint})
	}
	lines = append(lines, rows...)
	if recent := recent(s, to.height-len(lines)-1); len(recent) > 0 {
		lines = append(append(lines, styled{}), recent...)
	}
	lines = lines[:min(len(lines), to.height)]
	for i := range lines {
		lines[i].text = clip(lines[i].text, to.width)
	}
	return lines
}

// whole is a line that is not cut, for it may be a command.
func whole(line string, width int) []styled {
	var lines []styled
	for rest := []rune(line); len(rest) > 0 || len(lines) == 0; {
		n := min(width, len(rest))
		lines = append(lines, styled{text: string(rest[:n]), style: bold, joined: len(lines) > 0})
		rest = rest[n:]
	}
	return lines
}

// head says what runs, its phase, and its clock.
func head(s seen, width int, now time.Time) []styled {
	what := s.ID
	if s.System != "" {
		what = s.Workflow + " " + s.System
		if s.Target != "" && s.Target != string(system.TargetProduction) {
			what += " → " + s.Target
		}
		what += "  " + s.ID
	}
	lines := []styled{{text: apart(what, now.UTC().Format("15:04:05 UTC"), width), style: bold}}
	phase := styled{text: string(s.Phase)}
	switch s.Phase {
	case api.PhaseFailed, api.PhaseAborted:
		phase.style = alarm
	case api.PhaseWaiting:
		phase.style = bold
	}
	if s.below != "" && s.Finished == nil {
		phase.text += ": " + string(s.below)
	}
	lines = append(lines, phase)
	if s.Failure != "" {
		lines = append(lines, styled{text: s.Failure, style: alarm})
	}
	if len(s.Clocks) == 0 || s.Clocks[0].Objective <= 0 {
		return append(lines, styled{text: brief(now.Sub(s.Since))})
	}
	clock := s.Clocks[0]
	if clock.Stopped != nil {
		now = *clock.Stopped
	}
	passed, objective := now.Sub(clock.Since), clock.Objective.Std()
	line := styled{text: fmt.Sprintf("RTO %s  %s  ", clock.Objective, bar(passed.Seconds()/objective.Seconds()))}
	switch ended := s.Finished != nil; {
	case passed > objective && clock.Stopped == nil && !ended:
		line = styled{text: line.text + "OBJECTIVE MISSED by " + brief(passed-objective) + ", the run goes on", style: alarm}
	case passed > objective:
		line = styled{text: line.text + "objective missed by " + brief(passed-objective), style: alarm}
	case clock.Stopped != nil:
		line.text += "met in " + brief(passed)
	case ended:
		line.text += brief(passed) + " passed, not recovered"
	default: // the time that has passed of the objective tells nothing about the work
		line.text += brief(passed) + " passed, missed in " + brief(objective-passed)
	}
	return append(lines, line)
}

// rows has a line for each component, and one for each step of the whole that runs.
func rows(s seen, rates map[string]float64, width int, now time.Time) []styled {
	names := []string{}
	for _, one := range s.Components {
		names = append(names, one.ID)
	}
	running := map[string][]api.Step{}
	for _, step := range s.Steps {
		if step.Component != "" && !slices.Contains(names, step.Component) {
			names = append(names, step.Component)
		}
		if step.State == api.StepRunning && s.Finished == nil && !s.followed(step) {
			running[step.Component] = append(running[step.Component], step)
		}
	}
	longest := 0
	for _, name := range names {
		longest = max(longest, utf8.RuneCountInString(name))
	}
	longest = min(longest, mostName, width/3)
	var lines []styled
	for _, name := range append(names, "") {
		label := fmt.Sprintf("%-*s", longest, clip(name, longest))
		for i, step := range running[name] {
			if i > 0 {
				label = strings.Repeat(" ", longest)
			}
			lines = append(lines, working(s, label, step, rates, width, now)...)
		}
		if name != "" && len(running[name]) == 0 {
			lines = append(lines, resting(s, name, label))
		}
	}
	return lines
}

// working tells a step that runs, with its figures at the right edge, and why it is tried again.
func working(s seen, label string, step api.Step, rates map[string]float64, width int, now time.Time) []styled {
	key := activityKey(step.Workflow, step.ID)
	a := s.activities[key]
	figures := append(figuresOf(a, rates[key]), brief(now.Sub(step.Started)))
	title := label + "  " + step.Title
	least := utf8.RuneCountInString(label) + 2 + min(leastTitle, utf8.RuneCountInString(step.Title))
	for dropped := 0; len(figures) > 1 && least+2+utf8.RuneCountInString(strings.Join(figures, "  ")) > width; dropped++ {
		if dropped == 1 { // a percentage follows from the bytes; the other last ones matter less than those before them
			figures = figures[1:]
		} else {
			figures = figures[:len(figures)-1]
		}
	}
	lines := []styled{{text: apart(title, strings.Join(figures, "  "), width)}}
	if a.attempt > 1 {
		why, _, _ := strings.Cut(a.failure, "\n")
		lines = append(lines, styled{text: fmt.Sprintf("%s  attempt %d: %s", strings.Repeat(" ", utf8.RuneCountInString(label)), a.attempt, why), style: alarm})
	}
	return lines
}

// figuresOf says how much is done of what, how fast, and how long it still takes.
func figuresOf(a activity, rate float64) []string {
	var told []string
	switch {
	case a.total > 0:
		told = append(told, fmt.Sprintf("%3d %%", min(100, a.done*100/a.total)), doneOf(a))
	case a.done > 0:
		told = append(told, system.Bytes(a.done).Human())
	}
	if rate >= 1 {
		told = append(told, system.Bytes(rate).Human()+"/s")
		if left := a.total - a.done; left > 0 {
			told = append(told, brief(time.Duration(float64(left)/rate*float64(time.Second)))+" left")
		}
	}
	return told
}

// doneOf says how many bytes are done of how many, the unit once when it is the same.
func doneOf(a activity) string {
	done, total := system.Bytes(a.done).Human(), system.Bytes(a.total).Human()
	if number, unit, ok := strings.Cut(done, " "); ok && strings.HasSuffix(total, " "+unit) {
		done = number
	}
	return done + " of " + total
}

// resting tells a component at which nothing runs now.
func resting(s seen, name, label string) styled {
	state := "waits"
	for _, one := range s.Components {
		if one.ID != name {
			continue
		}
		switch {
		case one.Gate == api.GateDone:
			state = "back"
			for _, clock := range s.Clocks {
				if clock.Name == name && clock.Stopped != nil {
					state = fmt.Sprintf("back after %s (objective %s)", brief(clock.Stopped.Sub(clock.Since)), clock.Objective)
				}
			}
		case one.Outcome != "":
			state = one.Outcome
		case one.Gate != "":
			state = string(one.Gate) + held(s, one)
		}
	}
	var last *api.Step
	for i := range s.Steps {
		if step := &s.Steps[i]; step.Component == name && step.Finished != nil && (last == nil || !step.Finished.Before(*last.Finished)) {
			last = step
		}
	}
	switch {
	case last == nil:
	case last.State == api.StepFailed:
		return styled{text: label + "  FAILED " + last.Title + ": " + last.Outcome, style: alarm}
	case last.State == api.StepAborted:
		return styled{text: label + "  aborted: " + last.Title, style: faint}
	case state == "waits":
		state = "done: " + last.Title
	}
	return styled{text: label + "  " + state, style: faint}
}

// held says for whom a component waits that has reached a gate.
func held(s seen, one api.ComponentView) string {
	for _, other := range s.Components {
		if other.Outcome == "" && other.Gate != one.Gate && (other.Gate == "" || one.Gate == api.GateReady && other.Gate == api.GatePrepared) {
			return ", waits for the others"
		}
	}
	if s.Waiting != "" {
		return ", waits for approval"
	}
	return ""
}

// recent tells the steps that ended last, the newest at the bottom.
func recent(s seen, most int) []styled {
	ended := slices.DeleteFunc(slices.Clone(s.Steps), func(step api.Step) bool { return step.Finished == nil })
	slices.SortStableFunc(ended, func(a, b api.Step) int { return cmp.Compare(a.Finished.UnixNano(), b.Finished.UnixNano()) })
	var lines []styled
	for _, step := range ended[max(0, len(ended)-max(0, most)):] {
		line := styled{text: endedLine(step), style: faint}
		if step.State == api.StepFailed {
			line.style = alarm
		}
		lines = append(lines, line)
	}
	return lines
}

// bar draws a share of one.
func bar(share float64) string {
	full := int(min(1, max(0, share)) * barWidth)
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", barWidth-full) + "]"
}

// apart puts one text at the left edge and one at the right; the left one is cut.
func apart(left, right string, width int) string {
	room := width - utf8.RuneCountInString(right) - 2
	if right == "" || room < 2 {
		return left
	}
	left = clip(left, room)
	return left + strings.Repeat(" ", room+2-utf8.RuneCountInString(left)) + right
}
