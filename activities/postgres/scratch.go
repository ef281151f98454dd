package postgres

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/vault"
)

// A scratch recovery restores a backup only to look at it. All of it lies in one
// directory of its own beside the data directory, which nobody but the server's
// account enters, under a lock of its own: no recovery waits for it, nothing of it is ever
// put in place, and DiscardScratch removes it whole.

// Names in the scratch directory. What a recovery would replace is never made.
const (
	scratchLive = "live"
	scratchData = "data"
	scratchRun  = "run"
	scratchDump = "dump"
	scratchMode = 0o700
)

// scratchRoot is the directory of this run.
func (j *job) scratchRoot() string {
	return target.Scratch(cmp.Or(j.ref.Dir, j.production().DataDir), j.ref.RunID)
}

// scratchPlace is Place for a recovery that only looks.
func (j *job) scratchPlace(place Place, facts Facts) Place {
	root := j.scratchRoot()
	place.Live, place.Staging, place.Run = filepath.Join(root, scratchLive), filepath.Join(root, scratchData), filepath.Join(root, scratchRun)
	place.Socket, place.Production = socketDir(place.Staging), j.production().DataDir
	place.Tablespaces = nil
	for _, space := range facts.Tablespaces {
		dir := filepath.Join(root, streamOf(TablespacePlace{OID: space.OID}))
		place.Tablespaces = append(place.Tablespaces, TablespacePlace{OID: space.OID, Live: dir + "." + scratchLive, Staging: dir})
	}
	return place
}

// makeScratch makes the directory of this run, for the server's account alone.
func (j *job) makeScratch(owner postgres.Account) error {
	root := j.scratchRoot()
	if err := owner.MakeParents(root); err != nil {
		return err
	}
	return owner.MakeRunDir(root)
}

// ScratchPreflightInput says what is restored to be looked at.
type ScratchPreflightInput struct {
	Ref
	Key   string     `json:"key,omitempty"`  // empty: the newest backup that leads to the point
	To    plan.Point `json:"to,omitzero"`    // zero: the end of the WAL, or of what Proof needs
	Proof string     `json:"proof,omitzero"` // level that is tried, "L2" or "L3": no more WAL is replayed than it needs; "": all to the point
}

// ScratchPreflightResult is the resolved restore, and where the replay ends.
type ScratchPreflightResult struct {
	RestorePreflightResult
	Until    string `json:"until,omitempty"`    // for the Ref of all later steps
	Compared int    `json:"compared,omitempty"` // tables and sequences that the reference has
}

// ScratchPreflight is RestorePreflight for a recovery that only looks. With Proof
// it takes the newest backup even when that was found damaged before, and fails with Unsupported for a
// backup of which no reference was taken when it is L3.
func (a *Activities) ScratchPreflight(ctx context.Context, in ScratchPreflightInput) (ScratchPreflightResult, error) {
	if !in.Scratch {
		return ScratchPreflightResult{}, fault.Newf(fault.InputInvalid, "restore to look at", in.Component, "the run is a recovery")
	}
	j, err := a.resolve(in.Ref)
	if err != nil {
		return ScratchPreflightResult{}, err
	}
	var result ScratchPreflightResult
	if in.Proof != "" {
		if err := j.bound(ctx, &in, &result); err != nil {
			return ScratchPreflightResult{}, err
		}
	}
	result.RestorePreflightResult, err = j.preflight(ctx, in.To, in.Key)
	result.Until = j.ref.Until
	return result, err
}

// bound finds the backup that is proven, and the last segment which that needs.
func (j *job) bound(ctx context.Context, in *ScratchPreflightInput, result *ScratchPreflightResult) error {
	opened, err := j.vault(ctx)
	if err != nil {
		return err
	}
	if in.Key == "" {
		latest, err := opened.Latest(ctx, vault.Filter{Folder: Folder, Component: j.database.Name})
		if err != nil {
			return err
		}
		in.Key = latest.Key
	}
	backup, err := opened.OpenWhole(ctx, in.Key)
	if err != nil {
		return err
	}
	var facts Facts
	if err := backup.Manifest().Fact(FactsName, &facts); err != nil {
		return err
	}
	last := postgres.SegmentBefore(facts.Timeline, facts.StopLSN, facts.SegmentSize)
	j.ref.Until = last.Name(facts.SegmentSize)
	if in.Proof != proofData {
		return nil
	}
	var reference Reference
	err = backup.Kept(ctx, referenceName, &reference)
	if fault.Has(err, fault.ObjectMissing) {
		return fault.Newf(fault.Unsupported, "prove at L3", in.Key, "it was not taken down what its source held, so that nothing can be compared").
			WithHint("verify it with --level 2; backups taken from now on can be proven at L3, unless compare of the database is none")
	}
	if err != nil {
		return err
	}
	j.ref.Until, result.Compared = reference.Segment, len(reference.Tables)
	return nil
}

// DiscardScratchInput names the run whose scratch directory is removed.
type DiscardScratchInput struct{ Ref }

// DiscardScratch ends the server that the run has started and whatever else works
// there, and removes its scratch directory. None is no error.
func (a *Activities) DiscardScratch(ctx context.Context, in DiscardScratchInput) (DiscardResult, error) {
	in.Scratch = true
	j, err := a.resolve(in.Ref)
	if err != nil {
		return DiscardResult{}, err
	}
	root := j.scratchRoot()
	if _, err := os.Lstat(root); errors.Is(err, fs.ErrNotExist) {
		older, err := leaveOlder(in.Ref, Place{Run: filepath.Join(root, scratchRun)})
		return DiscardResult{Older: older}, err
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	// An attempt of an earlier step that still works there is waited for.
	held, err := target.Lock(ctx, filepath.Join(root, scratchLive), in.RunID)
	if err != nil {
		return DiscardResult{}, err
	}
	older, olderErr := leaveOlder(in.Ref, Place{Run: filepath.Join(root, scratchRun)}) // whatever is wrong there: nothing of this run stays
	data := filepath.Join(root, scratchData)
	if err := postgres.StopInstance(ctx, data, socketDir(data)); err != nil {
		return DiscardResult{}, errors.Join(olderErr, err, held.Close())
	}
	if err := held.Release(); err != nil {
		return DiscardResult{}, errors.Join(olderErr, err)
	}
	return DiscardResult{Removed: true, Older: older}, errors.Join(olderErr, target.DiscardScratch(ctx, root))
}
