package wal

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
)

// How often Await looks, and how many segments it reads at once.
const (
	awaitFirst = 20 * time.Millisecond // then twice as long each time, up to
	awaitPause = 250 * time.Millisecond
	awaitReads = 2
)

// Await waits until the archive holds all WAL from a base backup's start to its
// stop position, reads every byte of it back and holds it against its header.
// Without it, the backup can't be used. When ctx ends first, it fails with
// WALShort and names the first segment that is missing.
func (a *Archive) Await(ctx context.Context, from Point, stop postgres.LSN) error {
	from, err := from.checked("await WAL")
	if err != nil {
		return err
	}
	last := postgres.SegmentBefore(from.Timeline, stop, from.SegmentSize)
	for segment := from.segment(); segment.Number <= last.Number; segment = segment.Next() {
		if err := a.awaitOne(ctx, a.key(from.SystemID, segment.Name(from.SegmentSize))); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(awaitReads)
	for segment := from.segment(); segment.Number <= last.Number; segment = segment.Next() {
		group.Go(func() error { return a.readBack(ctx, from.SystemID, segment.Name(from.SegmentSize)) })
	}
	return group.Wait()
}

func (a *Archive) awaitOne(ctx context.Context, key string) error {
	for pause := awaitFirst; ; pause = min(2*pause, awaitPause) {
		_, err := a.cfg.Vault.Store().Head(ctx, key)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && !fault.Has(err, fault.ObjectMissing) && !fault.Retryable(err) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fault.New(fault.WALShort, "await WAL", key, errors.Join(context.Cause(ctx), err)).
				WithHint("archive_command does not keep up or fails: look at pg_stat_archiver and at the server's log")
		}
	}
}

func (a *Archive) readBack(ctx context.Context, systemID, name string) error {
	key := a.key(systemID, name)
	body, err := a.cfg.Vault.GetSealed(ctx, key)
	if err != nil {
		return err
	}
	found, err := inspect(name, body)
	if err != nil {
		return fault.New(fault.IntegrityError, "read WAL back", key, err)
	}
	if found.SystemID != systemID {
		return fault.Newf(fault.ForeignCluster, "read WAL back", key, "it is of system %s", found.SystemID)
	}
	return nil
}
