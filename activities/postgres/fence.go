package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/wal"
)

// Times of the end of an old server.
const (
	fenceTime     = 30 * time.Second // until it refuses others
	terminateTime = 30 * time.Second // until its sessions have ended
	switchTime    = time.Minute      // until it has archived its last segment; SalvageWAL takes what it has not
)

// Fence keeps everyone but Lifeboat out of the server at the target, and one that
// does not answer from being started or used. Where its directory is gone there is
// nothing to fence, and the result says so. It fails with ForeignCluster before it touches another cluster's server.
func (a *Activities) Fence(ctx context.Context, in FenceInput) (result FenceResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return FenceResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		result, err = j.fence(ctx, in)
		return err
	})
	return result, err
}

func (j *job) fence(ctx context.Context, in FenceInput) (FenceResult, error) {
	found, err := postgres.CheckDirectory(ctx, in.Place.BinDir, in.Place.Live, in.Facts.SystemID)
	switch {
	case err != nil:
		return FenceResult{}, err
	case !found:
		return FenceResult{Live: LiveMissing, Note: "the old server has no data directory: nothing to fence"}, nil
	}
	server, err := j.reach(ctx, in.Place, in.Facts.SystemID)
	if fault.Has(err, fault.ServerUnavailable) {
		if !postgres.Running(in.Place.Live) {
			return j.fenceDead(ctx, in.Place, FenceResult{Live: LiveStopped, Note: "the old server does not run"})
		}
		return j.fenceDead(ctx, in.Place, FenceResult{Live: LiveRunning, Note: "the old server runs and does not answer: it will be stopped"})
	}
	if err != nil {
		return FenceResult{}, err
	}
	defer server.Close(ctx)
	limited, cancel := context.WithTimeout(ctx, fenceTime)
	defer cancel()
	if err := postgres.RaiseFence(limited, server, in.Place.fence()); err != nil {
		return FenceResult{}, err
	}
	return FenceResult{Fenced: true, Live: LiveRunning, Note: fmt.Sprintf("only role %s may log in to %s", j.login.User(), server)}, nil
}

// fenceDead fences a server that can't be asked to. Where that is not possible it
// is told, and stops nothing: CutOver looks again at what the old server wrote.
func (j *job) fenceDead(ctx context.Context, place Place, result FenceResult) (FenceResult, error) {
	owner, err := place.owner()
	if err != nil {
		return result, err
	}
	err = postgres.RaiseDeadFence(ctx, postgres.DeadFence{
		DataDir: place.Live, ConfigDir: j.database.ConfigDir, BinDir: place.BinDir, Owner: owner, Journal: place.fence(),
	})
	switch {
	case ctx.Err() != nil:
		return result, ctx.Err()
	case err != nil:
		result.Note += "; it can't be kept from being started: " + err.Error()
	default:
		result.Fenced = true
		result.Note += "; it is kept from being used"
	}
	return result, nil
}

// TerminateConnections ends the old server's sessions, has it archive its last
// WAL, and stops it through its service. A dead server is only kept stopped.
func (a *Activities) TerminateConnections(ctx context.Context, in TerminateConnectionsInput) (result TerminateConnectionsResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return TerminateConnectionsResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
		defer stop()
		if result, err = j.drain(ctx, in.Place); err != nil {
			return err
		}
		stopped, err := j.stop(ctx, in.Place)
		if stopped {
			result.Note += "; it was stopped"
		}
		return err
	})
	return result, err
}

// drain ends sessions and gets the last WAL archived, where a server answers.
func (j *job) drain(ctx context.Context, place Place) (TerminateConnectionsResult, error) {
	if found, err := postgres.HasCluster(place.Live); err != nil || !found {
		return TerminateConnectionsResult{Note: "there is no old server"}, err
	}
	server, err := j.reach(ctx, place, "")
	if fault.Has(err, fault.ServerUnavailable) {
		return TerminateConnectionsResult{Note: "the old server does not answer"}, nil
	}
	if fault.Has(err, fault.ServerRefused) && postgres.Fenced(place.fence()) {
		return TerminateConnectionsResult{Note: "the old server answers again, behind a fence that lets nobody in"}, nil
	}
	if err != nil {
		return TerminateConnectionsResult{}, err
	}
	defer server.Close(ctx)
	limited, cancel := context.WithTimeout(ctx, terminateTime)
	defer cancel()
	result := TerminateConnectionsResult{}
	if result.Terminated, err = server.Terminate(limited); err != nil {
		return result, err
	}
	if server.Facts().InRecovery {
		result.Note = fmt.Sprintf("%d sessions ended; it was a standby", result.Terminated)
		return result, nil
	}
	if _, err := server.Beat(ctx); err != nil { // so that what is recovered tells that nothing was written until now
		return result, err
	}
	segment, lsn, err := server.SwitchWAL(ctx)
	if err != nil {
		return result, err
	}
	result.LSN, result.Segment = lsn, segment.Name(server.Facts().SegmentSize)
	if result.Archived, err = server.AwaitArchived(ctx, segment, switchTime); err != nil {
		return result, err
	}
	result.Note = fmt.Sprintf("%d sessions ended; WAL to %s archived", result.Terminated, lsn)
	if !result.Archived {
		result.Note = fmt.Sprintf("%d sessions ended; WAL to %s was not archived within %s", result.Terminated, lsn, switchTime)
	}
	return result, nil
}

// stop stops the old server for good. What its service was is remembered for
// Unfence before, so that no attempt that is cut off leaves it down.
func (j *job) stop(ctx context.Context, place Place) (bool, error) {
	old, err := j.service()
	if err != nil {
		return false, err
	}
	owner, err := place.owner()
	if err != nil {
		return false, err
	}
	was, err := j.deps.Services.Status(ctx, old)
	if err != nil {
		return false, err
	}
	if was == service.Running || was == service.Changing || postgres.Running(place.Live) {
		if err := owner.PlaceFile(place.stopped(), nil); err != nil {
			return false, err
		}
	}
	changed, err := j.deps.Services.Stop(ctx, old)
	if err != nil {
		return changed, err
	}
	runs, err := j.runs(ctx, place)
	if err != nil {
		return changed, err
	}
	if runs {
		return changed, fault.Newf(fault.ServiceFailed, "stop", old.Name, "the service is stopped, and a server still runs in %s", place.Live).
			WithHint("another service, or a person, started it: stop it there")
	}
	return changed, nil
}

// runs says whether a server still runs in the live directory, or answers from it.
func (j *job) runs(ctx context.Context, place Place) (bool, error) {
	if postgres.Running(place.Live) {
		return true, nil
	}
	if found, err := postgres.HasCluster(place.Live); err != nil || !found {
		return false, err
	}
	server, err := postgres.Connect(ctx, j.login)
	if err != nil {
		// Whoever else answers there is not asked for more.
		return false, ctx.Err()
	}
	defer server.Close(ctx)
	return postgres.SameDir(server.Facts().DataDir, place.Live), nil
}

// SalvageWAL takes what the archive lacks out of the old data directory: whole
// segments are archived, and everything readable is copied to where the staged
// server finds it, unless the recovery goes to a point before. The old server must
// have stopped; how it did is remembered, so that CutOver sees when it was started once more.
func (a *Activities) SalvageWAL(ctx context.Context, in SalvageWALInput) (result SalvageWALResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return SalvageWALResult{}, err
	}
	archive, err := j.archive(ctx)
	if err != nil {
		return SalvageWALResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
		defer stop()
		ended, found, err := j.ended(ctx, in.Place, in.Facts.SystemID)
		if err != nil {
			return err
		}
		if !found {
			result.Note = "there is no old data directory to salvage from"
			return nil
		}
		if result, err = j.salvage(ctx, archive, in); err != nil {
			return err
		}
		return ended.remember(in.Place)
	})
	return result, err
}

func (j *job) salvage(ctx context.Context, archive *wal.Archive, in SalvageWALInput) (SalvageWALResult, error) {
	if postgres.Running(in.Place.Live) {
		return SalvageWALResult{}, fault.Newf(fault.TargetRefused, "salvage WAL of", in.Place.Live, "its server still runs")
	}
	if err := in.Place.checkNewTablespaces(); err != nil {
		return SalvageWALResult{}, err
	}
	archived, err := archive.Salvage(ctx, in.Place.Live)
	unsaid := ""
	if ctx.Err() != nil {
		return SalvageWALResult{}, ctx.Err()
	}
	if err != nil {
		// The copies below serve this recovery; that the archive lacks them is told.
		unsaid = fmt.Sprintf("; not all could be archived: %s", fault.KindOf(err))
	}
	if j.ref.Goal != nil {
		// Nothing of it belongs into this recovery; the next one may want what came after the point.
		return SalvageWALResult{Note: fmt.Sprintf("%d segments archived%s; none is replayed: the recovery ends before", len(archived), unsaid)}, nil
	}
	w, err := j.way(ctx, archive, in.Place, in.Facts)
	if err != nil {
		return SalvageWALResult{}, err
	}
	saved, err := w.bring(ctx, in.Place, in.Facts)
	if w.until > 0 {
		unsaid += fmt.Sprintf("; it is on timeline %d, which was never archived", w.Timeline)
	}
	return SalvageWALResult{Segments: saved, Note: fmt.Sprintf("%d segments archived, %d copied%s", len(archived), len(saved), unsaid)}, err
}

// Unfence undoes Fence and TerminateConnections: client authentication is put
// back, and the old server started again if it was stopped here.
func (a *Activities) Unfence(ctx context.Context, in UnfenceInput) (result UnfenceResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return UnfenceResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
		defer stop()
		result, err = j.unfence(ctx, in.Place)
		return err
	})
	return result, err
}

func (j *job) unfence(ctx context.Context, place Place) (UnfenceResult, error) {
	var result UnfenceResult
	var err error
	if result.Restored, err = postgres.LowerFence(ctx, place.fence()); err != nil {
		return result, err
	}
	_, err = os.Stat(place.stopped())
	if errors.Is(err, os.ErrNotExist) {
		result.Note = "the old server had not been stopped"
		return result, nil
	}
	if err != nil {
		return result, fault.New(fault.PathFailed, "look at", place.stopped(), err)
	}
	old, err := j.service()
	if err != nil {
		return result, err
	}
	if result.Started, err = j.deps.Services.Start(ctx, old); err != nil {
		return result, err
	}
	if err := os.Remove(place.stopped()); err != nil {
		return result, fault.New(fault.PathFailed, "remove", place.stopped(), err)
	}
	result.Note = "the old server runs again"
	return result, nil
}

// Discard ends the staged server and removes all that the run has put beside
// the live directories. It refuses with TargetRefused once the cut-over began.
func (a *Activities) Discard(ctx context.Context, in DiscardInput) (result DiscardResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return DiscardResult{}, err
	}
	if _, err := os.Stat(filepath.Dir(in.Place.Live)); errors.Is(err, os.ErrNotExist) {
		return DiscardResult{}, nil
	}
	held, err := target.Lock(ctx, in.Place.Live, in.RunID)
	if err != nil {
		return DiscardResult{}, err
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	if result.Removed, err = j.discard(ctx, in.Place); err != nil {
		return result, errors.Join(err, held.Close())
	}
	return result, held.Release()
}

func (j *job) discard(ctx context.Context, place Place) (bool, error) {
	_, stopped := os.Stat(place.stopped())
	if postgres.Fenced(place.fence()) || stopped == nil {
		if _, err := j.unfence(ctx, place); err != nil {
			return false, err
		}
	}
	if err := postgres.StopInstance(ctx, place.Staging, place.Socket); err != nil {
		return false, err
	}
	_, err := os.Stat(place.Staging)
	there := err == nil
	dirs := []string{place.Live}
	for _, space := range place.Tablespaces {
		dirs = append(dirs, space.Live)
	}
	for _, dir := range dirs {
		if err := target.Discard(ctx, dir, j.ref.RunID); err != nil {
			return false, err
		}
	}
	if err := os.RemoveAll(place.Run); err != nil {
		return there, fault.New(fault.PathFailed, "remove", place.Run, err)
	}
	return there, nil
}
