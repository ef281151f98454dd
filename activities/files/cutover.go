package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/files"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/tree"
)

// CutOver puts the staging directory in the live one's place by rename, and
// keeps the old one. What the old one holds beyond the set's patterns is there
// in the new one, too. A cut-over that an earlier attempt began is finished.
func (a *Activities) CutOver(ctx context.Context, in CutOverInput) (CutOverResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	held, err := target.Lock(ctx, in.Place.Live, in.Place.Run)
	if err != nil {
		return CutOverResult{}, err
	}
	result, err := cutOver(ctx, in)
	if err != nil {
		return result, errors.Join(err, held.Close())
	}
	return result, held.Release()
}

func cutOver(ctx context.Context, in CutOverInput) (CutOverResult, error) {
	result := CutOverResult{Live: in.Place.Live}
	if !missing(in.Place.Staging) { // else an earlier attempt had moved it
		carried, err := files.Carry(ctx, in.Set, in.Place.Live, in.Place.Staging)
		result.Carried, result.Left = carried.Entries, carried.Left
		if err != nil {
			return result, err
		}
	}
	swapped, err := target.Swap(ctx, target.SwapRequest{Current: in.Place.Live, Staged: in.Place.Staging, Run: in.Place.Run})
	if err != nil {
		return result, err
	}
	result.Old = swapped.Old
	return result, removeJournal(in.Place.Journal)
}

// Discard removes what was restored and not cut over. It may be repeated, and a
// run that has begun to cut over is refused with TargetRefused.
func (a *Activities) Discard(ctx context.Context, in DiscardInput) (DiscardResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	if missing(filepath.Dir(in.Place.Live)) {
		return DiscardResult{}, nil
	}
	held, err := target.Lock(ctx, in.Place.Live, in.Place.Run)
	if fault.Has(err, fault.TargetBusy) {
		return discard(ctx, in.Place) // another run's lock: ours never came as far as to write, or has given it up
	}
	if err != nil {
		return DiscardResult{}, err
	}
	result, err := discard(ctx, in.Place)
	if err != nil {
		return result, errors.Join(err, held.Close())
	}
	return result, held.Release()
}

// DiscardRun is Discard for a run that has ended without it.
func (a *Activities) DiscardRun(ctx context.Context, in DiscardRunInput) (DiscardResult, error) {
	return a.Discard(ctx, DiscardInput{Place: placeOf(in.Set, in.RunID), RunID: in.RunID})
}

// discard takes the journal first: a staging directory that is removed by half
// must not be taken for the work of an attempt that can be resumed.
func discard(ctx context.Context, p Place) (DiscardResult, error) {
	result := DiscardResult{Removed: !missing(p.Staging)}
	if err := removeJournal(p.Journal); err != nil {
		return result, err
	}
	err := target.Discard(ctx, p.Live, p.Run)
	if fault.Has(err, fault.PathFailed) { // directories that their modes protect from a worker without root
		if err := tree.Loosen(p.Staging); err != nil {
			return result, err
		}
		err = target.Discard(ctx, p.Live, p.Run)
	}
	return result, err
}

func removeJournal(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.PathFailed, "remove journal", name, err)
	}
	return nil
}
