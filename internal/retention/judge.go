package retention

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/window"
)

// verdict is what becomes of one backup with a manifest.
type verdict struct {
	item      *vault.Item
	component string // "database/frende"
	reason    Reason // "": it goes
	why       string
	until     time.Time
}

func (d *verdict) keep(reason Reason, format string, args ...any) {
	d.reason, d.why = reason, fmt.Sprintf(format, args...)
}

// group is all backups of one component and kind in one store, by their end.
type group struct {
	component system.Component
	kind      string // "base"
	level     int    // the proof that an anchor needs
	verdicts  []*verdict
	refused   Reason // why nothing of it goes; "": something may
	why       string
}

// baseKind is the end of a base backup's name.
const baseKind = "base"

// levelOf is how far a backup must be proven to be an anchor.
func levelOf(kind system.ComponentKind) int {
	if kind == system.KindDatabase || kind == system.KindCache {
		return 3
	}
	return 2
}

// judge decides of every backup with a manifest in one store. gone are the keys
// that leave the primary store before the replica's go.
func (r *Retention) judge(v *view, s *side, gone map[string]bool) []*group {
	var groups []*group
	configured := map[string]system.Component{}
	for _, c := range r.cfg.System.Components() {
		configured[c.Kind.Folder()+"/"+c.Name] = c
	}
	byID := map[string]*group{}
	for i := range s.backups.Backups {
		item := &s.backups.Backups[i]
		if !item.Complete {
			continue
		}
		c, known := configured[item.Folder+"/"+item.Component]
		if !known {
			c = system.Component{ID: item.Folder + "/" + item.Component, Name: item.Component}
		}
		g := byID[c.ID+"."+item.Kind]
		if g == nil {
			g = &group{component: c, kind: item.Kind, level: levelOf(c.Kind)}
			if !known {
				g.refused, g.why = Unconfigured, "lifeboat.yaml names no such component, and nobody said how long its backups are kept"
			}
			byID[c.ID+"."+item.Kind] = g
			groups = append(groups, g)
		}
		g.verdicts = append(g.verdicts, &verdict{item: item, component: c.ID})
	}
	for _, g := range groups {
		slices.SortStableFunc(g.verdicts, func(a, b *verdict) int {
			return cmp.Or(a.item.Ended.Compare(b.item.Ended), cmp.Compare(a.item.Key, b.item.Key))
		})
		r.judgeGroup(v, s, g, gone)
	}
	return groups
}

func (r *Retention) judgeGroup(v *view, s *side, g *group, gone map[string]bool) {
	var anchors []*verdict
	if g.refused == "" {
		anchors = v.anchors(s, g)
		g.refused, g.why = v.refuses(g, anchors)
	}
	other := v.other(s)
	for _, d := range g.verdicts {
		anchor := slices.IndexFunc(anchors, func(a *verdict) bool { return a == d })
		holds := v.known.holds[d.item.Key]
		switch {
		case len(holds) > 0:
			d.keep(Held, "%s", why(holds))
		case d.item.Ended.After(v.cutoff):
			d.keep(Younger, "it ended less than %s ago", r.cfg.System.Backup.Retention)
			d.until = d.item.Ended.Add(r.retain())
		case anchor >= 0:
			d.keep(Anchor, "points since %s need it: it is the newest before that is proven at L%d and whole", v.cutoff.Format(time.DateOnly), g.level)
		case g.refused != "":
			d.keep(g.refused, "%s", g.why)
		case !d.item.Ended.Before(anchors[0].item.Ended):
			d.keep(NewerThanAnchor, "it is newer than the anchor %s", anchors[0].item.Key)
		case s == v.primary && other != nil && !whole(other, d.item.Key):
			d.keep(ReplicaIncomplete, "%s", lacks(other, d.item.Key))
		case s == v.replica && complete(v.primary, d.item.Key) && !gone[d.item.Key]:
			d.keep(InPrimary, "%s still has it", v.primary.name)
		}
	}
	v.keepProven(g)
	r.bound(g)
}

// anchors are the backups that points within the retention need, the oldest first.
// An anchor that is missing is no reason to do with less: then there are none.
func (v *view) anchors(s *side, g *group) []*verdict {
	newest := func(fits func(*verdict) bool) *verdict {
		for _, d := range slices.Backward(g.verdicts) {
			if !d.item.Ended.After(v.cutoff) && v.proven(d.item.Key, g.level) && v.whole(d.item.Key) && fits(d) {
				return d
			}
		}
		return nil
	}
	var found []*verdict
	if g.component.Kind != system.KindDatabase || g.kind != baseKind {
		if one := newest(func(*verdict) bool { return true }); one != nil {
			found = append(found, one)
		}
		return found
	}
	for _, a := range s.archives {
		if a.component != g.component.Name {
			continue
		}
		for _, line := range a.live(v.cutoff) {
			one := newest(func(d *verdict) bool {
				b, ok := base(d.item)
				return ok && b.SystemID == a.systemID && line.Passes(b.Timeline, b.StopLSN) && v.covered(g.component.Name, b)
			})
			if one == nil {
				return nil
			}
			found = append(found, one)
		}
	}
	slices.SortFunc(found, func(a, b *verdict) int { return a.item.Ended.Compare(b.item.Ended) })
	return found
}

// refuses says why nothing of a group may go.
func (v *view) refuses(g *group, anchors []*verdict) (Reason, string) {
	var newest time.Time
	for key, p := range v.known.proofs {
		named, ok := vault.Named(key)
		if !ok || named.Folder != g.component.Kind.Folder() || named.Component != g.component.Name || named.Kind != g.kind {
			continue
		}
		for _, one := range p.found {
			if one.level >= g.level && one.at.After(newest) && !one.at.After(v.now.Add(mostSkew)) {
				newest = one.at
			}
		}
	}
	switch {
	case newest.IsZero():
		return Unproven, fmt.Sprintf("no backup of it was ever proven at L%d: without a proof none may go", g.level)
	case newest.Before(v.now.Add(-freshProof)):
		return ProofStale, fmt.Sprintf("the newest proof at L%d is of %s, longer than %s ago: whether newer backups can be restored is not known", g.level, newest.UTC().Format(time.RFC3339), system.Duration(freshProof))
	case len(anchors) == 0:
		return Unproven, fmt.Sprintf("no backup that ended before %s is proven at L%d and whole in every store, or not on each timeline of these days: points since then may need any", v.cutoff.Format(time.DateOnly), g.level)
	}
	return "", ""
}

// keepProven keeps the newest proven ones until there are two.
func (v *view) keepProven(g *group) {
	left := 0
	for _, d := range g.verdicts {
		if d.reason != "" && v.proven(d.item.Key, g.level) && d.item.Lacks == "" {
			left++
		}
	}
	for _, d := range slices.Backward(g.verdicts) {
		if left < leastProven && d.reason == "" && v.proven(d.item.Key, g.level) && d.item.Lacks == "" {
			d.keep(LastProven, "fewer than %d backups that are proven at L%d would be left", leastProven, g.level)
			left++
		}
	}
}

// bound keeps all when more would go than may. One may always go: of a few, one is
// more than any share.
func (r *Retention) bound(g *group) {
	going := 0
	for _, d := range g.verdicts {
		if d.reason == "" {
			going++
		}
	}
	if going <= 1 || going*100 <= r.cfg.AtMost*len(g.verdicts) {
		return
	}
	g.refused = TooMuch
	g.why = fmt.Sprintf("%d of %d backups would go, more than %d %% at once: see whether that is right, then: lifeboat retention run --at-most %d",
		going, len(g.verdicts), r.cfg.AtMost, (going*100+len(g.verdicts)-1)/len(g.verdicts))
	for _, d := range g.verdicts {
		if d.reason == "" {
			d.keep(TooMuch, "%s", g.why)
		}
	}
}

func (v *view) proven(key string, level int) bool {
	_, ok := v.known.proofs[key].reached(level)
	return ok
}

// whole says whether every store there is holds all of a backup.
func (v *view) whole(key string) bool {
	return whole(v.primary, key) && (v.replica == nil || whole(v.replica, key))
}

// covered says whether every store has the WAL that a base backup needs for itself.
func (v *view) covered(database string, b window.Base) bool {
	return v.primary.archive(database, b.SystemID).covers(b) && (v.replica == nil || v.replica.archive(database, b.SystemID).covers(b))
}

func (v *view) other(s *side) *side {
	if s == v.replica {
		return v.primary
	}
	return v.replica
}

func complete(s *side, key string) bool {
	item := s.backups.Find(key)
	return item != nil && item.Complete
}

func whole(s *side, key string) bool {
	item := s.backups.Find(key)
	return item != nil && item.Complete && item.Lacks == ""
}

// lacks says what of a backup a store does not hold.
func lacks(s *side, key string) string {
	item := s.backups.Find(key)
	if item == nil || !item.Complete {
		return s.name + " does not hold it"
	}
	return s.name + " does not hold it whole: it lacks " + item.Lacks
}
