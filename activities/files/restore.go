package files

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/files"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/tree"
	"github.com/frende/lifeboat/internal/vault"
)

// RestorePreflight finds the backup and decides where it is restored. It
// touches nothing. Errors: those of opening a backup; InputInvalid for a backup
// of another component; TargetRefused, NoSpace.
func (a *Activities) RestorePreflight(ctx context.Context, in RestorePreflightInput) (RestorePreflightResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	if _, err := files.Select(in.Set); err != nil {
		return RestorePreflightResult{}, err
	}
	backup, err := a.choose(ctx, in.System, in.Key, vault.Filter{Folder: in.Folder, Component: in.Set.Name}, in.Before)
	if err != nil {
		return RestorePreflightResult{}, err
	}
	m := backup.Manifest()
	if m.Folder != in.Folder || m.Component != in.Set.Name {
		return RestorePreflightResult{}, fault.Newf(fault.InputInvalid, "restore "+in.Set.Name+" from", m.Key, "it is a backup of %s in %s", m.Component, m.Folder).
			WithHint("list the backups of this component with: lifeboat backups list")
	}
	var facts Facts
	if err := m.Fact(FactsName, &facts); err != nil {
		return RestorePreflightResult{}, err
	}
	place := placeOf(in.Set, in.RunID)
	if err := target.Refuse(target.Place{Dir: place.Live, Need: need(facts)}); err != nil {
		return RestorePreflightResult{}, err
	}
	free, err := target.Space(place.Live)
	return RestorePreflightResult{
		Key: m.Key, Place: place, Facts: facts, Free: int64(free), PassedOver: backup.PassedOver, Incomplete: incomplete(backup.Incomplete),
	}, err
}

// incomplete tells of backups of which something is in no store.
func incomplete(found []vault.Incomplete) (told []report.PassedOver) {
	for _, one := range found {
		told = append(told, report.PassedOver(one))
	}
	return told
}

// placeOf says where a run recovers a set.
func placeOf(set system.FileSet, runID string) Place {
	place := Place{Live: set.Root, Staging: target.Staging(set.Root, runID), Aside: target.Aside(set.Root, runID), Run: runID}
	place.Journal = place.Staging + ".journal"
	return place
}

// need is the space that a restore takes: contents, and a block for each entry.
func need(f Facts) uint64 {
	const block = 4096
	return uint64(max(f.Content, 0)) + uint64(max(f.Entries, 0))*block
}

// Restore writes the backup into the staging directory, and goes on where an
// earlier attempt was stopped. The live directory is not touched.
func (a *Activities) Restore(ctx context.Context, in RestoreInput) (RestoreResult, error) {
	var done, total atomic.Int64
	stop := temporal.Heartbeats(ctx, func() any { return Progress{Done: done.Load(), Total: total.Load()} })
	defer stop()
	if err := makeParent(in.Place.Live); err != nil {
		return RestoreResult{}, err
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
	entries, err := table(ctx, backup)
	if err != nil {
		return RestoreResult{}, err
	}
	stream, err := backup.Manifest().Stream(contentStream)
	if err != nil {
		return RestoreResult{}, err
	}
	x, err := tree.NewExtraction(tree.Config{
		Root: in.Place.Staging, Journal: in.Place.Journal, Entries: entries, Stream: stream.Bytes, Backup: in.Key,
	})
	if err != nil {
		return RestoreResult{}, err
	}
	done.Store(x.Resumed())
	total.Store(x.Stored())
	err = backup.ReadChunks(ctx, contentStream, x.Done, func(_ context.Context, chunk vault.Chunk) error {
		if err := x.Write(chunk.Index, chunk.Offset, chunk.Data); err != nil {
			return err
		}
		done.Add(int64(len(chunk.Data)))
		return nil
	})
	if err == nil {
		err = x.Finish(ctx)
	}
	result := RestoreResult{Files: count(entries), Bytes: x.Stored(), Resumed: x.Resumed(), Dropped: x.Dropped()}
	return result, errors.Join(err, x.Close())
}

func count(entries []tree.Entry) (regular int64) {
	for _, entry := range entries {
		if entry.Kind == tree.File {
			regular++
		}
	}
	return regular
}

// Verify compares the staging directory with the backup's table: every name,
// size, time, mode and content. A difference is VerificationFailed.
func (a *Activities) Verify(ctx context.Context, in VerifyInput) (VerifyResult, error) {
	var done, total atomic.Int64
	stop := temporal.Heartbeats(ctx, func() any { return Progress{Done: done.Load(), Total: total.Load()} })
	defer stop()
	backup, err := a.open(ctx, in.System, in.Key, &fallbacks{})
	if err != nil {
		return VerifyResult{}, err
	}
	entries, err := table(ctx, backup)
	if err != nil {
		return VerifyResult{}, err
	}
	for _, entry := range entries {
		total.Add(entry.Size)
	}
	verified, err := files.Verify(ctx, in.Place.Staging, entries, done.Store)
	return VerifyResult{Entries: verified.Entries, Bytes: verified.Bytes}, err
}
