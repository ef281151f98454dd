package report

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/system"
)

// bytesText writes a size as a person reads it: "1.9 GiB".
func bytesText(n int64) string { return system.Bytes(n).Human() }

// durationText keeps the digits that matter: "850 ms", "41.2 s", "3 min 20 s", "1 h", "2 d 3 h".
func durationText(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + durationText(-d)
	case d == 0:
		return "0 s"
	case d < 999500*time.Microsecond:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + " ms"
	case d < 59950*time.Millisecond:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	}
	d = d.Round(time.Second)
	var parts []string
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if count := d / unit.size; count > 0 {
			parts = append(parts, strconv.FormatInt(int64(count), 10)+" "+unit.name)
			d -= count * unit.size
		}
	}
	return strings.Join(parts, " ")
}

func std(d system.Duration) time.Duration { return time.Duration(d) }

// timeText is a moment in UTC, to the second.
func timeText(t time.Time) string {
	if t.IsZero() {
		return dash("")
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// headline is the answer: what became of the run, in how much of the time it had.
func (r *Run) headline(now time.Time) string {
	rta := durationText(r.RTA(now))
	recovery := r.kind() != kindBackup && r.kind() != kindRun
	switch {
	case r.Outcome == Succeeded && recovery:
		return fmt.Sprintf("%s recovered%s in %s%s", r.subject(), r.into(), rta, r.against(now))
	case r.Outcome == Succeeded && r.kind() == kindBackup:
		return fmt.Sprintf("%s backed up in %s%s", r.subject(), rta, r.against(now))
	case r.Kind == kindUndo && r.Outcome == Succeeded:
		return fmt.Sprintf("a recovery of %s undone in %s", r.subject(), rta)
	case r.Kind == kindUndo && r.Outcome == Failed:
		return fmt.Sprintf("a recovery of %s NOT undone: failed after %s", r.subject(), rta)
	case r.Kind == kindUndo && r.Outcome == Aborted:
		return fmt.Sprintf("a recovery of %s not undone: aborted after %s", r.subject(), rta)
	case r.Outcome == Succeeded:
		return fmt.Sprintf("%s of %s succeeded in %s%s", cmp.Or(r.Kind, "run"), r.subject(), rta, r.against(now))
	case r.Outcome == Failed && recovery:
		return fmt.Sprintf("%s NOT recovered%s: failed after %s", r.subject(), r.into(), rta)
	case r.Outcome == Aborted && recovery:
		return fmt.Sprintf("%s not recovered%s: aborted after %s", r.subject(), r.into(), rta)
	case r.Outcome == Failed:
		return fmt.Sprintf("%s of %s FAILED after %s", r.kind(), r.subject(), rta)
	case r.Outcome == Aborted:
		return fmt.Sprintf("%s of %s aborted after %s", r.kind(), r.subject(), rta)
	default:
		return fmt.Sprintf("%s of %s%s running: %s so far%s", r.kind(), r.subject(), r.into(), rta, r.against(now))
	}
}

// Kinds of runs, as they are called in a report.
const (
	kindRecovery = "recovery"
	kindDrill    = "drill"
	kindBackup   = "backup"
	kindRun      = "run"
)

// kindUndo is the workflow type of an undo.
const kindUndo = "UndoRecovery"

func (r *Run) kind() string {
	for prefix, kind := range map[string]string{"Recover": kindRecovery, "Drill": kindDrill, "Backup": kindBackup} {
		if strings.HasPrefix(r.Kind, prefix) {
			return kind
		}
	}
	return kindRun
}

// subject is the system, or the part of it that the run was about.
func (r *Run) subject() string {
	name := cmp.Or(r.System, r.ID, "it")
	for _, prefix := range []string{"Recover", "Drill", "Backup"} {
		if part, ok := strings.CutPrefix(r.Kind, prefix); ok && part != "System" && part != "" {
			return strings.ToLower(part) + " of " + name
		}
	}
	return name
}

// into names a target that is not production.
func (r *Run) into() string {
	if r.Target == "" || r.Target == "production" {
		return ""
	}
	return " in " + r.Target
}

// against compares with the objective, when there is one.
func (r *Run) against(now time.Time) string {
	if r.Objective == 0 {
		return ""
	}
	if over := r.RTA(now) - std(r.Objective); over > 0 {
		return fmt.Sprintf(", %s over its objective of %s", durationText(over), objectiveText(r.Objective))
	}
	return " of " + objectiveText(r.Objective)
}

// lead is what comes next after the headline: what was lost, what was missed, what was made.
func (r *Run) lead() []string {
	var lead []string
	if r.Outcome == Succeeded && len(r.Points) > 0 {
		told := "Lost at most: "
		if r.kind() == kindDrill {
			told = "A disaster then would have cost at most: "
		}
		lead = append(lead, told+r.losses()+".")
	}
	var missed []string
	for _, c := range r.Clocks {
		if c.Breached && !c.Open && (c.Name != ClockWhole || !r.Breached) { // the headline tells the whole
			missed = append(missed, fmt.Sprintf("%s by %s", c.Name, durationText(std(c.Took)-std(c.Objective))))
		}
	}
	if len(missed) > 0 {
		lead = append(lead, "Missed its recovery time objective: "+few(missed, 3)+".")
	}
	if len(r.Backups) > 0 {
		var bytes, stored int64
		for _, b := range r.Backups {
			bytes, stored = bytes+b.Bytes, stored+b.Stored
		}
		noun := "backups"
		if len(r.Backups) == 1 {
			noun = "backup"
		}
		lead = append(lead, fmt.Sprintf("Made %d %s of %s, stored as %s.", len(r.Backups), noun, bytesText(bytes), bytesText(stored)))
	}
	return lead
}

// losses tells the greatest loss of each kind of component.
func (r *Run) losses() string {
	var kinds []string
	worst, count := map[string]*Point{}, map[string]int{}
	for i := range r.Points {
		p := &r.Points[i]
		kind := cmp.Or(p.Kind, p.Component)
		if worst[kind] == nil {
			kinds = append(kinds, kind)
		}
		if count[kind]++; worst[kind] == nil || p.RPA > worst[kind].RPA {
			worst[kind] = p
		}
	}
	told := make([]string, 0, len(kinds))
	for _, kind := range kinds {
		p, name := worst[kind], kind
		if count[kind] > 1 {
			name = p.Component
		}
		text := name + " " + durationText(std(p.RPA))
		if p.Breached {
			text += fmt.Sprintf(" (over its objective of %s)", objectiveText(p.Objective))
		}
		told = append(told, text)
	}
	return strings.Join(told, ", ")
}

// notRecovered stands where an objective would be judged, for a part that never came back.
const notRecovered = "not recovered"

// met says what became of an objective.
func met(objective system.Duration, breached bool) string {
	switch {
	case objective == 0:
		return dash("")
	case breached:
		return "missed"
	default:
		return "met"
	}
}

// verdict says what became of a clock's objective.
func (c *Clock) verdict() string {
	switch over := std(c.Took) - std(c.Objective); {
	case c.Open:
		return notRecovered
	case c.Breached && over > 0:
		return "missed by " + durationText(over)
	default:
		return met(c.Objective, c.Breached)
	}
}

func objectiveText(objective system.Duration) string {
	if objective == 0 {
		return dash("")
	}
	return durationText(std(objective))
}

// state is a step's outcome in one word.
func (s *Step) state() string {
	switch {
	case s.Outcome != "":
		return string(s.Outcome)
	case s.Started.IsZero():
		return "waiting"
	default:
		return "running"
	}
}

// notice says whether a step is one that only told people something.
func (s *Step) notice() bool { return strings.HasPrefix(s.ID, "notice/") }

// longestReason is how much of an error is told beside a step, in characters.
const longestReason = 240

// details says what is worth knowing of a step besides its time: bytes, what it
// found, rate, what was resumed, which objects came from elsewhere, and further
// attempts. What its own words tell already is not said again.
func (s *Step) details() string {
	var parts []string
	add := func(text, unless string) {
		if !strings.Contains(s.Detail, unless) {
			parts = append(parts, text)
		}
	}
	switch {
	case s.Total > 0 && s.Bytes < s.Total:
		parts = append(parts, fmt.Sprintf("%s of %s (%d %%)", bytesText(s.Bytes), bytesText(s.Total), 100*s.Bytes/s.Total))
	case s.Bytes > 0:
		add(bytesText(s.Bytes), bytesText(s.Bytes))
	}
	switch {
	case s.Failure != nil && s.Failure.Kind != "":
		parts = append(parts, s.Failure.Kind)
	case s.Failure == nil && s.Detail != "":
		parts = append(parts, s.Detail)
	}
	if s.Rate > 0 {
		add(bytesText(s.Rate)+"/s", "/s")
	}
	if s.Resumed > 0 {
		add(bytesText(s.Resumed)+" resumed", bytesText(s.Resumed))
	}
	if n := len(s.Fallbacks); n > 0 {
		parts = append(parts, fmt.Sprintf("%d from %s", n, s.Fallbacks[0].To))
	}
	if s.Breached {
		parts = append(parts, "objective "+objectiveText(s.Objective)+" missed")
	}
	if s.Attempts > 1 {
		attempt := fmt.Sprintf("attempt %d", s.Attempts)
		if s.Retried != "" {
			attempt += ", the one before: " + clip(s.Retried, longestReason)
		}
		parts = append(parts, attempt)
	}
	return strings.Join(parts, ", ")
}

// few names the first of many.
func few(names []string, most int) string {
	if len(names) > most+1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

func clip(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
