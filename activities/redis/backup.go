package redis

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/redis"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/vault"
)

// BackupPreflight asks whether a backup can be taken: the server answers, has
// loaded, and keeps its data where a recovery would put it.
func (a *Activities) BackupPreflight(ctx context.Context, in BackupPreflightInput) (BackupPreflightResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	server, err := a.connect(ctx, in.Cache)
	if err != nil {
		return BackupPreflightResult{}, err
	}
	facts, err := server.Facts(ctx)
	if err := errors.Join(err, server.Close()); err != nil {
		return BackupPreflightResult{}, err
	}
	if facts.Loading {
		return BackupPreflightResult{}, fault.Newf(fault.ServerUnavailable, "back up", in.Cache.Name, "the server is still loading its data")
	}
	if err := facts.CheckLinked(in.Cache.Name); err != nil {
		return BackupPreflightResult{}, err
	}
	if err := sameDir(in.Cache, facts.Dir, "the server"); err != nil {
		return BackupPreflightResult{}, err
	}
	return BackupPreflightResult{Facts: factsOf(redis.Capture{Facts: facts})}, nil
}

// Backup has the server save, and stores the RDB. The same RunID again is the
// same backup: when that is finished, it is given back as it is.
func (a *Activities) Backup(ctx context.Context, in BackupInput) (BackupResult, error) {
	opened, err := a.deps.Vault(ctx, in.System, nil)
	if err != nil {
		return BackupResult{}, err
	}
	w, err := opened.Begin(ctx, vault.Intent{
		Folder: Folder, Kind: kind, System: in.System.Name, Component: in.Cache.Name,
		RunID: in.RunID, Attempt: activity.GetInfo(ctx).Attempt, By: in.By, At: in.At, Codec: string(in.System.Backup.Compression),
	})
	if err != nil {
		return BackupResult{}, err
	}
	var done, total atomic.Int64
	stop := temporal.Heartbeats(ctx, func() any { return Progress{Done: done.Load(), Total: total.Load()} })
	defer stop()
	result, err := a.capture(ctx, in, w, func(d, t int64) {
		done.Store(d)
		total.Store(t)
	})
	return result, errors.Join(err, w.Close())
}

func (a *Activities) capture(ctx context.Context, in BackupInput, w *vault.Writer, progress func(done, total int64)) (BackupResult, error) {
	if done := w.Committed(); done != nil {
		return resultOf(done)
	}
	server, err := a.connect(ctx, in.Cache)
	if err != nil {
		return BackupResult{}, err
	}
	stream, err := w.Create(ctx, rdbStream)
	if err != nil {
		return BackupResult{}, errors.Join(err, server.Close())
	}
	captured, err := server.CaptureRDB(ctx, stream, progress)
	if err := errors.Join(err, server.Close()); err != nil {
		return BackupResult{}, err
	}
	if err := stream.Close(); err != nil {
		return BackupResult{}, err
	}
	if err := captured.CheckLinked(in.Cache.Name); err != nil {
		return BackupResult{}, err
	}
	if err := sameDir(in.Cache, captured.Facts.Dir, "the server"); err != nil {
		return BackupResult{}, err
	}
	facts, err := json.Marshal(factsOf(captured))
	if err != nil {
		return BackupResult{}, fault.New(fault.InputInvalid, "describe backup", w.Key(), err)
	}
	manifest, err := w.Commit(ctx, vault.Facts{FactsName: facts})
	if err != nil {
		return BackupResult{}, err
	}
	return resultOf(manifest)
}

func factsOf(c redis.Capture) Facts {
	return Facts{
		Version: c.Version, RunID: c.RunID, Role: c.Role, Layout: c.Layout,
		Keys: c.Keys, Slack: c.Slack, KeysByDB: c.KeysByDB, Expires: c.Expires, Bytes: c.Bytes,
		Dir: c.Dir, File: c.File, Started: c.Started, Forked: c.Forked, Finished: c.Done, Mark: &c.Mark,
	}
}

func resultOf(m *vault.Manifest) (BackupResult, error) {
	result := BackupResult{Key: m.Key, Bytes: m.Bytes, Stored: m.Stored}
	return result, m.Fact(FactsName, &result.Facts)
}
