package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/frende/lifeboat/internal/retention"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
	reach "github.com/frende/lifeboat/internal/window"
)

// fate is what becomes of a backup in one store, by its retention.
type fate struct {
	Store string    `json:"store"`
	Goes  bool      `json:"goes"`
	Why   string    `json:"why"`
	Until time.Time `json:"until,omitzero"` // it is kept for this reason until then, where that is known
}

// judge adds to a listing what retention says of each backup, and what can be
// recovered to from it. Every manifest is opened for that, in both stores.
func (a *app) judge(ctx context.Context, s *system.System, opened *vault.Vault, backups []listed) error {
	records, err := a.assembly(s).Ledger(ctx, *s, reader)
	if err != nil {
		return err
	}
	r, err := retention.New(retention.Config{System: *s, Vault: opened, Ledger: records, Now: a.Now})
	if err != nil {
		return err
	}
	plan, err := r.Explain(ctx)
	if err != nil {
		return err
	}
	byKey := map[string]*listed{}
	for i := range backups {
		byKey[backups[i].Key] = &backups[i]
	}
	for _, entries := range [][]retention.Entry{plan.Going, plan.Kept} {
		for _, e := range entries {
			one := byKey[e.First]
			if one == nil || e.What == retention.WAL {
				continue
			}
			f := fate{Store: e.Store, Goes: e.Reason == "", Why: e.Why, Until: e.Until}
			if e.What == retention.Objects {
				f.Why = fmt.Sprintf("%d objects of it stay: %s", e.Count, e.Why)
			}
			one.Fates = append(one.Fates, f)
		}
	}
	return a.reachable(ctx, s, opened, byKey)
}

// reachable adds the windows of base backups.
func (a *app) reachable(ctx context.Context, s *system.System, opened *vault.Vault, byKey map[string]*listed) error {
	for _, d := range s.Databases {
		wanted := false
		for _, one := range byKey {
			wanted = wanted || one.Complete && one.Kind == "base" && one.Component == system.ComponentID(system.KindDatabase, d.Name)
		}
		if !wanted {
			continue
		}
		archive, err := wal.New(wal.Config{Vault: opened, Cluster: d.Cluster, Now: a.Now})
		if err != nil {
			return err
		}
		w, err := reach.Read(ctx, reach.Config{Vault: opened, Archive: archive, Component: d.Name, Now: a.Now})
		if err != nil {
			return err
		}
		for _, base := range w.Backups {
			one := byKey[base.Key]
			if one == nil {
				continue
			}
			one.Window = "nothing: the WAL that it needs is not there"
			if span, ok := w.From(base.Key); ok {
				one.Window = span.String()
			}
		}
	}
	return nil
}

// below tells what --why found, on lines of their own.
func (l *listed) below() []string {
	lines := []string{}
	if l.Window != "" {
		lines = append(lines, "recovers to "+l.Window)
	}
	for _, f := range l.Fates {
		verb := "kept"
		if f.Goes {
			verb = "GOES"
		}
		line := fmt.Sprintf("%s in %s: %s", verb, f.Store, f.Why)
		if !f.Until.IsZero() {
			line += "; until " + f.Until.UTC().Format(time.DateOnly) + " at least"
		}
		lines = append(lines, line)
	}
	return lines
}
