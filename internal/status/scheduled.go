package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

// Workflow types whose schedules are held against what they have left behind.
const (
	verifyKind = "VerifyBackup"
	dumpKind   = "DumpDatabase"
)

// Levels at which databases alone are proven.
const (
	levelRestored = 2 // "L2"
	levelEqual    = 3 // "L3"
)

// proven takes a proof of any backup of a component, and a dump that was taken.
func (r *reading) proven(entry ledger.Entry, level string, at time.Time) {
	component, err := plan.ComponentOf(entry.Subject)
	if err != nil {
		return // of another system's folder, or of a later release
	}
	if at.IsZero() {
		at = entry.Time
	}
	found := r.components[component]
	if level >= "L2" {
		found.L2 = later(found.L2, at)
	}
	if level >= "L3" {
		found.L3 = later(found.L3, at)
	}
	if entry.Kind == kindBackup && plan.IsDump(entry.Subject) && at.After(found.Dumped) {
		found.Dump, found.Dumped = entry.Subject, at
	}
	r.components[component] = found
}

// ran takes how a run that a schedule started has ended. The newest come first.
func (r *reading) ran(run report.Run) {
	name, ok := scheduleOf(run.ID, run.System)
	if !ok || run.Kind != verifyKind && run.Kind != dumpKind {
		return
	}
	found := r.scheduled[name]
	switch run.Outcome {
	case report.Succeeded:
		found.Succeeded = later(found.Succeeded, run.Started)
	case report.Failed:
		if run.Started.After(found.Failed) {
			found.Failed, found.Run, found.Why = run.Started, run.ID, "it does not say why"
			if len(run.Failures) > 0 {
				found.Why = run.Failures[0].Message
			}
		}
	}
	found.Name = name
	r.scheduled[name] = found
}

// scheduleOf gives the schedule that started a run: its ID is the schedule's with
// the time of the start behind it.
func scheduleOf(id, system string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(id, "schedule/"+system+"/")
	if !ok || len(rest) < len(startTime)+2 {
		return "", false
	}
	at := len(rest) - len(startTime)
	_, err := time.Parse(startTime, rest[at:])
	return rest[:at-1], err == nil && rest[at-1] == '-'
}

// startTime is how Temporal writes the time of a start into the ID of its run.
const startTime = "2006-01-02T15:04:05Z"

// carry adds what an earlier status knew, which spares the way back to it.
func (r *reading) carry(before Status) {
	for _, c := range before.Components {
		found := r.components[c.ID]
		found.L2, found.L3 = later(found.L2, c.Proven.L2), later(found.L3, c.Proven.L3)
		if c.Proven.Dumped.After(found.Dumped) {
			found.Dump, found.Dumped = c.Proven.Dump, c.Proven.Dumped
		}
		r.components[c.ID] = found
	}
	for _, old := range before.Scheduled {
		found := r.scheduled[old.Name]
		found.Name, found.Succeeded = old.Name, later(found.Succeeded, old.Succeeded)
		if old.Failed.After(found.Failed) {
			found.Failed, found.Run, found.Why = old.Failed, old.Run, old.Why
		}
		r.scheduled[old.Name] = found
	}
}

// takeScheduled puts into the status what is configured now.
func (l *looking) takeScheduled(r reading) {
	for i := range l.status.Components {
		l.status.Components[i].Proven = r.components[l.status.Components[i].ID]
	}
	for _, s := range l.system.Schedules {
		if found, ok := r.scheduled[s.Name]; ok {
			l.status.Scheduled = append(l.status.Scheduled, found)
		}
	}
	l.knowsRuns = len(r.unreadable) == 0 && l.status.Ledger == "" // a copy may lack the newest
}

// judgeScheduled says which proofs and dumps have failed or are overdue.
func (l *looking) judgeScheduled() {
	if !l.knowsRuns {
		return
	}
	for _, s := range l.system.Schedules {
		switch {
		case s.Workflow == dumpKind:
			for _, c := range l.databases(s.Of) {
				l.hold(s, c.ID, c.Proven.Dumped, "dump", backupCommand(c.ID)+" --dump")
			}
		case s.Workflow == verifyKind && !s.Random && s.ProofLevel() >= levelRestored:
			for _, c := range l.databases(s.Of) {
				at := c.Proven.L2
				if s.ProofLevel() >= levelEqual {
					at = c.Proven.L3
				}
				if c.Backup != nil { // else there is nothing to prove, and that is told
					l.hold(s, c.ID, at, fmt.Sprintf("proof at L%d", s.ProofLevel()), fmt.Sprintf("lifeboat verify latest --of %s --level %d", c.ID, s.ProofLevel()))
				}
			}
		case s.Workflow == verifyKind:
			what, of := fmt.Sprintf("proof at L%d", s.ProofLevel()), "backups"
			if s.Random {
				what += " of an older backup"
			}
			if s.Of != "" {
				of = system.ComponentID(system.KindDatabase, s.Of)
			}
			if slices.ContainsFunc(l.status.Components, func(c Component) bool { return c.Backup != nil && (s.Of == "" || c.ID == of) }) {
				l.hold(s, of, time.Time{}, what, "lifeboat schedule trigger "+s.Name)
			}
		}
	}
}

// databases are the components that a schedule of this Of concerns.
func (l *looking) databases(of string) []Component {
	return slices.DeleteFunc(slices.Clone(l.status.Components), func(c Component) bool {
		return !isDatabase(c) || of != "" && c.ID != system.ComponentID(system.KindDatabase, of)
	})
}

// hold holds what a schedule wants against the last time that it came about, by the
// schedule or by hand.
func (l *looking) hold(s system.Schedule, subject string, at time.Time, what, mend string) {
	var ran Scheduled
	if i := slices.IndexFunc(l.status.Scheduled, func(one Scheduled) bool { return one.Name == s.Name }); i >= 0 {
		ran = l.status.Scheduled[i]
	}
	at = later(at, ran.Succeeded)
	if ran.Failed.After(at) {
		l.problem(Wrong, "lifeboat report "+ran.Run, "%s: the %s by schedule %s failed %s ago: %s", subject, what, s.Name, Age(l.since(ran.Failed)), ran.Why)
		return
	}
	due := s.Due(l.status.At)
	if due.IsZero() || !at.Before(due) || slices.ContainsFunc(l.status.Running, func(run Run) bool {
		name, ok := scheduleOf(run.ID, l.status.System)
		return ok && name == s.Name
	}) {
		return
	}
	last := "there is none on record"
	if !at.IsZero() {
		last = "the last was " + Age(l.since(at)) + " ago"
	}
	l.problem(Late, mend, "%s: no %s since %s, when schedule %s was due: %s", subject, what, due.Format("2006-01-02 15:04 UTC"), s.Name, last)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
