package retention

import (
	"context"
	"slices"
	"time"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
	"github.com/frende/lifeboat/internal/window"
)

// side is one store, seen without the other's help.
type side struct {
	name     string // as configured
	vault    *vault.Vault
	backups  *vault.Inventory
	archives []*archive
}

// archive is one cluster's WAL in one store.
type archive struct {
	component string // the database's name
	systemID  string
	current   bool  // the cluster that the newest base backup is of
	size      int64 // of a segment
	lines     []wal.Line
	files     []wal.File
	keys      map[string]bool // of files
}

// view is all that is there at one moment.
type view struct {
	now      time.Time
	cutoff   time.Time // the retention begins here
	primary  *side
	replica  *side // nil: there is none
	known    known
	segments map[string]int64 // segment size by database and system identifier
	notes    []string
}

// look reads both stores and the ledger, whole.
func (r *Retention) look(ctx context.Context) (*view, error) {
	sides, err := r.sides()
	if err != nil {
		return nil, err
	}
	if err := r.checkClocks(ctx, sides); err != nil {
		return nil, err
	}
	v := &view{now: r.cfg.Now().UTC(), primary: sides[0], segments: map[string]int64{}}
	v.cutoff = v.now.Add(-r.retain())
	if len(sides) > 1 {
		v.replica = sides[1]
	}
	for _, s := range sides {
		if s.backups, err = s.vault.Inventory(ctx, nil); err != nil {
			return nil, err
		}
	}
	if err := checkBases(sides); err != nil {
		return nil, err
	}
	for _, d := range r.cfg.System.Databases {
		if err := v.archives(ctx, sides, d, r.cfg.Now); err != nil {
			return nil, err
		}
	}
	v.known, _, err = read(ctx, r.cfg.Ledger)
	return v, err
}

// sides opens both stores, each alone.
func (r *Retention) sides() ([]*side, error) {
	primary, err := r.cfg.System.Primary()
	if err != nil {
		return nil, err
	}
	sides := []*side{{name: primary.Name, vault: r.cfg.Vault.WithStores(r.cfg.Vault.Store(), nil)}}
	if replica, ok := r.cfg.System.ReplicaOf(primary); ok {
		sides = append(sides, &side{name: replica.Name, vault: r.cfg.Vault.WithStores(r.cfg.Vault.Replica(), nil)})
	}
	return sides, nil
}

// base reads what a base backup says of its cluster; false when it is none.
func base(item *vault.Item) (window.Base, bool) {
	if !isBase(item) {
		return window.Base{}, false
	}
	b, err := window.ReadBase(&item.Root, item.Component)
	return b, err == nil
}

// isBase says whether it is a base backup of any database.
func isBase(item *vault.Item) bool {
	return item.Complete && item.Folder == system.KindDatabase.Folder() && item.Kind == baseKind
}

// checkBases refuses a base backup that does not say what WAL it needs: that WAL
// could not be kept.
func checkBases(sides []*side) error {
	for _, s := range sides {
		for i := range s.backups.Backups {
			if item := &s.backups.Backups[i]; isBase(item) {
				if _, err := window.ReadBase(&item.Root, item.Component); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// bases are a store's base backups of a database.
func (s *side) bases(database string) []window.Base {
	var all []window.Base
	for i := range s.backups.Backups {
		if b, ok := base(&s.backups.Backups[i]); ok && s.backups.Backups[i].Component == database {
			all = append(all, b)
		}
	}
	return all
}

// archives reads the WAL of a database, of every cluster that archived as this one.
func (v *view) archives(ctx context.Context, sides []*side, d system.Database, now func() time.Time) error {
	size, newest := int64(0), window.Base{}
	for _, s := range sides {
		for _, b := range s.bases(d.Name) {
			v.segments[d.Name+"/"+b.SystemID] = b.SegmentSize
			if b.Finished.After(newest.Finished) {
				newest, size = b, b.SegmentSize
			}
		}
	}
	for _, s := range sides {
		opened, err := wal.New(wal.Config{Vault: s.vault, Cluster: d.Cluster, Now: now})
		if err != nil {
			return err
		}
		systems, err := opened.Systems(ctx)
		if err != nil {
			return err
		}
		for _, id := range systems {
			a := &archive{component: d.Name, systemID: id, current: id == newest.SystemID, size: v.segments[d.Name+"/"+id], keys: map[string]bool{}}
			if a.size == 0 {
				a.size = size
			}
			if a.size == 0 {
				v.notes = append(v.notes, "all WAL of database "+d.Name+" in "+s.name+" stays: no base backup says from where on it is needed")
				continue
			}
			if a.lines, err = opened.Tree(ctx, id, a.size); err != nil {
				return err
			}
			if a.files, err = opened.Files(ctx, id, a.size); err != nil {
				return err
			}
			for _, f := range a.files {
				a.keys[f.Key] = true
			}
			s.archives = append(s.archives, a)
		}
	}
	return nil
}

// archive finds the WAL of a cluster; nil: the store has none of it.
func (s *side) archive(database, systemID string) *archive {
	if s == nil {
		return nil
	}
	for _, a := range s.archives {
		if a.component == database && a.systemID == systemID {
			return a
		}
	}
	return nil
}

// live gives the timelines that a point within the retention may lie on.
func (a *archive) live(cutoff time.Time) []wal.Line {
	var live []wal.Line
	for i, line := range a.lines {
		stored := slices.ContainsFunc(line.Ranges, func(r wal.Range) bool { return !r.Stored.Before(cutoff) })
		if stored || a.current && i == len(a.lines)-1 {
			live = append(live, line)
		}
	}
	return live
}

// covers says whether the WAL that a base backup needs for itself is there.
func (a *archive) covers(b window.Base) bool {
	if a == nil {
		return false
	}
	for _, line := range a.lines {
		for _, r := range line.Ranges {
			if line.Timeline == b.Timeline && r.Begin <= b.StartLSN && r.End >= b.StopLSN {
				return true
			}
		}
	}
	return false
}

// has says whether a store has an object of the archive.
func (a *archive) has(key string) bool { return a != nil && a.keys[key] }
