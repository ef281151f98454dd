package retention

import (
	"fmt"
	"math"
	"time"

	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/wal"
	"github.com/frende/lifeboat/internal/window"
)

// everything is the floor of a cluster that is gone for longer than the retention.
const everything = math.MaxUint64

// walVerdict is what becomes of one cluster's WAL in one store.
type walVerdict struct {
	archive *archive
	below   uint64 // segments with a lower number go, but for those that are kept for a reason of their own
	going   []wal.File
	kept    []Entry
}

// judgeWAL decides of all WAL in one store, once it is decided of its backups: of
// those no more go than may, and WAL follows them, whatever its share. gone are the objects that leave the primary store before the replica's go.
func (r *Retention) judgeWAL(v *view, s *side, groups []*group, gone map[string]bool) []*walVerdict {
	var all []*walVerdict
	for _, a := range s.archives {
		w := &walVerdict{archive: a}
		reason, told := w.floor(v, groups)
		w.judge(r, v, s, gone, reason, told)
		all = append(all, w)
	}
	return all
}

// baseGroup finds the base backups of a database; nil: the store has none.
func baseGroup(groups []*group, database string) *group {
	for _, g := range groups {
		if g.component.Kind == system.KindDatabase && g.component.Name == database && g.kind == baseKind {
			return g
		}
	}
	return nil
}

// floor finds from where on WAL is needed, and by what. A reason keeps all of it.
func (w *walVerdict) floor(v *view, groups []*group) (reason Reason, told string) {
	a := w.archive
	g := baseGroup(groups, a.component)
	if g == nil {
		return NoBase, "no base backup says from where on it is needed"
	}
	if g.refused != "" {
		return g.refused, g.why
	}
	var oldest *window.Base
	for _, d := range verdicts(groups) { // one of another component's, too: the database may have had another name
		if b, ok := base(d.item); ok && d.reason != "" && b.SystemID == a.systemID && (oldest == nil || b.StartLSN < oldest.StartLSN) {
			oldest = &b
		}
	}
	if oldest != nil {
		w.below = postgres.SegmentAt(oldest.Timeline, oldest.StartLSN, a.size).Number
		return "", "the base backup " + oldest.Key + " needs it"
	}
	for _, f := range a.files {
		if a.current || !f.Stored.Before(v.cutoff) {
			return NoBase, "no base backup of the cluster " + a.systemID + " says from where on it is needed"
		}
	}
	w.below = everything
	return "", ""
}

// judge goes through the files. reason, when it is one, keeps them all.
func (w *walVerdict) judge(r *Retention, v *view, s *side, gone map[string]bool, reason Reason, told string) {
	a := w.archive
	for _, f := range a.files {
		one := Entry{Store: s.name, Component: system.ComponentID(system.KindDatabase, a.component), What: WAL, First: f.Key, Count: 1, Bytes: f.Size, Reason: reason, Why: told}
		switch {
		case reason != "":
		case f.Number >= w.below:
			one.Reason = Needed
		case !f.Stored.Before(v.cutoff):
			one.Reason, one.Why, one.Until = Younger, fmt.Sprintf("it was stored less than %s ago", r.cfg.System.Backup.Retention), f.Stored.Add(r.retain())
		case s == v.primary && v.replica != nil && !v.replica.archive(a.component, a.systemID).has(f.Key):
			one.Reason, one.Why = ReplicaIncomplete, v.replica.name+" does not hold it"
		case s == v.replica && v.primary.archive(a.component, a.systemID).has(f.Key) && !gone[f.Key]:
			one.Reason, one.Why = InPrimary, v.primary.name+" still has it"
		default:
			w.going = append(w.going, f)
			continue
		}
		w.kept = append(w.kept, one)
	}
	w.kept = rows(w.kept)
}

// floorIn is the floor that a plan notes: right above the last that goes.
func (w *walVerdict) floorIn(store string) Floor {
	f := Floor{Store: store, Database: w.archive.component, SystemID: w.archive.systemID, Below: w.going[len(w.going)-1].Number + 1}
	f.Kept = w.archive.under(f.Below) - len(w.going)
	return f
}

// under counts the files of segments with a lower number.
func (a *archive) under(number uint64) int {
	count := 0
	for _, f := range a.files {
		if f.Number < number {
			count++
		}
	}
	return count
}

// entry tells what goes as one row; false: nothing does.
func (w *walVerdict) entry(store string, cutoff time.Time) (Entry, bool) {
	if len(w.going) == 0 {
		return Entry{}, false
	}
	e := Entry{
		Store: store, Component: system.ComponentID(system.KindDatabase, w.archive.component), What: WAL,
		First: w.going[0].Key, Last: w.going[len(w.going)-1].Key, Count: int64(len(w.going)),
		Why: "no base backup that is kept needs it",
	}
	if w.below == everything {
		e.Why = "of a cluster that has no base backup, and of which nothing was stored since " + cutoff.Format(time.DateOnly)
	}
	for _, f := range w.going {
		e.Bytes += f.Size
	}
	return e, true
}
