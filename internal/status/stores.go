package status

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

// stores finds the point of every component in the primary store and in its
// replica, each asked as if the other one were lost.
func (l *looking) stores(ctx context.Context) {
	primary, err := l.system.Primary()
	if err != nil {
		l.away("store", err, "lifeboat config check")
		return
	}
	l.status.Store = primary.Name
	if replica, ok := l.system.ReplicaOf(primary); ok {
		l.status.Replica = replica.Name
	}
	opened := within(ctx, l.Limit, "stores", func(ctx context.Context) (*vault.Vault, error) {
		return l.Vault(ctx, l.system, func(vault.Fallback) {})
	})
	components := l.system.Components()
	var asking sync.WaitGroup
	for i, c := range components {
		asking.Go(func() {
			l.status.Components[i].Bucket = l.ask(ctx, opened, primary.Name, c, func(v *vault.Vault) (alone, origin *vault.Vault) {
				return v.WithStores(v.Store(), nil), nil
			})
		})
		if l.status.Replica == "" {
			continue
		}
		asking.Go(func() {
			found := l.ask(ctx, opened, l.status.Replica, c, func(v *vault.Vault) (alone, origin *vault.Vault) {
				return v.WithStores(v.Replica(), nil), v.WithStores(v.Store(), nil)
			})
			l.status.Components[i].Replica = &found
		})
	}
	asking.Wait()
	l.compare()
}

// ask finds the point of a component in the store that choose leaves of the vault.
func (l *looking) ask(ctx context.Context, opened answer[*vault.Vault], name string, c system.Component, choose func(*vault.Vault) (alone, origin *vault.Vault)) Point {
	found := answer[Point]{err: opened.err}
	if opened.err == nil {
		alone, origin := choose(opened.value)
		found = within(ctx, l.Limit, name, func(ctx context.Context) (Point, error) { return l.point(ctx, alone, origin, c) })
	}
	p := found.value
	p.Fault = fault.KindOf(found.err)
	switch {
	case found.err == nil:
		p.State, p.RPO = Known, l.since(p.At)
	case fault.Has(found.err, fault.BackupUnknown) && p.Backup == "":
		p.State, p.Fault = None, ""
	case unreachable(found.err):
		p.State, p.Why, p.Hint = Unreachable, reason(found.err), fault.HintOf(found.err)
	default:
		p.State, p.Why, p.Hint = Broken, reason(found.err), fault.HintOf(found.err)
	}
	return p
}

// point finds how far one store brings a component back. origin, when not nil, is
// the store that this one is a copy of.
func (l *looking) point(ctx context.Context, alone, origin *vault.Vault, c system.Component) (Point, error) {
	of := vault.Filter{Folder: c.Kind.Folder(), Component: c.Name}
	newest, err := alone.Latest(ctx, of)
	if err != nil {
		return Point{}, err
	}
	p := Point{Backup: newest.Key, Taken: newest.At, At: newest.At}
	backup, err := alone.OpenWhole(ctx, newest.Key)
	if err == nil {
		err = backup.Sound(ctx)
	}
	not := ""
	switch {
	case fault.Has(err, fault.BackupIncomplete):
		not = " is not whole: "
	case fault.Has(err, fault.VerificationFailed):
		not = " is not sound: "
	}
	if not != "" { // a recovery takes the newest before it that is
		var older vault.Opened
		if older, err = alone.OpenLatest(ctx, of); err == nil {
			backup = older.Backup
			p = Point{Backup: backup.Manifest().Key, Taken: older.At, At: older.At, Lacks: path.Base(newest.Key) + not + older.Incomplete[0].Why}
		}
	}
	if err != nil {
		return p, err
	}
	if c.Kind != system.KindDatabase {
		return p, nil
	}
	database, err := l.system.Database(c.Name)
	if err != nil {
		return p, err
	}
	home := ""
	if origin != nil { // a recovery from the replica alone goes as far as a hole
		home = l.status.Replica
	}
	archive, pin, err := pinned(ctx, wal.Config{Vault: alone, Cluster: database.Cluster, Home: home}, backup.Manifest())
	if err != nil {
		return p, err
	}
	if pin.Hole != nil {
		p.Lacks = fmt.Sprintf("WAL ends before %s, with %d later segments", pin.Hole.Missing, pin.Hole.Later)
	}
	known, err := l.committed(ctx, archive, pin, &p)
	if err != nil || known {
		return p, err
	}
	if p.At, err = archive.Stored(ctx, pin); err != nil || origin == nil {
		return p, err
	}
	// A copy knows when it was copied, not when the segment was archived.
	first, err := wal.New(wal.Config{Vault: origin, Cluster: database.Cluster})
	if err != nil {
		return p, err
	}
	brief, cancel := context.WithTimeout(ctx, l.Limit/3)
	defer cancel()
	if at, err := first.Stored(brief, pin); err == nil {
		p.At = at
	}
	return p, nil
}

// committed finds when the newest transaction ended that a recovery from here has.
// It is not known when none ended in the last WAL, or that did not come in time: the
// point is as old then as that WAL came into the store, at least.
func (l *looking) committed(ctx context.Context, archive *wal.Archive, pin wal.Pin, p *Point) (known bool, err error) {
	brief, cancel := context.WithTimeout(ctx, l.Limit/2)
	defer cancel()
	at, err := archive.Last(brief, pin)
	switch {
	case err == nil && !at.IsZero():
		p.At = at
		return true, nil
	case err != nil && (brief.Err() == nil || ctx.Err() != nil):
		return false, err
	}
	p.Least = true
	return false, nil
}

// pinned finds the WAL that a recovery from this backup would replay: every
// segment from the backup on, at least to the backup's end.
func pinned(ctx context.Context, c wal.Config, m *vault.Manifest) (*wal.Archive, wal.Pin, error) {
	var facts struct {
		SystemID    string       `json:"system_id"`
		Timeline    uint32       `json:"timeline"`
		StartLSN    postgres.LSN `json:"start_lsn"`
		StopLSN     postgres.LSN `json:"stop_lsn"`
		SegmentSize int64        `json:"segment_size"`
	}
	if err := m.Fact("postgres", &facts); err != nil {
		return nil, wal.Pin{}, err
	}
	archive, err := wal.New(c)
	if err != nil {
		return nil, wal.Pin{}, err
	}
	pin, err := archive.Pin(ctx, wal.Point{SystemID: facts.SystemID, Timeline: facts.Timeline, LSN: facts.StartLSN, SegmentSize: facts.SegmentSize})
	if err == nil {
		err = pin.Reaches(facts.StopLSN)
	}
	return archive, pin, err
}

// compare chooses each component's newest backup, and holds the replica against
// the primary store.
func (l *looking) compare() {
	for i := range l.status.Components {
		c := &l.status.Components[i]
		p, store := &c.Bucket, l.status.Store
		if p.Backup == "" && c.Replica != nil {
			p, store = c.Replica, l.status.Replica
		}
		if p.Backup != "" {
			c.Backup = &Backup{Key: p.Backup, Store: store, At: p.Taken, Age: l.since(p.Taken)}
		}
		if c.Replica != nil && c.Bucket.Backup != "" && c.Replica.State != Unreachable && c.Replica.Backup != c.Bucket.Backup {
			l.status.Behind = append(l.status.Behind, c.ID)
		}
	}
}

// since is the age of a moment; clocks that differ make none of it negative.
func (l *looking) since(at time.Time) system.Duration {
	return system.Duration(max(0, l.status.At.Sub(at).Round(time.Second)))
}

// reason is an error in one line: what a fault means, and why. That something
// can't be reached is said beside it.
func reason(err error) string {
	text := err.Error()
	if found, ok := errors.AsType[*fault.Error](err); ok {
		text = found.Kind.Definition().Summary
		switch {
		case found.Cause == nil:
		case found.Kind == fault.StorageUnavailable || found.Kind == fault.TemporalUnavailable:
			text = found.Cause.Error()
		default:
			text += ": " + found.Cause.Error()
		}
	}
	line, _, _ := strings.Cut(text, "\n")
	return line
}
