package retention

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// Plan is what would go and what would stay, as it was at one moment. It is
// written down before it is carried out, and only what is in it may go.
type Plan struct {
	At    time.Time `json:"at"`
	Since time.Time `json:"since"` // the retention begins here: points since then stay within reach
	Going []Entry   `json:"going"`
	Kept  []Entry   `json:"kept"`
	Floor []Floor   `json:"floor,omitempty"`
	Notes []string  `json:"notes,omitempty"`
}

// Floor is from where on the WAL of a cluster stays in a store.
type Floor struct {
	Store    string `json:"store"`
	Database string `json:"database"`
	SystemID string `json:"system_id"`
	Below    uint64 `json:"below"`          // segments with a lower number may go
	Kept     int    `json:"kept,omitempty"` // of those, files that stay for a reason of their own
}

// Plan decides what would go. It changes nothing.
func (r *Retention) Plan(ctx context.Context) (*Plan, error) {
	p, err := r.Explain(ctx)
	if err != nil {
		return nil, err
	}
	p.Kept = rows(p.Kept)
	return p, nil
}

// Explain is Plan, with an entry for each backup of its own.
func (r *Retention) Explain(ctx context.Context) (*Plan, error) {
	v, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	p := &Plan{At: v.now, Since: v.cutoff, Going: []Entry{}, Kept: []Entry{}, Notes: v.notes}
	gone, goneWAL := map[string]bool{}, map[string]bool{}
	judged := map[*side][]*group{}
	for _, s := range v.sides() {
		if judged[s], err = r.decide(ctx, v, s, gone); err != nil {
			return nil, err
		}
		for _, d := range verdicts(judged[s]) {
			if d.reason == "" && s == v.primary {
				gone[d.item.Key] = true
			}
		}
	}
	for _, s := range v.sides() {
		needed := v.needed(s, judged, gone)
		p.backups(s, judged[s], needed)
		if err := r.planRemains(ctx, p, v, s, needed); err != nil {
			return nil, err
		}
		for _, w := range r.judgeWAL(v, s, judged[s], goneWAL) {
			if e, some := w.entry(s.name, v.cutoff); some {
				p.Going = append(p.Going, e)
				p.Floor = append(p.Floor, w.floorIn(s.name))
			}
			p.Kept = append(p.Kept, w.kept...)
			for _, f := range w.going {
				goneWAL[f.Key] = s == v.primary
			}
		}
		p.note(s)
	}
	return p, nil
}

// needed are the objects that kept backups name in the folders of others, with one
// that does. What leaves the primary needs nothing there, although the replica still has it.
func (v *view) needed(of *side, judged map[*side][]*group, gone map[string]bool) map[string]string {
	needed := map[string]string{}
	for _, s := range v.sides() {
		for _, d := range verdicts(judged[s]) {
			if d.reason == "" || of == v.primary && gone[d.item.Key] {
				continue
			}
			for _, object := range d.item.Shares {
				needed[object] = d.item.Key
			}
		}
	}
	return needed
}

// sides are the stores in the order in which things go.
func (v *view) sides() []*side {
	if v.replica == nil {
		return []*side{v.primary}
	}
	return []*side{v.primary, v.replica}
}

// decide is judge, with what only the store can tell of those that would go.
func (r *Retention) decide(ctx context.Context, v *view, s *side, gone map[string]bool) ([]*group, error) {
	groups := r.judge(v, s, gone)
	left := mostPlanned
	for _, g := range groups {
		for _, d := range g.verdicts {
			if d.reason != "" {
				continue
			}
			if left--; left < 0 {
				d.keep(NextRun, "one run removes at most %d backups", mostPlanned)
				continue
			}
			until, legal, err := s.vault.Locked(ctx, d.item.Key)
			switch {
			case fault.Has(err, fault.ObjectMissing):
				d.keep(Interrupted, "another run removes it now")
			case err != nil:
				return nil, err
			case legal:
				d.keep(Locked, "a legal hold is on its manifest in %s", s.name)
			case until.After(v.now):
				d.keep(Locked, "Object Lock of %s keeps it until %s", s.name, until.UTC().Format(time.RFC3339))
				d.until = until
			}
		}
	}
	return groups, nil
}

func verdicts(groups []*group) []*verdict {
	var all []*verdict
	for _, g := range groups {
		all = append(all, g.verdicts...)
	}
	return all
}

// entry tells a verdict.
func (d *verdict) entry(s *side) Entry {
	return Entry{
		Store: s.name, Component: d.component, What: Backup, First: d.item.Key, Count: 1, Bytes: d.item.Bytes,
		Reason: d.reason, Why: d.why, Until: d.until,
	}
}

// backups notes the verdicts, and what of a removed backup others need.
func (p *Plan) backups(s *side, groups []*group, needed map[string]string) {
	for _, d := range verdicts(groups) {
		e := d.entry(s)
		if d.reason != "" {
			p.Kept = append(p.Kept, e)
			continue
		}
		if kept, some := neededOf(s, d.item, needed); some {
			e.Bytes -= kept.Bytes
			kept.Component = d.component
			p.Kept = append(p.Kept, kept)
		}
		e.Why = "it ended on " + d.item.Ended.Format(time.DateOnly) + ", and a newer one that is proven is as old as the retention"
		p.Going = append(p.Going, e)
	}
}

// neededOf tells the objects of a backup that kept ones name.
func neededOf(s *side, item *vault.Item, needed map[string]string) (Entry, bool) {
	e := Entry{Store: s.name, What: Objects, First: item.Key, Reason: Needed}
	for object, by := range needed {
		if size, there := s.backups.Size(object); there && strings.HasPrefix(object, item.Key+"/") {
			e.Count++
			e.Bytes += size
			if e.Why == "" || by < e.Why {
				e.Why = by
			}
		}
	}
	e.Why = fmt.Sprintf("%s is made of them, too", e.Why)
	return e, e.Count > 0
}

// planRemains looks at what earlier runs left.
func (r *Retention) planRemains(ctx context.Context, p *Plan, v *view, s *side, needed map[string]string) error {
	for i := range s.backups.Backups {
		item := &s.backups.Backups[i]
		if !v.isRemains(s, item) {
			continue
		}
		e := Entry{Store: s.name, Component: system.ComponentID(system.KindOfFolder(item.Folder), item.Component), What: Remains, First: item.Key, Count: item.Objects, Bytes: item.Bytes}
		kept, some := neededOf(s, item, needed)
		if s == v.primary {
			why, err := s.vault.Writing(ctx, item.Key, r.cfg.Running)
			if err != nil {
				return err
			}
			if why != "" {
				e.Reason, e.Why = BeingWritten, why
				p.Kept = append(p.Kept, e)
				continue
			}
		}
		if some {
			kept.Component = e.Component
			p.Kept = append(p.Kept, kept)
			e.Count -= kept.Count
			e.Bytes -= kept.Bytes
		}
		if some && e.Count <= 2 { // the intent and the mark stay as long as anything is needed
			continue
		}
		e.Why = "its manifest was removed before; this is the rest"
		p.Going = append(p.Going, e)
	}
	return nil
}

// isRemains says whether what a store has of a backup is what a removal left. In
// the primary the mark tells; the replica has what the primary has no longer.
func (v *view) isRemains(s *side, item *vault.Item) bool {
	if item.Complete || item.GivenUp {
		return false
	}
	if s == v.primary {
		return item.Marked
	}
	return v.primary.backups.Find(item.Key) == nil && item.Newest.Before(v.cutoff)
}

// mostNamed bounds the foreign names in a note.
const mostNamed = 3

func (p *Plan) note(s *side) {
	if n := len(s.backups.Unknown); n > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d objects in %s are not Lifeboat's and stay: %s", n, s.name, strings.Join(s.backups.Unknown[:min(n, mostNamed)], ", ")))
	}
}
