package vault

import (
	"context"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/vault/replicate"
)

// Deps are what the activities need of their host.
type Deps struct {
	Vault  func(ctx context.Context, s system.System, onFallback func(vault.Fallback)) (*vault.Vault, error)
	Stores func(ctx context.Context, s system.System, from system.Store) (source, replica store.Store, err error)
	Budget *vault.Budget

	Ledger func(ctx context.Context, s system.System) (*ledger.Ledger, error)

	// Reading names a run that may be reading backups; "" when there is none.
	Reading func(ctx context.Context, s system.System) (run string, err error)

	// Running says whether a run, as a backup's intent names it, still works.
	Running func(ctx context.Context, runID string) (bool, error)
}

// Activities read back, replicate, sweep and apply retention.
type Activities struct{ deps Deps }

// New returns the activities.
func New(deps Deps) *Activities { return &Activities{deps: deps} }

// Verify reads every byte of a backup and authenticates it: proof level L1. The
// bytes come from the primary alone: what the replica holds proves nothing here.
func (a *Activities) Verify(ctx context.Context, in VerifyInput) (VerifyResult, error) {
	opened, err := a.deps.Vault(ctx, in.System, nil)
	if err != nil {
		return VerifyResult{}, err
	}
	backup, err := opened.WithStores(opened.Store(), nil).Open(ctx, in.Key)
	if err != nil {
		return VerifyResult{}, err
	}
	note, stop := heartbeat(ctx)
	defer stop()
	if err := backup.Verify(ctx, note); err != nil {
		return VerifyResult{}, err
	}
	manifest := backup.Manifest()
	result := VerifyResult{Bytes: manifest.Bytes}
	for _, stream := range manifest.Streams {
		result.Objects += int64(len(stream.Extents))
	}
	return result, nil
}

// mostNamed bounds the backups that a result lists.
const mostNamed = 50

// Replicate copies what a store's replica lacks, and says what it still lacks at
// the end. Where the bucket replicates natively it copies nothing and only looks.
func (a *Activities) Replicate(ctx context.Context, in ReplicateInput) (ReplicateResult, error) {
	from, err := sourceOf(in)
	if err != nil {
		return ReplicateResult{}, err
	}
	source, replica, err := a.deps.Stores(ctx, in.System, from)
	if err != nil {
		return ReplicateResult{}, err
	}
	note, stop := heartbeat(ctx)
	defer stop()
	config := replicate.Config{From: source, To: replica, Memory: a.deps.Budget, Parallel: 3, Progress: note}
	result := ReplicateResult{From: source.Name(), To: replica.Name()}
	if from.Replication != system.ReplicationNative {
		copied, err := replicate.Follow(ctx, config, in.Until)
		if err != nil {
			return ReplicateResult{}, err
		}
		result.Objects, result.Bytes, result.Present, result.Lag = copied.Objects, copied.Bytes, copied.Present, system.Duration(copied.Lag)
	}
	state, err := replicate.Look(ctx, config)
	if err != nil {
		return ReplicateResult{}, err
	}
	result.Missing, result.Incomplete = state.Missing, state.Incomplete[:min(mostNamed, len(state.Incomplete))]
	if from.Replication == system.ReplicationNative {
		result.Lag = system.Duration(state.Lag)
	}
	return result, nil
}

func sourceOf(in ReplicateInput) (system.Store, error) {
	var from system.Store
	var err error
	if in.Store == "" {
		from, err = in.System.Primary()
	} else {
		from, err = in.System.StoreNamed(in.Store)
	}
	if err != nil {
		return from, err
	}
	if from.Replica == "" {
		return from, fault.Newf(fault.InputInvalid, "replicate", from.Name, "it names no replica").
			WithHint("set replica in the store's configuration")
	}
	return from, nil
}
