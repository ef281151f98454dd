package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/wal"
)

// startTime is how long a server may take from its start to the position that
// it had reached before: it repeats what came after its last restart point.
const startTime = 10 * time.Minute

// answerTime is how long Promote waits for a server that was seen to answer: one
// that was started again and can't is promoted within it.
const answerTime = time.Minute

// CutOver puts the staged directories in place of the live ones, which are kept
// beside, lets the new one archive, and starts it through its service: still a
// standby, under production's own settings, at the position that was verified. One
// that can answer nobody as a standby is promoted here.
// From its first rename on the only way is forward; calling it again goes on.
func (a *Activities) CutOver(ctx context.Context, in CutOverInput) (result CutOverResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return CutOverResult{}, err
	}
	archive, err := j.archive(ctx)
	if err != nil {
		return CutOverResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
		defer stop()
		result, err = j.cutOver(ctx, archive, in)
		return err
	})
	return result, err
}

func (j *job) cutOver(ctx context.Context, archive *wal.Archive, in CutOverInput) (CutOverResult, error) {
	if j.sandboxed() {
		return j.cutOverSandbox(ctx, archive, in)
	}
	service, err := j.service()
	if err != nil {
		return CutOverResult{}, err
	}
	if err := j.ready(ctx, archive, in); err != nil {
		return CutOverResult{}, err
	}
	result := CutOverResult{Live: in.Place.Live}
	if result.Replayed, err = in.Place.readCaughtUp(); err != nil {
		return CutOverResult{}, err
	}
	if result.Replayed != nil {
		in.LSN = max(in.LSN, result.Replayed.LSN)
	}
	if err := archiveSalvaged(ctx, archive, in.Place, in.Facts, in.LSN); err != nil {
		return CutOverResult{}, err
	}

	// ---- Below this line production changes. ----
	for _, space := range in.Place.Tablespaces {
		moved, err := target.Swap(ctx, target.SwapRequest{Current: space.Live, Staged: space.Staging, Run: j.ref.RunID})
		if err != nil {
			return CutOverResult{}, err
		}
		result.keep(moved)
	}
	moved, err := target.Swap(ctx, target.SwapRequest{
		Current: in.Place.Live, Staged: in.Place.Staging, Run: j.ref.RunID, Exclusive: true,
	})
	if err != nil {
		return CutOverResult{}, err
	}
	result.keep(moved)
	// Outside of the data directory, client authentication is the new server's too.
	if _, err := postgres.LowerFence(ctx, in.Place.fence()); err != nil {
		return CutOverResult{}, err
	}
	return result, j.open(ctx, service, in)
}

// open starts the service, and sees the restored server answer. A service that
// starts another one, with what was to be replaced, is stopped again.
func (j *job) open(ctx context.Context, service system.Service, in CutOverInput) error {
	started := false
	err := j.answering(ctx, in.Place, j.login, in.LSN, in.Facts.SegmentSize, func() (err error) {
		if started, err = j.deps.Services.Start(ctx, service); err != nil {
			return err
		}
		restored := postgres.Restored{SystemID: in.Facts.SystemID, DataDir: in.Place.Live, Timeline: in.Timeline}
		return postgres.AwaitReplayed(ctx, j.login, restored, in.LSN, startTime)
	})
	if started && fault.Has(err, fault.WrongServer) {
		if _, stopErr := j.deps.Services.Stop(ctx, service); stopErr != nil {
			return errors.Join(err, stopErr)
		}
	}
	return err
}

// answering runs a step that waits for the restored server in place, and promotes
// one that could answer nobody otherwise. lsn is remembered for Promote to check.
func (j *job) answering(ctx context.Context, place Place, login postgres.Login, lsn postgres.LSN, segmentSize int64, step func() error) error {
	owner, err := place.owner()
	if err != nil {
		return err
	}
	if err := writeRun(place, place.goal(), lsn); err != nil {
		return err
	}
	standby := postgres.Standby{
		Login: login, DataDir: place.Live, BinDir: place.BinDir, Owner: owner, LSN: lsn, SegmentSize: segmentSize,
	}
	return standby.WithMutePromoted(ctx, step)
}

// ready readies the restored directory to be swapped in. It returns when the old
// server has stood still all the while: what one wrote that somebody started
// again since SalvageWAL is brought over first.
func (j *job) ready(ctx context.Context, archive *wal.Archive, in CutOverInput) error {
	for handedOver := false; ; handedOver = true {
		if !swapped(in.Place) {
			if _, err := j.stop(ctx, in.Place); err != nil {
				return err
			}
			moved, err := j.moved(ctx, in)
			if err != nil {
				return err
			}
			if handedOver && !moved {
				return nil
			}
			if moved {
				if err := j.catchUp(ctx, archive, in); err != nil {
					return err
				}
			}
		}
		if err := j.handOver(ctx, archive, in); err != nil {
			return err
		}
		// The claim stays with the directory through its rename, so a store that can't
		// be written is found while the old directory is still in its place.
		if err := archive.Claim(ctx, in.Facts.SystemID, in.Place.now()); err != nil {
			return err
		}
		if swapped(in.Place) {
			return nil
		}
	}
}

func (r *CutOverResult) keep(moved target.Swapped) {
	if moved.Old != "" {
		r.Old = append(r.Old, moved.Old)
	}
}

// now is where the restored directory lies at this moment.
func (p Place) now() string {
	if swapped(p) {
		return p.Live
	}
	return p.Staging
}

// swapped says whether an earlier attempt has put the data directory in place.
func swapped(place Place) bool {
	_, err := os.Stat(place.Staging)
	return errors.Is(err, fs.ErrNotExist)
}

// handOver ends the staged server and makes its directory ready for the
// service: recovery pinned to the same end, tablespaces where they will lie, and
// all WAL that it will read in its own pg_wal. So the service's start depends on
// no store, no key and no variable of its environment.
//
// One that stands at its goal is told to stop at that very position again.
func (j *job) handOver(ctx context.Context, archive *wal.Archive, in CutOverInput) error {
	place, facts := in.Place, in.Facts
	if swapped(place) {
		return nil
	}
	if err := postgres.StopInstance(ctx, place.Staging, place.Socket); err != nil {
		return err
	}
	control, err := postgres.ReadControl(ctx, place.BinDir, place.Staging)
	if err != nil {
		return err
	}
	if control.SystemID != facts.SystemID {
		return fault.Newf(fault.ForeignCluster, "cut over", place.Staging, "it holds cluster %s, restored was %s", control.SystemID, facts.SystemID)
	}
	pinned, err := wal.ReadPin(place.pin())
	if err != nil {
		return err
	}
	var goal postgres.Goal
	if j.ref.Goal != nil {
		goal.LSN = in.LSN
		last := postgres.SegmentBefore(pinned.Timeline, in.LSN, facts.SegmentSize)
		if pinned, err = pinned.Upto(pinned.At(last.Number).Name(facts.SegmentSize)); err != nil {
			return err
		}
		pinned.Timeline = in.Timeline
	}
	owner, err := place.owner()
	if err != nil {
		return err
	}
	if err := postgres.LinkTablespaces(place.Staging, owner, place.links(live)); err != nil {
		return err
	}
	if err := carryWAL(ctx, archive, pinned, place.Staging, control.Redo, owner); err != nil {
		return err
	}
	return postgres.Handover(place.Staging, owner, control, pinned.Timeline, goal, "")
}

// carryWAL puts into the staged pg_wal what the server will ask for when it
// starts again: the segments from its last restart point on, most of which it
// has kept, and every timeline history, so that its promotion takes a number
// that no timeline in the archive has.
func carryWAL(ctx context.Context, archive *wal.Archive, pinned wal.Pin, dataDir string, redo postgres.LSN, owner postgres.Account) error {
	names, err := pinned.Names(redo)
	if err != nil {
		return err
	}
	for timeline := uint32(2); timeline <= max(pinned.Timeline, pinned.Newest); timeline++ {
		names = append(names, postgres.HistoryName(timeline))
	}
	for _, name := range names {
		path := filepath.Join(dataDir, "pg_wal", name)
		if _, err := os.Stat(path); err != nil {
			err := archive.Fetch(ctx, pinned, name, path)
			if fault.Has(err, fault.WALEnd) {
				continue // a timeline number that was never used
			}
			if err != nil {
				return err
			}
		}
		// What an attempt that was cut off has fetched may not be the server's yet.
		if err := owner.Own(path); err != nil {
			return err
		}
	}
	return nil
}

// Promote makes the server at the target a primary on a timeline of its own,
// verifies it when Verify could not, removes the recovery settings, and ends the
// run's hold on the target. The old directories stay beside it.
func (a *Activities) Promote(ctx context.Context, in PromoteInput) (PromoteResult, error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return PromoteResult{}, err
	}
	held, err := target.Lock(ctx, in.Place.Live, in.RunID)
	if err != nil {
		return PromoteResult{}, err
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	result, err := j.promote(ctx, in)
	if err != nil {
		return PromoteResult{}, errors.Join(err, held.Close())
	}
	return result, held.Release()
}

func (j *job) promote(ctx context.Context, in PromoteInput) (PromoteResult, error) {
	place := in.Place
	control, err := postgres.ReadControl(ctx, place.BinDir, place.Live)
	if err != nil {
		return PromoteResult{}, err
	}
	login, err := j.inPlace(place)
	if err != nil {
		return PromoteResult{}, err
	}
	var goal postgres.LSN
	known, err := readRun(place.goal(), &goal)
	if err != nil {
		return PromoteResult{}, err
	}
	restored := postgres.Restored{SystemID: control.SystemID, DataDir: place.Live, Timeline: in.Timeline}
	var promoted postgres.Promoted
	promote := func() (err error) {
		promoted, err = postgres.Promote(ctx, login, restored)
		return err
	}
	if !known { // an earlier attempt came to its end
		err := promote()
		return PromoteResult{Timeline: promoted.Timeline, LSN: promoted.LSN}, err
	}
	if err := j.answering(ctx, place, login, goal, control.SegmentSize, func() error {
		if _, err := postgres.AwaitServer(ctx, login, answerTime); err != nil {
			return err
		}
		return promote()
	}); err != nil {
		return PromoteResult{}, err
	}
	if err := postgres.CheckPromotedAt(place.Live, in.Timeline, promoted.Timeline, goal); err != nil {
		return PromoteResult{}, err
	}
	result := PromoteResult{Timeline: promoted.Timeline, LSN: promoted.LSN}
	if result.Verified, err = j.verifyPostponed(ctx, place, login); err != nil {
		return PromoteResult{}, err
	}
	if err := os.RemoveAll(place.Run); err != nil {
		return PromoteResult{}, fault.New(fault.PathFailed, "remove", place.Run, err)
	}
	return result, nil
}

// verifyPostponed is what Verify could not do, or nil.
func (j *job) verifyPostponed(ctx context.Context, place Place, login postgres.Login) (*VerifyResult, error) {
	var postponed bool
	if _, err := readRun(place.postponed(), &postponed); err != nil || !postponed {
		return nil, err
	}
	verified, err := j.verify(ctx, login.WithDatabase(j.database.Database))
	return &verified, err
}
