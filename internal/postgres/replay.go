package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/fault"
)

// Replayed is how far a staged server has come.
type Replayed struct {
	LSN       LSN        `json:"lsn"`
	Reached   bool       `json:"reached,omitempty"`   // it stands at its goal
	Committed *time.Time `json:"committed,omitempty"` // of the newest transaction since the server started; nil: none
}

// How often a server is told to look again before it is given up: one that finds
// the end of its WAL before it is consistent, and one that takes no more of what
// is pinned.
const (
	unreadyWakes = 3
	stuckWakes   = 3
)

// roomTime is the time between two looks at the free space.
const roomTime = time.Second

// watch is what is remembered between two looks at a replaying server.
type watch struct {
	poked   time.Time // when the server was last told to look for WAL again
	roomed  time.Time // when room was last asked for
	unready int       // times it looked past the end without being consistent
	stuck   int       // times it waited without having taken what is pinned
	best    LSN
}

// WaitConsistent waits until the server answers queries: it has replayed to the
// end of its base backup. A server that stops on the way is started again, a
// few times. One that can answer nobody (Mute says so) is left stopped. It fails
// with ServerFailed, or with WALShort when the WAL ends first.
func (i *Instance) WaitConsistent(ctx context.Context) error {
	_, err := i.follow(ctx, func(r *Replayed, _ bool) (bool, error) { return r != nil, nil })
	return err
}

// WaitReplayed waits until all WAL that can be had is replayed: what is pinned,
// and what lies in the staged pg_wal beyond it. That the server has asked for a
// segment past the pinned end, and waits, proves it, wherever its last record
// began. It fails with WALShort when target was not reached by then, or when the
// server does not accept a pinned segment, and never promotes. A server that
// restore_command stopped (exit 126) is started again, a few times without
// progress; then it fails with ServerFailed. A mute server is left stopped where
// it has come to, with the time of its last commit not known. progress may be nil.
//
// With a goal, it waits until the server stands there, and fails with WALShort
// when the WAL ends before.
func (i *Instance) WaitReplayed(ctx context.Context, target LSN, progress func(LSN)) (Replayed, error) {
	return i.follow(ctx, func(r *Replayed, ended bool) (bool, error) {
		if r == nil {
			return false, nil
		}
		if progress != nil {
			progress(r.LSN)
		}
		if !ended {
			return false, nil
		}
		if !i.config.Goal.Open() && !r.Reached && (i.config.Goal.LSN == 0 || r.LSN < i.config.Goal.LSN) {
			return false, i.endedBefore(r.LSN)
		}
		if r.LSN < target {
			return false, fault.Newf(fault.WALShort, "replay in", i.String(), "replayed to %s, the recovery point is %s", r.LSN, target).
				WithHint("the server was not promoted; read %s", i.LogFile())
		}
		return true, nil
	})
}

// follow looks at the server until done says so. It is given nil while the
// server does not answer, and whether the server has found the end of its WAL.
func (i *Instance) follow(ctx context.Context, done func(r *Replayed, ended bool) (bool, error)) (Replayed, error) {
	w := &watch{}
	if i.process == nil {
		// Found running: it may have looked for WAL long ago.
		if err := i.wake(w); err != nil {
			return Replayed{}, err
		}
	} else {
		w.poked = i.started
	}
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	for {
		r, ended, err := i.look(ctx, w)
		if err != nil {
			return Replayed{}, err
		}
		if finished, err := done(r, ended); err != nil {
			return Replayed{}, err
		} else if finished {
			return *r, nil
		}
		select {
		case <-ctx.Done():
			return Replayed{}, ctx.Err()
		case <-poll.C:
		}
	}
}

// look observes the server once, and starts it again when it has ended.
func (i *Instance) look(ctx context.Context, w *watch) (*Replayed, bool, error) {
	if err := i.room(ctx, w); err != nil {
		return nil, false, err
	}
	if !i.alive() {
		if err := i.unreachable(); err != nil {
			return nil, false, err
		}
		if err := i.restart(ctx); err != nil {
			return nil, false, err
		}
		w.poked, w.unready = i.started, 0
		return nil, false, nil
	}
	// Asked for first: a wait that is seen afterwards came after the question.
	segment, asked := i.asked(w)
	asked = asked && segment.Number > i.config.Last.Number
	conn, err := i.connected(ctx)
	if err != nil {
		return nil, false, err
	}
	if conn == nil {
		return i.unready(ctx, w, asked)
	}
	r, waiting, err := i.observe(ctx, conn)
	if fault.Has(err, fault.ServerSettings) {
		return nil, false, i.grow(ctx, w, err)
	}
	if err != nil {
		return nil, false, err
	}
	if r == nil {
		return nil, false, nil
	}
	if r.LSN > w.best {
		w.best, w.stuck, i.restarts = r.LSN, 0, 0
	}
	if r.Reached {
		return r, true, nil
	}
	if waiting && !asked {
		return r, false, i.stuck(w, r.LSN)
	}
	return r, asked && waiting, nil
}

// stuck gives a server up that waits, again and again, and has last asked for a
// segment that it was given: a record in it is not valid.
func (i *Instance) stuck(w *watch, at LSN) error {
	segment, asked := i.asked(w)
	if !asked || segment.Number > i.config.Last.Number {
		return nil
	}
	if w.stuck++; w.stuck > stuckWakes {
		size := i.config.SegmentSize
		return fault.Newf(fault.WALShort, "replay in", i.String(), "the server takes no WAL after %s: what the archive holds in %s is not valid, and it goes on to %s",
			at, segment.Name(size), i.config.Last.Name(size)).
			WithHint("it was archived like this, so the source had written it like this; the server was not promoted: read %s, and look for a replica that holds better WAL", i.LogFile())
	}
	return i.wake(w)
}

// room ends the server before it has filled a disk that production may be writing to.
func (i *Instance) room(ctx context.Context, w *watch) error {
	if i.config.Room == nil || time.Since(w.roomed) < roomTime {
		return nil
	}
	w.roomed = time.Now()
	err := i.config.Room()
	if err == nil {
		return nil
	}
	i.disconnect(ctx)
	return errors.Join(err, EndProcesses(ctx, i.config.DataDir))
}

// grow starts a paused server again with the settings that the WAL has raised,
// or gives the reason when that is not why it paused.
func (i *Instance) grow(ctx context.Context, w *watch, paused error) error {
	more, err := i.outgrown(ctx)
	if err != nil {
		return err
	}
	if !more {
		return paused
	}
	if err := i.restart(ctx); err != nil {
		return err
	}
	w.poked, w.unready = i.started, 0
	return nil
}

// unready decides on a server that has looked past the end of its WAL again and
// again, and still does not answer. It is mute, or it is given up: it has not
// reached the end of its base backup.
func (i *Instance) unready(ctx context.Context, w *watch, asked bool) (*Replayed, bool, error) {
	if !asked {
		return nil, false, nil
	}
	if w.unready++; w.unready > unreadyWakes {
		mute, err := i.mute()
		if err != nil {
			return nil, false, err
		}
		if mute && i.config.Goal.LSN == 0 && !i.config.Goal.Open() {
			return nil, false, i.noAnswerThere()
		}
		if mute {
			i.muteAt, err = i.standstill(ctx)
			w.poked, w.unready = i.started, 0
			return i.muteAt, i.muteAt != nil, err
		}
		return nil, false, fault.Newf(fault.WALShort, "replay in", i.String(), "WAL ends before the end of the base backup").
			WithHint("the backup can't be used without that WAL; choose another, and read %s", i.LogFile())
	}
	return nil, false, i.wake(w)
}

// Mute says whether the server has replayed all its WAL and can answer nobody
// before its promotion. It is stopped then.
func (i *Instance) Mute() bool { return i.muteAt != nil }

// wake tells the server to look for WAL now: a signal to reload interrupts the
// wait between two attempts.
func (i *Instance) wake(w *watch) error {
	w.poked = time.Now()
	if err := syscall.Kill(i.pid, syscall.SIGHUP); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fault.New(fault.ServerFailed, "wake", i.String(), err)
	}
	return nil
}

// asked gives the segment that the server has asked for last, if it has asked
// since it was last woken.
func (i *Instance) asked(w *watch) (Segment, bool) {
	info, err := os.Stat(filepath.Join(i.config.RunDir, askedName))
	if err != nil || info.ModTime().Before(w.poked.Add(-clockGrain)) {
		return Segment{}, false
	}
	segment, err := ParseSegment(i.Asked(), i.config.SegmentSize)
	return segment, err == nil
}

// clockGrain is how much older than the clock a file's time may be that was
// just written: the kernel stamps files with the time of its last tick.
const clockGrain = 10 * time.Millisecond

const observeSQL = `
SELECT pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn(), '0/0')::text, pg_last_xact_replay_timestamp(),
       coalesce((SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'), ''),
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() ELSE '' END`

// observe asks the server where it is, and whether it waits for more WAL. It
// gives nil when the connection was lost: the next look finds out why.
func (i *Instance) observe(ctx context.Context, conn *pgx.Conn) (*Replayed, bool, error) {
	var recovering bool
	var position, waits, paused string
	r := &Replayed{}
	err := conn.QueryRow(ctx, observeSQL).Scan(&recovering, &position, &r.Committed, &waits, &paused)
	if err != nil {
		err = queryFault(ctx, "observe", i.String(), err)
		if fault.Has(err, fault.ServerUnavailable) && ctx.Err() == nil {
			i.disconnect(ctx)
			return nil, false, nil
		}
		return nil, false, err
	}
	if !recovering {
		return nil, false, i.promotedItself()
	}
	if paused == "paused" {
		if r.Reached, err = i.stands(); err != nil {
			return nil, false, err
		}
	}
	if paused == "paused" && !r.Reached {
		return nil, false, fault.Newf(fault.ServerSettings, "replay in", i.String(), "recovery is paused, because a setting is lower than at the source").
			WithHint("read %s for the setting; it was raised at the source after the base backup", i.LogFile())
	}
	if r.LSN, err = ParseLSN(position); err != nil {
		return nil, false, err
	}
	if r.Committed != nil {
		utc := r.Committed.UTC()
		r.Committed = &utc
	}
	return r, waits == "RecoveryRetrieveRetryInterval", nil
}

// LastReplay asks the server how far it has come. It fails with
// ServerUnavailable when the server does not answer.
func (i *Instance) LastReplay(ctx context.Context) (Replayed, error) {
	conn, err := i.connected(ctx)
	if err != nil {
		return Replayed{}, err
	}
	if conn != nil {
		r, _, err := i.observe(ctx, conn)
		if err != nil {
			return Replayed{}, err
		}
		if r != nil {
			return *r, nil
		}
	}
	return Replayed{}, fault.Newf(fault.ServerUnavailable, "observe", i.String(), "it does not answer")
}
