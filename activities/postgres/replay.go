package postgres

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/wal"
)

// Replay starts the staged server, alone and as a standby, and replays to the
// end of the WAL that the archive holds now, or to the goal, where it stands then.
// The server is left running for the steps that follow; Discard or CutOver ends it. It is never promoted here.
func (a *Activities) Replay(ctx context.Context, in ReplayInput) (ReplayResult, error) {
	return a.replay(ctx, in)
}

// ReplayFinal pins the archive anew, now that the old server can write no more,
// and replays to that end and through what SalvageWAL has saved. A server that
// stands at its goal stays there.
func (a *Activities) ReplayFinal(ctx context.Context, in ReplayInput) (ReplayResult, error) {
	return a.replay(ctx, in)
}

func (a *Activities) replay(ctx context.Context, in ReplayInput) (result ReplayResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return ReplayResult{}, err
	}
	archive, err := j.archive(ctx)
	if err != nil {
		return ReplayResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		result, err = j.replayTo(ctx, archive, in)
		return err
	})
	result.Fallbacks = j.fellBack()
	return result, err
}

func (j *job) replayTo(ctx context.Context, archive *wal.Archive, in ReplayInput) (ReplayResult, error) {
	w, err := j.way(ctx, archive, in.Place, in.Facts)
	if err != nil {
		return ReplayResult{}, err
	}
	pinned := w.Pin
	// What the pin holds of a tablespace's creation can be seen at the server by now.
	if err := in.Place.checkNewTablespaces(); err != nil {
		return ReplayResult{}, err
	}
	goal := in.Facts.StopLSN
	if w.until > 0 {
		if err := w.checkStaged(ctx, in.Place); err != nil {
			return ReplayResult{}, err
		}
		// The server needs that timeline's history to start, and may need its WAL to be consistent.
		if _, err := w.bring(ctx, in.Place, in.Facts); err != nil {
			return ReplayResult{}, err
		}
		if !postgres.Running(in.Place.Live) {
			goal = max(goal, w.until)
		}
	}
	if err := pinned.Write(in.Place.pin()); err != nil {
		return ReplayResult{}, err
	}
	to, err := span(pinned)
	if err != nil {
		return ReplayResult{}, err
	}
	ahead, err := j.keepAhead(ctx, archive, in.Place, pinned)
	if err != nil {
		return ReplayResult{}, err
	}
	defer ahead()
	instance, err := j.instance(ctx, in.Place, in.Facts, pinned)
	if err != nil {
		return ReplayResult{}, err
	}
	defer instance.Close(ctx)

	var at atomic.Uint64
	from := in.Facts.StartLSN
	stop := temporal.Heartbeats(ctx, func() any {
		lsn := postgres.LSN(at.Load())
		return Progress{Done: int64(max(lsn, from) - from), Total: int64(max(to.End, from) - from), LSN: lsn}
	})
	defer stop()
	replayed, err := instance.WaitReplayed(ctx, goal, func(lsn postgres.LSN) { at.Store(uint64(lsn)) })
	if err != nil {
		return ReplayResult{}, j.diagnose(ctx, archive, pinned, instance, err)
	}
	if err := j.onTheWay(in.Place, pinned, replayed.LSN); err != nil {
		return ReplayResult{}, err
	}
	return ReplayResult{
		LSN: replayed.LSN, Timeline: pinned.Timeline, Committed: replayed.Committed, Span: to, Reached: j.ref.Goal != nil, Restarts: instance.Restarts(),
	}, nil
}

// keepAhead has the WAL that the staged server asks for next fetched while it
// replays, until stop. Without that wal-fetch does it, and the replay takes longer: so
// what is wrong with it is told in the log alone.
func (j *job) keepAhead(ctx context.Context, archive *wal.Archive, place Place, pinned wal.Pin) (stop func(), err error) {
	owner, err := place.owner()
	if err != nil {
		return nil, err
	}
	log := activity.GetLogger(ctx)
	keeping, cancel := context.WithCancel(ctx)
	var kept sync.WaitGroup
	kept.Go(func() {
		if err := archive.KeepAhead(keeping, pinned, wal.SpoolOf(place.pin()), owner.OwnFile); err != nil {
			log.Warn("WAL is not fetched ahead", "error", err)
		}
	})
	return func() { cancel(); kept.Wait() }, nil
}

// onTheWay refuses a stop before the timeline that was to lead to the goal begins:
// promoted there, the server would write a history that nobody can follow.
func (j *job) onTheWay(place Place, pinned wal.Pin, at postgres.LSN) error {
	fork := pinned.History[len(pinned.History)-1].Begin
	if j.ref.Goal == nil || at >= fork {
		return nil
	}
	return fault.Newf(fault.PointUnreachable, "replay in", place.Staging, "the %s lies at %s, in the last WAL of the timeline before %d, which the archive holds as the beginning of that one only: from %s on it can be reached",
		j.ref.Goal.Goal, at, pinned.Timeline, fork).
		WithHint("choose a moment before that WAL, or after timeline %d had begun: lifeboat window database %s", pinned.Timeline, j.database.Name)
}

// goal is where the staged server stops.
func (j *job) goal() postgres.Goal {
	if j.ref.Goal == nil {
		return postgres.Goal{}
	}
	return j.ref.Goal.Goal
}

// instance starts the staged server, or finds it running.
func (j *job) instance(ctx context.Context, place Place, facts Facts, pinned wal.Pin) (*postgres.Instance, error) {
	owner, err := place.owner()
	if err != nil {
		return nil, err
	}
	if !postgres.Running(place.Staging) {
		if err := postgres.Stage(postgres.StageConfig{DataDir: place.Staging, Owner: owner, Tablespaces: place.links(staged)}); err != nil {
			return nil, err
		}
		var settings []postgres.SettingsFile
		if _, err := readRun(place.settings(), &settings); err != nil {
			return nil, err
		}
		if err := postgres.PlaceSettings(place.Staging, owner, settings); err != nil {
			return nil, err
		}
	}
	return j.startInstance(ctx, place, facts, pinned)
}

// startInstance is instance for a directory that is staged.
func (j *job) startInstance(ctx context.Context, place Place, facts Facts, pinned wal.Pin) (*postgres.Instance, error) {
	owner, err := place.owner()
	if err != nil {
		return nil, err
	}
	last, err := pinned.Last()
	if err != nil {
		return nil, err
	}
	if err := j.spend(place, facts); err != nil {
		return nil, err
	}
	return postgres.StartInstance(ctx, postgres.InstanceConfig{
		DataDir: place.Staging, BinDir: place.BinDir, Owner: owner, RunDir: place.Run, SocketDir: place.Socket,
		Superuser: facts.Superuser, Login: facts.Login, Version: facts.Version, Timeline: pinned.Timeline, Goal: j.goal(), Preload: facts.Preload,
		RestoreCommand: j.deps.RestoreCommand(j.ref.System, j.database, place.pin()), Environment: j.deps.Environment,
		Last: last, SegmentSize: facts.SegmentSize, Quiet: j.ref.Scratch, Room: func() error { return j.room(place) },
	})
}

// diagnose finds out why a replay stopped: the server knows only that
// restore_command failed. The same file is fetched here, and its fault named.
func (j *job) diagnose(ctx context.Context, archive *wal.Archive, pinned wal.Pin, instance *postgres.Instance, failed error) error {
	asked := instance.Asked()
	if !fault.Has(failed, fault.ServerFailed) || asked == "" || ctx.Err() != nil {
		return failed
	}
	dir, err := os.MkdirTemp(j.deps.TempDir, "lifeboat-wal-")
	if err != nil {
		return failed // what went wrong first says more
	}
	err = archive.Fetch(ctx, pinned, asked, filepath.Join(dir, "segment"))
	if removeErr := os.RemoveAll(dir); removeErr != nil || err == nil || fault.Has(err, fault.WALEnd) {
		return failed
	}
	return err
}
