package retention

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

// Outcome is what a plan came to in one store.
type Outcome struct {
	Removed []Entry `json:"removed"`
	Kept    []Entry `json:"kept"` // planned, and kept all the same
}

// removal is one carrying out.
type removal struct {
	*Retention
	view    *view
	side    *side
	groups  []*group
	planned map[string]Entry // backups and remains, by key
	floors  map[string]Floor
	wal     map[string]Entry
	order   []string
	outcome Outcome
	done    atomic.Int64
	total   int64
}

// CarryOut removes from one store what a plan says, as far as it would be decided
// so again now. The primary goes first. It may be cut off anywhere and repeated
// with the same plan: what is gone by then was removed by it.
func (r *Retention) CarryOut(ctx context.Context, plan *Plan, store string) (*Outcome, error) {
	v, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	m := &removal{
		Retention: r, view: v, planned: map[string]Entry{}, floors: map[string]Floor{}, wal: map[string]Entry{},
		outcome: Outcome{Removed: []Entry{}, Kept: []Entry{}},
	}
	for _, s := range v.sides() {
		if s.name == store {
			m.side = s
		}
	}
	if m.side == nil {
		return nil, fault.Newf(fault.InputInvalid, "apply retention in", store, "it is neither the primary store nor its replica")
	}
	m.take(plan)
	if len(plan.Going) == 0 {
		return &m.outcome, nil
	}
	if m.groups, err = r.decide(ctx, v, m.side, nil); err != nil {
		return nil, err
	}
	if err := r.checkReaders(ctx); err != nil {
		return nil, err
	}

	// ---- Destructive from here on. ----

	err = m.destroy(ctx)
	if fault.Has(err, fault.RetentionRefused) { // somebody reads since: what went is told, and the rest goes with the next run
		m.interrupt(err)
		return &m.outcome, nil
	}
	if err != nil {
		return nil, err
	}
	return &m.outcome, nil
}

func (m *removal) destroy(ctx context.Context) error {
	if err := m.manifests(ctx); err != nil {
		return err
	}
	// Who opened a backup before its manifest went is seen now; who comes later can't open it.
	if err := m.checkReaders(ctx); err != nil {
		return err
	}
	if err := m.remains(ctx); err != nil {
		return err
	}
	return m.segments(ctx)
}

// interrupt notes all of the plan that was not reached.
func (m *removal) interrupt(err error) {
	for _, key := range m.order {
		if e, planned := m.planned[key]; planned {
			m.keep(e, Interrupted, "the rest of it goes with the next run: "+err.Error())
		}
	}
	for _, cluster := range slices.Sorted(maps.Keys(m.wal)) {
		m.keep(m.wal[cluster], Interrupted, "it goes with the next run: "+err.Error())
	}
}

func (m *removal) take(plan *Plan) {
	for _, e := range plan.Going {
		if e.Store != m.side.name {
			continue
		}
		m.total += e.Bytes
		if e.What == WAL {
			m.wal[e.Component+"/"+strings.Split(e.First, "/")[2]] = e // the cluster's system identifier
			continue
		}
		m.planned[e.First] = e
		m.order = append(m.order, e.First)
	}
	for _, f := range plan.Floor {
		if f.Store == m.side.name {
			m.floors[system.ComponentID(system.KindDatabase, f.Database)+"/"+f.SystemID] = f
		}
	}
}

// manifests removes those of all backups that go.
func (m *removal) manifests(ctx context.Context) error {
	var going []*verdict
	for _, d := range verdicts(m.groups) {
		e, planned := m.planned[d.item.Key]
		switch {
		case !planned && d.reason == "":
			d.keep(NextRun, "it was not in the plan")
		case planned && d.reason != "":
			m.keep(e, d.reason, d.why)
		case planned:
			going = append(going, d)
		}
		if d.item.Marked && d.reason != "" && m.side == m.view.primary { // an earlier run's, before somebody held it
			if err := m.unmark(ctx, d.item.Key); err != nil {
				return err
			}
		}
	}
	going, err := m.mark(ctx, going)
	if err != nil {
		return err
	}
	for _, d := range going {
		if err := m.checkReaders(ctx); err != nil {
			return err
		}
		err := m.side.vault.RemoveManifest(ctx, d.item.Key)
		if fault.Has(err, fault.StorageDenied) {
			d.keep(Denied, "%s refuses to delete it: an Object Lock, or the bucket's policy: %s", m.side.name, cause(err))
			m.keep(m.planned[d.item.Key], d.reason, d.why)
			if err := m.unmark(ctx, d.item.Key); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mark marks all in the primary store, and then looks again for holds: who holds a
// backup does it the other way round, so one of the two sees the other.
func (m *removal) mark(ctx context.Context, going []*verdict) ([]*verdict, error) {
	if len(going) == 0 || m.side != m.view.primary {
		return going, nil
	}
	for _, d := range going {
		if err := m.side.vault.MarkExpired(ctx, d.item.Key, m.cfg.By); err != nil {
			return nil, err
		}
	}
	now, _, err := read(ctx, m.cfg.Ledger)
	if err != nil {
		return nil, err
	}
	var left []*verdict
	for _, d := range going {
		if holds := now.holds[d.item.Key]; len(holds) > 0 {
			d.keep(Held, "%s", why(holds))
			m.keep(m.planned[d.item.Key], d.reason, d.why)
			if err := m.unmark(ctx, d.item.Key); err != nil {
				return nil, err
			}
			continue
		}
		left = append(left, d)
	}
	return left, nil
}

// unmark takes a mark back. Who may not delete it leaves it: it means nothing while
// there is a manifest.
func (m *removal) unmark(ctx context.Context, key string) error {
	if m.side != m.view.primary {
		return nil
	}
	err := m.side.vault.UnmarkExpired(ctx, key)
	if fault.Has(err, fault.StorageDenied) {
		return nil
	}
	return err
}

// remains removes what backups without a manifest leave, but for what others are made of.
func (m *removal) remains(ctx context.Context) error {
	needed, err := m.needed(ctx)
	if err != nil {
		return err
	}
	for _, key := range m.order {
		e, planned := m.planned[key]
		if !planned {
			continue // kept, and told
		}
		if e.What == Remains && m.side == m.view.primary {
			why, err := m.side.vault.Writing(ctx, key, m.cfg.Running)
			if err != nil {
				return err
			}
			if why != "" {
				m.keep(e, BeingWritten, why)
				continue
			}
		}
		_, err := m.side.vault.RemoveRemains(ctx, key, func(object string) bool { return needed[object] }, m.progress)
		switch {
		case fault.Has(err, fault.StorageDenied):
			m.keep(e, Denied, m.side.name+" refuses to delete a part of it, without a manifest already: an Object Lock, or the bucket's policy: "+cause(err))
		case fault.Has(err, fault.BackupConflict):
			m.keep(e, Interrupted, "it has a manifest")
		case err != nil:
			return err
		default:
			m.outcome.Removed = append(m.outcome.Removed, e)
		}
	}
	return nil
}

// needed are the objects that the manifests which are there now name in the folders
// of other backups: a backup that ended meanwhile is among them.
func (m *removal) needed(ctx context.Context) (map[string]bool, error) {
	needed := map[string]bool{}
	inventories := map[*side]*vault.Inventory{}
	for _, s := range m.view.sides() {
		now, err := s.vault.Inventory(ctx, s.backups)
		if err != nil {
			return nil, err
		}
		inventories[s] = now
	}
	for s, now := range inventories {
		for i := range now.Backups {
			item := &now.Backups[i]
			if !item.Complete {
				continue
			}
			if here := inventories[m.view.primary].Find(item.Key); m.side == m.view.primary && s != m.side && here != nil && here.Marked && !here.Complete {
				continue // it has left the primary, and needs nothing there
			}
			for _, object := range item.Shares {
				needed[object] = true
			}
		}
	}
	return needed, nil
}

// removing is how many WAL segments are deleted at once.
const removing = 8

// segments removes WAL, the oldest first.
func (m *removal) segments(ctx context.Context) error {
	judged := map[string]*walVerdict{}
	for _, w := range m.judgeWAL(m.view, m.side, m.groups, nil) {
		judged[system.ComponentID(system.KindDatabase, w.archive.component)+"/"+w.archive.systemID] = w
	}
	for _, cluster := range slices.Sorted(maps.Keys(m.wal)) {
		e, w := m.wal[cluster], judged[cluster]
		if w == nil { // gone, with an attempt before this one
			m.outcome.Removed = append(m.outcome.Removed, e)
			continue
		}
		floor := m.floors[cluster]
		var going []wal.File
		for _, f := range w.going {
			if f.Number < floor.Below {
				going = append(going, f)
			}
		}
		if len(going) == 0 && w.archive.under(floor.Below) > floor.Kept { // else they went with an attempt before this one
			m.keep(e, w.kept[0].Reason, w.kept[0].Why)
			continue
		}
		denied, err := m.removeAll(ctx, going)
		if err != nil {
			return err
		}
		if denied != nil {
			m.keep(e, Denied, m.side.name+" refuses to delete some of it: an Object Lock, or the bucket's policy: "+cause(denied))
			continue
		}
		m.outcome.Removed = append(m.outcome.Removed, e)
	}
	return nil
}

func (m *removal) removeAll(ctx context.Context, files []wal.File) (denied, err error) {
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(removing)
	for _, f := range files {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := m.side.vault.RemoveObject(groupCtx, f.Key)
			if fault.Has(err, fault.StorageDenied) {
				mu.Lock()
				defer mu.Unlock()
				denied = err
				return nil
			}
			if err == nil {
				m.progress(f.Size)
			}
			return err
		})
	}
	err = group.Wait()
	return denied, err
}

func (m *removal) progress(bytes int64) { m.cfg.Progress(m.done.Add(bytes), m.total) }

// keep notes that something planned stays.
func (m *removal) keep(e Entry, reason Reason, why string) {
	delete(m.planned, e.First)
	e.Reason, e.Why = reason, why
	m.outcome.Kept = append(m.outcome.Kept, e)
}

// cause is an error without its operation and subject.
func cause(err error) string {
	found, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err.Error()
	}
	if found.Cause == nil {
		return found.Subject
	}
	return found.Subject + ": " + found.Cause.Error()
}
