package postgres

import (
	"context"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/fault"
)

// promoteTime bounds pg_promote: there is nothing left to replay.
const promoteTime = 60 // seconds

// Promoted is what a server writes after a promotion.
type Promoted struct {
	Timeline uint32
	LSN      LSN // after the checkpoint that ended the recovery
}

// Restored says which server a recovery put in place. The one it replaced has
// the same system identifier, so more than that is asked of who answers.
type Restored struct {
	SystemID string
	DataDir  string // where it was swapped in
	Timeline uint32 // that it was replayed on; as a primary it writes a later one
}

// check fails with ForeignCluster when another cluster answers, and with
// WrongServer when the same cluster does from another directory, or without
// having been restored: it may serve old data.
func (r Restored) check(f Facts, subject string) error {
	const op = "look for the restored server at"
	if err := f.CheckSystem(r.SystemID, subject); err != nil {
		return err
	}
	if !SameDir(f.DataDir, r.DataDir) {
		return fault.Newf(fault.WrongServer, op, subject, "it runs in %s, what was restored lies in %s", f.DataDir, r.DataDir).
			WithHint("it serves other data: stop it, and have the database's service start the server in %s", r.DataDir)
	}
	if !f.InRecovery && f.Timeline <= r.Timeline {
		return fault.Newf(fault.WrongServer, op, subject, "it is a primary on timeline %d and was never promoted from timeline %d", f.Timeline, r.Timeline).
			WithHint("it is not what was restored: look at what lies in %s, and at what removed standby.signal there", r.DataDir)
	}
	return nil
}

// SameDir says whether two paths lead to one directory.
func SameDir(a, b string) bool {
	resolvedA, errA := filepath.EvalSymlinks(a)
	resolvedB, errB := filepath.EvalSymlinks(b)
	if errA != nil || errB != nil {
		return filepath.Clean(a) == filepath.Clean(b)
	}
	return resolvedA == resolvedB
}

// Promote makes the restored standby, which has replayed all it should, a
// primary, waits for a checkpoint on the new timeline, has its first segment
// archived, and removes the recovery settings that Handover left. One that was
// promoted already is only tidied up, so it may be called again. It fails with
// ForeignCluster or WrongServer, before it changes anything, when another server
// answers, and with ServerFailed when it does not leave recovery or its timeline
// did not rise.
func Promote(ctx context.Context, login Login, restored Restored) (Promoted, error) {
	server, err := Connect(ctx, login)
	if err != nil {
		return Promoted{}, err
	}
	defer server.Close(ctx)
	if err := restored.check(server.facts, server.String()); err != nil {
		return Promoted{}, err
	}
	if server.facts.InRecovery {
		left, err := value[bool](ctx, server, "SELECT pg_promote(true, $1)", promoteTime)
		if err != nil {
			return Promoted{}, err
		}
		if !left {
			return Promoted{}, fault.Newf(fault.ServerFailed, "promote", server.String(), "it did not leave recovery within %d s", promoteTime)
		}
	}
	if err := server.execute(ctx, "CHECKPOINT"); err != nil {
		return Promoted{}, err
	}
	// The first segment of the new timeline holds the end of the old one, too: until
	// it is archived, a second disaster would take back what was just recovered.
	if _, _, err := server.SwitchWAL(ctx); err != nil {
		return Promoted{}, err
	}
	added, err := raised(server.facts.DataDir)
	if err != nil {
		return Promoted{}, err
	}
	if err := server.lowerRaised(ctx, added); err != nil {
		return Promoted{}, err
	}
	for _, setting := range recoverySettings(0, Goal{}, "") {
		if err := server.execute(ctx, "ALTER SYSTEM RESET "+pgx.Identifier{setting[0]}.Sanitize()); err != nil {
			return Promoted{}, err
		}
	}
	if err := server.execute(ctx, "SELECT pg_reload_conf()"); err != nil {
		return Promoted{}, err
	}
	var p Promoted
	if p.Timeline, err = value[uint32](ctx, server, "SELECT timeline_id FROM pg_control_checkpoint()"); err != nil {
		return Promoted{}, err
	}
	if p.Timeline <= restored.Timeline {
		return Promoted{}, fault.Newf(fault.ServerFailed, "promote", server.String(), "it writes timeline %d, and was restored on timeline %d", p.Timeline, restored.Timeline)
	}
	position, err := value[string](ctx, server, "SELECT pg_current_wal_insert_lsn()::text")
	if err != nil {
		return Promoted{}, err
	}
	p.LSN, err = ParseLSN(position)
	return p, err
}

// AwaitServer waits until the server answers: within, after a start. It fails
// with what the last attempt failed with.
func AwaitServer(ctx context.Context, login Login, within time.Duration) (Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	for {
		server, err := Connect(ctx, login)
		if err == nil {
			defer server.Close(ctx)
			return server.Facts(), nil
		}
		if !fault.Has(err, fault.ServerUnavailable) {
			return Facts{}, err
		}
		select {
		case <-ctx.Done():
			return Facts{}, err
		case <-poll.C:
		}
	}
}

// AwaitReplayed waits until the restored standby, started by its own service, has
// replayed to lsn again: a restart takes up an older position. One that has been
// promoted meanwhile is there. It fails as Promote does when another server
// answers, with WALShort when that does not happen within the time, and never promotes.
func AwaitReplayed(ctx context.Context, login Login, restored Restored, lsn LSN, within time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	for {
		facts, err := AwaitServer(limited, login, within)
		if err != nil {
			return err
		}
		if err := restored.check(facts, login.String()); err != nil {
			return err
		}
		if !facts.InRecovery || facts.LSN >= lsn {
			return nil
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil { // ends limited too: only the caller's end is told
				return ctx.Err()
			}
			return fault.Newf(fault.WALShort, "start", login.String(), "it replayed to %s, and had been at %s before", facts.LSN, lsn)
		case <-poll.C:
		}
	}
}
