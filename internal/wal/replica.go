package wal

import (
	"context"
	"errors"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/wal/local"
)

// AwaitFile waits until the archive's first store holds a WAL file. When ctx ends
// first, it fails with WALShort and names the file.
func (a *Archive) AwaitFile(ctx context.Context, systemID, name string) error {
	if err := local.CheckSystemID("await WAL", systemID); err != nil {
		return err
	}
	key := a.key(systemID, name)
	tick := time.NewTicker(awaitPause)
	defer tick.Stop()
	for {
		_, err := a.cfg.Vault.Store().Head(ctx, key)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && !fault.Has(err, fault.ObjectMissing) && !fault.Retryable(err) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fault.New(fault.WALShort, "await WAL", a.cfg.Vault.Store().Name()+" "+key, errors.Join(context.Cause(ctx), err)).
				WithHint("what brings WAL to this store does not keep up: see ReplicateStore, or the bucket's own replication")
		}
	}
}

// Incarnation is the number of the directory that archives here now; 0: none has yet.
func (a *Archive) Incarnation(ctx context.Context, systemID string) (int, error) {
	newest, err := a.newestIncarnation(ctx, systemID)
	return newest.Number, err
}
