package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

const (
	baseEvery  = 2 * day   // a base backup that is older makes the replay what a recovery takes longest for
	drillEvery = 106 * day // a quarter, and two weeks to find a Saturday
	proofAfter = time.Hour // a backup is read back right after it was made
	replicate  = "temporal workflow start --type ReplicateStore --task-queue lifeboat"
	drillAgain = "lifeboat drill run"
)

func (l *looking) problem(kind ProblemKind, mend, format string, args ...any) {
	l.status.Problems = append(l.status.Problems, Problem{Kind: kind, Text: fmt.Sprintf(format, args...), Mend: mend})
}

// judgeKeys says once that the keys at hand are not those that things were sealed
// with: no other backup and no replication mends that.
func (l *looking) judgeKeys() {
	var what []string
	why := ""
	for _, c := range l.status.Components {
		for _, p := range []*Point{&c.Bucket, c.Replica} {
			if p != nil && locked(p.Fault) && !slices.Contains(what, c.ID) {
				what, why = append(what, c.ID), cmp.Or(why, p.Why)
			}
		}
	}
	if l.sealed != nil {
		what, why = append(what, "the ledger"), cmp.Or(why, reason(l.sealed))
	}
	if len(what) > 0 {
		l.problem(Wrong, "check BACKUP_ENCRYPTION_KEY and keys in lifeboat.yaml, then: lifeboat doctor --only keys",
			"the key at hand does not open %s: %s", strings.Join(what, ", "), why)
	}
}

// judge says what is overdue and what is wrong, and gives the answer.
func (l *looking) judge() {
	l.judgeKeys()
	l.judgeStore(l.status.Store, func(c Component) Point { return c.Bucket }, l.judgeBucket)
	if l.status.Replica != "" {
		l.judgeStore(l.status.Replica, func(c Component) Point { return *c.Replica }, l.judgeReplica)
	}
	for _, c := range l.status.Components {
		if c.Asked && c.Backup != nil && c.Proof == "" && c.Backup.Age.Std() > proofAfter {
			l.problem(Late, backupCommand(c.ID), "%s: its newest backup was stored %s ago, and is not proven", c.ID, Age(c.Backup.Age))
		}
	}
	l.judgeScheduled()
	l.judgeDrill()
	if review := l.status.Review; !review.IsZero() && !l.status.At.Before(review.AddDate(0, 0, 1)) {
		l.problem(Late, "review the plan, then set plan.next_review in lifeboat.yaml", "the review of the plan was due on %s", review.Format(time.DateOnly))
	}
	slices.SortStableFunc(l.status.Problems, func(a, b Problem) int { return cmp.Compare(b.Kind, a.Kind) }) // "wrong" before "late"
	for _, p := range l.status.Problems {
		if p.Kind == Wrong {
			l.status.Wrong++
		} else {
			l.status.Late++
		}
	}
	l.status.Answer = l.answer()
}

// judgeStore judges the points of one store, or says once that it is away.
func (l *looking) judgeStore(name string, of func(Component) Point, one func(c Component)) {
	told := false
	for _, c := range l.status.Components {
		p := of(c)
		switch {
		case locked(p.Fault): // judgeKeys says it
		case p.State != Unreachable:
			one(c)
		case !told:
			told = true
			l.status.Away = append(l.status.Away, Away{Source: "store " + name, Why: p.Why})
			l.problem(Wrong, "lifeboat doctor --only stores", "store %s can't be reached: %s", name, p.Why)
		}
	}
}

func (l *looking) judgeBucket(c Component) {
	switch p := c.Bucket; {
	case p.State == None:
		l.problem(Wrong, backupCommand(c.ID), "%s: there is no complete backup in %s", c.ID, l.status.Store)
	case p.State == Broken:
		l.problem(Wrong, backupCommand(c.ID), "%s: a recovery from %s would fail: %s", c.ID, l.status.Store, p.Why)
	case p.RPO > c.Objective && isDatabase(c):
		l.problem(Late, "lifeboat doctor --only databases", "%s: the newest commit in its archive is %s old (objective %s)", c.ID, Age(p.RPO), c.Objective)
	case p.RPO > c.Objective:
		l.problem(Late, backupCommand(c.ID), "%s: the newest backup is %s old (objective %s)", c.ID, Age(p.RPO), c.Objective)
	}
	if c.Bucket.Lacks != "" {
		l.problem(Wrong, backupCommand(c.ID), "%s: a recovery from %s can't use all that is there: %s", c.ID, l.status.Store, c.Bucket.Lacks)
	}
	if c.Bucket.State == Known && isDatabase(c) && l.since(c.Bucket.Taken).Std() > baseEvery {
		l.problem(Late, backupCommand(c.ID), "%s: the base backup is %s old: a recovery replays all WAL since", c.ID, Age(l.since(c.Bucket.Taken)))
	}
}

// judgeReplica tells what is worse there than in the primary store.
func (l *looking) judgeReplica(c Component) {
	if c.Replica.Lacks != "" {
		l.problem(Wrong, replicate, "%s: a recovery from the replica %s can't use all that is there: %s", c.ID, l.status.Replica, c.Replica.Lacks)
	}
	switch p := *c.Replica; {
	case p.State == None && c.Bucket.State != None:
		l.problem(Wrong, replicate, "%s: there is no complete backup in the replica %s", c.ID, l.status.Replica)
	case p.State == Broken:
		l.problem(Wrong, replicate, "%s: a recovery from the replica %s would fail: %s", c.ID, l.status.Replica, p.Why)
	case p.State == Known && p.RPO > c.Objective && (c.Bucket.State != Known || c.Bucket.RPO <= c.Objective):
		l.problem(Late, replicate, "%s: the replica %s is %s behind (objective %s)", c.ID, l.status.Replica, Age(p.RPO), c.Objective)
	}
}

func (l *looking) judgeDrill() {
	d := l.status.Drill
	switch {
	case !d.Asked:
	case d.ID != "" && d.Outcome != report.Succeeded:
		l.problem(Wrong, "lifeboat report "+d.ID, "the last drill did not succeed, on %s", d.At.Format(time.DateOnly))
	case l.status.Ledger != "": // a copy may lack the newest: what it does not have proves nothing
	case d.Succeeded.IsZero():
		l.problem(Late, drillAgain, "no drill has succeeded in the last %s: a quarter, and two weeks to find a day for it", Age(system.Duration(drillEvery)))
	case l.status.At.Sub(d.Succeeded) > drillEvery:
		l.problem(Late, drillAgain, "the last drill was %s ago, of at most %s: a quarter, and two weeks to find a day for it", Age(l.since(d.Succeeded)), Age(system.Duration(drillEvery)))
	}
}

// answer is the first line of all.
func (l *looking) answer() string {
	s := &l.status
	switch {
	case s.Wrong > 0 && s.Late > 0:
		return fmt.Sprintf("WRONG %s: %d wrong, %d overdue", s.System, s.Wrong, s.Late)
	case s.Wrong > 0:
		return fmt.Sprintf("WRONG %s: %d wrong", s.System, s.Wrong)
	case s.Late > 0:
		return fmt.Sprintf("LATE %s: %d overdue", s.System, s.Late)
	}
	where := "in " + s.Store
	if s.Replica != "" {
		where += " and " + s.Replica
	}
	return fmt.Sprintf("OK %s: every component within its objective %s", s.System, where)
}

func isDatabase(c Component) bool { return strings.HasPrefix(c.ID, string(system.KindDatabase)+"/") }

// backupCommand takes a backup of the component, now.
func backupCommand(id string) string { return "lifeboat backup " + strings.Replace(id, "/", " ", 1) }

// Age writes a length of time in few characters, rounded down: 40s, 25m, 1h59m, 3h, 12d.
func Age(of system.Duration) string {
	d := of.Std()
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%dd", d/day)
	case d >= time.Hour:
		if m := d % time.Hour / time.Minute; m > 0 {
			return fmt.Sprintf("%dh%dm", d/time.Hour, m)
		}
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	default:
		return fmt.Sprintf("%ds", d/time.Second)
	}
}
