package status

import (
	"context"
	"slices"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/report"
)

// Kinds of ledger records that a look reads, and the one that files it.
const (
	kindRun       = "run"
	kindBackup    = "backup"
	kindProof     = "proof"
	kindUnchanged = "unchanged"
	kindArchive   = "archive"
	kindDamage    = "damage"

	Kind = "status" // subject: the system's name; body: Status
)

// drillKind is the workflow type of drills, as runs are recorded with it.
const drillKind = "DrillSystem"

// skew is how far the clocks of writers may differ: that much earlier than a backup
// began, nothing on the ledger is about it.
const skew = time.Hour

// reading is what one way back through the ledger finds.
type reading struct {
	wanted     map[string]time.Time // keys of backups whose own record was not met yet, and their start
	proofs     map[string]string    // by key of a backup
	damaged    map[string]bool      // by key of a backup: what is older proves nothing any more
	unchanged  map[string]time.Time // by key of a backup: it still equalled its source then
	lost       map[string]lost      // by component: the newest record of WAL that was lost
	components map[string]Proven    // by component
	scheduled  map[string]Scheduled // by name of a schedule
	drill      Drill
	drills     time.Time // nothing older says more about drills
	before     *Status   // the newest earlier one, which says what was before it
	unreadable []error
}

// lost is what a check of the WAL archive did not find.
type lost struct {
	At   time.Time `json:"at"`
	Lost []string  `json:"lost"`
}

// records asks the ledger, in the first store that answers. Each record is read
// once, from the newest back to the oldest that can matter.
func (l *looking) records(ctx context.Context) {
	wanted := map[string]time.Time{}
	for _, c := range l.status.Components {
		for _, p := range []*Point{&c.Bucket, c.Replica} {
			if p != nil && p.Backup != "" {
				wanted[p.Backup] = p.Taken
			}
		}
	}
	from := l.system
	if l.status.Replica != "" && l.gone(func(c Component) Point { return c.Bucket }) {
		if alone, err := l.system.Alone(l.status.Replica); err == nil {
			from, l.status.Ledger = alone, l.status.Replica
		}
	}
	found := within(ctx, l.Limit, "ledger", func(ctx context.Context) (reading, error) {
		opened, err := l.Ledger(ctx, from, reader)
		if err != nil {
			return reading{}, err
		}
		return read(ctx, opened, wanted, l.status.At.Add(-drillEvery))
	})
	if found.err != nil {
		l.away("ledger", found.err, "lifeboat doctor --only stores")
		return
	}
	l.take(found.value)
}

// gone says whether a store gave no answer about anything.
func (l *looking) gone(of func(Component) Point) bool {
	return !slices.ContainsFunc(l.status.Components, func(c Component) bool { return of(c).State != Unreachable })
}

// read goes back through the ledger until nothing that is wanted can come.
func read(ctx context.Context, records *ledger.Ledger, wanted map[string]time.Time, drillsSince time.Time) (reading, error) {
	r := reading{wanted: wanted, proofs: map[string]string{}, damaged: map[string]bool{}, unchanged: map[string]time.Time{}, lost: map[string]lost{}, components: map[string]Proven{}, scheduled: map[string]Scheduled{}, drill: Drill{Asked: true}, drills: drillsSince}
	for entry, err := range records.Newest(ctx, ledger.Filter{}) {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err == nil {
			err = r.take(entry)
		}
		if err != nil && unreachable(err) {
			return r, err
		}
		if err != nil {
			r.unreadable = append(r.unreadable, err)
			continue
		}
		for key, began := range r.wanted {
			if entry.Time.Before(began.Add(-skew)) {
				delete(r.wanted, key)
			}
		}
		if len(r.wanted) == 0 && entry.Time.Before(r.drills) {
			break
		}
	}
	if r.before == nil {
		return r, nil
	}
	if r.drill.ID == "" {
		r.drill = r.before.Drill
	} else if r.drill.Succeeded.IsZero() {
		r.drill.Succeeded = r.before.Drill.Succeeded
	}
	r.carry(*r.before)
	return r, nil
}

func (r *reading) take(entry ledger.Entry) error {
	switch entry.Kind {
	case kindBackup, kindProof:
		var proven struct {
			Proof string    `json:"proof"` // of kind "backup"
			From  time.Time `json:"from"`
			Level string    `json:"level"` // of kind "proof"
			At    time.Time `json:"at"`

			Random bool `json:"random"` // it says nothing of the newest
		}
		if err := entry.Decode(&proven); err != nil {
			return err
		}
		if !r.damaged[entry.Subject] {
			r.proofs[entry.Subject] = max(r.proofs[entry.Subject], proven.Proof, proven.Level)
		}
		if !proven.Random {
			r.proven(entry, max(proven.Proof, proven.Level), later(proven.At, proven.From))
		}
		if entry.Kind == kindBackup {
			delete(r.wanted, entry.Subject)
		}
	case kindDamage:
		r.damaged[entry.Subject] = true
	case kindUnchanged:
		var still struct {
			At time.Time `json:"at"`
		}
		if err := entry.Decode(&still); err != nil {
			return err
		}
		if still.At.After(r.unchanged[entry.Subject]) {
			r.unchanged[entry.Subject] = still.At
		}
	case kindArchive:
		var found lost
		if err := entry.Decode(&found); err != nil {
			return err
		}
		if _, newer := r.lost[entry.Subject]; !newer && len(found.Lost) > 0 {
			r.lost[entry.Subject] = found
		}
	case kindRun:
		return r.run(entry)
	case Kind:
		return r.earlier(entry)
	}
	return nil
}

// run takes the newest drill, and the newest that succeeded; and the same of schedules.
func (r *reading) run(entry ledger.Entry) error {
	var run report.Run
	if err := entry.Decode(&run); err != nil {
		return err
	}
	if run.Kind != drillKind {
		r.ran(run)
		return nil
	}
	if r.drill.ID == "" {
		r.drill.ID, r.drill.At, r.drill.Outcome = run.ID, run.Finished, run.Outcome
	}
	if run.Outcome == report.Succeeded && r.drill.Succeeded.IsZero() {
		r.drill.Succeeded = run.Finished
	}
	return nil
}

// earlier takes what an earlier status says of what was before it, which spares
// the way back there. What was filed while it looked is read all the same.
func (r *reading) earlier(entry ledger.Entry) error {
	var before Status
	if err := entry.Decode(&before); err != nil {
		return err
	}
	if r.before == nil && before.Drill.Asked {
		r.before, r.drills = &before, before.At.Add(-skew)
	}
	return nil
}

// take puts what was read into the status.
func (l *looking) take(r reading) {
	l.status.Drill = r.drill
	l.takeScheduled(r)
	if len(r.unreadable) > 0 && r.drill.ID == "" {
		l.status.Drill.Asked = false // one of them may be of a drill
	}
	for i := range l.status.Components {
		c := &l.status.Components[i]
		if c.Backup != nil {
			c.Proof = r.proofs[c.Backup.Key]
		}
		c.Asked = c.Proof != "" || len(r.unreadable) == 0
		// A backup that began afterwards needs nothing of what was lost.
		if gone, ok := r.lost[c.ID]; ok && (c.Backup == nil || !c.Backup.At.After(gone.At)) {
			l.problem(Wrong, backupCommand(c.ID), "%s: %d WAL segments were lost, from %s on: a recovery goes no further", c.ID, len(gone.Lost), gone.Lost[0])
		}
		for _, p := range []*Point{&c.Bucket, c.Replica} {
			if p == nil || p.State != Known {
				continue
			}
			if still := r.unchanged[p.Backup]; still.After(p.At) {
				p.At, p.RPO = still, l.since(still)
			}
		}
	}
	if len(r.unreadable) > 0 && locked(fault.KindOf(r.unreadable[0])) {
		l.sealed = r.unreadable[0]
	} else if len(r.unreadable) > 0 {
		l.problem(Wrong, "lifeboat doctor --only keys,stores", "the ledger has %d records that can't be read: %s", len(r.unreadable), reason(r.unreadable[0]))
	}
}
