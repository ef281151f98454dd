package redis

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/redis"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/tree"
	"github.com/frende/lifeboat/internal/vault"
)

// RestorePreflight finds the backup, how the server to come reads its data, and
// where it is restored. It touches nothing. Errors: those of opening a backup;
// InputInvalid for a backup of another component; VersionMismatch when the
// installed server is older than the one backed up; ConfigInvalid when Redis's
// programs, or those that start and stop its service, are missing; TargetRefused, NoSpace.
func (a *Activities) RestorePreflight(ctx context.Context, in RestorePreflightInput) (RestorePreflightResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	if in.Cache.Service != "" {
		server, err := in.System.Service(in.Cache.Service)
		if err != nil {
			return RestorePreflightResult{}, err
		}
		if err := a.deps.Services.Check(server); err != nil {
			return RestorePreflightResult{}, err
		}
	}
	backup, err := a.choose(ctx, in.System, in.Cache, in.Key, in.Before)
	if err != nil {
		return RestorePreflightResult{}, err
	}
	m := backup.Manifest()
	if m.Folder != Folder || m.Component != in.Cache.Name {
		return RestorePreflightResult{}, fault.Newf(fault.InputInvalid, "restore "+in.Cache.Name+" from", m.Key, "it is a backup of %s in %s", m.Component, m.Folder).
			WithHint("list the backups of this component with: lifeboat backups list")
	}
	var facts Facts
	if err := m.Fact(FactsName, &facts); err != nil {
		return RestorePreflightResult{}, err
	}
	if err := installed(ctx, in.Cache, facts); err != nil {
		return RestorePreflightResult{}, err
	}
	layout, err := a.layout(ctx, in.Cache, facts.Layout)
	if err != nil {
		return RestorePreflightResult{}, err
	}
	live := in.Cache.DataDir
	if err := target.Refuse(target.Place{Dir: live, Need: uint64(max(facts.Bytes, 0))}); err != nil {
		return RestorePreflightResult{}, err
	}
	free, err := target.Space(live)
	return RestorePreflightResult{
		Key: m.Key, Facts: facts, Layout: layout, Free: int64(free), PassedOver: backup.PassedOver, Incomplete: incomplete(backup.Incomplete),
		Place: placeOf(in.Cache, in.RunID),
	}, err
}

// incomplete tells of backups of which something is in no store.
func incomplete(found []vault.Incomplete) (told []report.PassedOver) {
	for _, one := range found {
		told = append(told, report.PassedOver(one))
	}
	return told
}

// placeOf says where a run recovers a cache.
func placeOf(c system.Cache, runID string) Place {
	return Place{Live: c.DataDir, Staging: target.Staging(c.DataDir, runID), Aside: target.Aside(c.DataDir, runID), Run: runID}
}

// installed checks that this host has a Redis that can read the backup.
func installed(ctx context.Context, c system.Cache, facts Facts) error {
	programs, err := redis.FindPrograms(c.BinDir)
	if err != nil {
		return err
	}
	version, err := programs.Version(ctx)
	if err != nil {
		return err
	}
	if redis.Older(version, facts.Version) {
		return fault.Newf(fault.VersionMismatch, "restore", c.Name, "the backup is of Redis %s, installed is %s", facts.Version, version)
	}
	return nil
}

// Restore writes the RDB into the staging directory, where the server's layout
// wants it, and goes on where an earlier attempt was stopped.
func (a *Activities) Restore(ctx context.Context, in RestoreInput) (RestoreResult, error) {
	var done, total atomic.Int64
	stop := temporal.Heartbeats(ctx, func() any { return Progress{Done: done.Load(), Total: total.Load()} })
	defer stop()
	parent := filepath.Dir(in.Place.Live)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return RestoreResult{}, fault.New(fault.PathFailed, "create directory", parent, err)
	}
	held, err := target.Lock(ctx, in.Place.Live, in.Place.Run)
	if err != nil {
		return RestoreResult{}, err
	}
	var used fallbacks
	result, err := a.restore(ctx, in, &used, &done, &total)
	result.Fallbacks = used.list()
	return result, errors.Join(err, held.Close())
}

func (a *Activities) restore(ctx context.Context, in RestoreInput, used *fallbacks, done, total *atomic.Int64) (RestoreResult, error) {
	backup, err := a.open(ctx, in.System, in.Key, used)
	if err != nil {
		return RestoreResult{}, err
	}
	m := backup.Manifest()
	var facts Facts
	if err := m.Fact(FactsName, &facts); err != nil {
		return RestoreResult{}, err
	}
	stream, err := m.Stream(rdbStream)
	if err != nil {
		return RestoreResult{}, err
	}
	plain := in.Layout
	plain.AppendOnly = false // an RDB first; Arrange moves it
	x, err := tree.NewExtraction(tree.Config{
		Root: in.Place.Staging, Journal: journalOf(in.Place), Backup: in.Key, Stream: stream.Bytes,
		Entries: rdbTree(plain, facts, stream.Bytes, in.Place.Live),
	})
	if err != nil {
		return RestoreResult{}, err
	}
	done.Store(x.Resumed())
	total.Store(x.Stored())
	err = backup.ReadChunks(ctx, rdbStream, x.Done, func(_ context.Context, chunk vault.Chunk) error {
		if err := x.Write(chunk.Index, chunk.Offset, chunk.Data); err != nil {
			return err
		}
		done.Add(int64(len(chunk.Data)))
		return nil
	})
	if err == nil {
		err = x.Finish(ctx)
	}
	if err == nil {
		err = redis.Arrange(in.Place.Staging, plain, in.Layout)
	}
	return RestoreResult{Bytes: x.Stored(), Resumed: x.Resumed()}, errors.Join(err, x.Close())
}

// rdbTree is a data directory with nothing but the RDB. It belongs to whoever
// owns the live one; when the disaster took that, to the account that owned the
// one that was backed up.
func rdbTree(layout redis.Layout, facts Facts, size int64, live string) []tree.Entry {
	dir, file := facts.Dir, facts.File
	if now, err := redis.OwnerOf(live); err == nil {
		dir = now
		file.User, file.Group, file.UID, file.GID = now.User, now.Group, now.UID, now.GID
	}
	entry := func(path string, kind tree.Kind, o redis.Owner) tree.Entry {
		return tree.Entry{
			Path: path, Kind: kind, Mode: o.Mode, UID: o.UID, GID: o.GID, Owner: o.User, Group: o.Group, ModTime: facts.Finished,
		}
	}
	rdb := entry(layout.RDB(), tree.File, file)
	rdb.Size = size
	return []tree.Entry{entry(".", tree.Dir, dir), rdb}
}

func journalOf(p Place) string { return p.Staging + ".journal" }

// Verify has Redis's own tools read the staging directory, and loads it in an
// isolated server. The counts must agree: keys that the file holds, that the
// server loaded or found expired, and that the source had. A difference is
// VerificationFailed.
func (a *Activities) Verify(ctx context.Context, in VerifyInput) (VerifyResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	programs, err := redis.FindPrograms(in.Cache.BinDir)
	if err != nil {
		return VerifyResult{}, err
	}
	held, err := target.Lock(ctx, in.Place.Live, in.Place.Run)
	if err != nil {
		return VerifyResult{}, err
	}
	result, err := verify(ctx, programs, in)
	return result, errors.Join(err, held.Close())
}

func verify(ctx context.Context, programs redis.Programs, in VerifyInput) (VerifyResult, error) {
	keys, err := programs.Check(ctx, in.Place.Staging, in.Layout)
	if err != nil {
		return VerifyResult{}, err
	}
	if err := plausible(in.Cache.Name, keys, in.Facts); err != nil {
		return VerifyResult{}, err
	}
	owner, err := redis.OwnerOf(in.Place.Staging)
	if err != nil {
		return VerifyResult{}, err
	}
	isolated, err := redis.StartIsolated(ctx, redis.IsolatedConfig{Server: programs.Server, Dir: in.Place.Staging, Layout: in.Layout, User: runAs(owner)})
	if err != nil {
		return VerifyResult{}, err
	}
	loaded, err := isolated.Loaded(ctx)
	if err := errors.Join(err, isolated.Stop()); err != nil {
		return VerifyResult{}, err
	}
	if loaded.Keys+loaded.Expired != keys {
		return VerifyResult{}, fault.Newf(fault.VerificationFailed, "load", in.Cache.Name, "of %d keys, %d were loaded and %d had run out", keys, loaded.Keys, loaded.Expired)
	}
	return VerifyResult{Version: loaded.Version, Keys: loaded.Keys, Expired: loaded.Expired}, nil
}

// runAs is the account of a server that reads the owner's files; "" is the
// worker's own, which is all that a worker without root has.
func runAs(owner redis.Owner) string {
	if os.Geteuid() != 0 {
		return ""
	}
	return owner.User
}

// plausible compares a count of keys with what was counted at the source.
func plausible(name string, keys int64, facts Facts) error {
	if keys < facts.Keys-facts.Slack || keys > facts.Keys+facts.Slack {
		return fault.Newf(fault.VerificationFailed, "count keys of", name, "%d instead of %d (± %d)", keys, facts.Keys, facts.Slack)
	}
	return nil
}
