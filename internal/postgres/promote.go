package postgres

import (
	"context"
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

// Promote makes a standby that has replayed all it should a primary, waits for
// a checkpoint on the new timeline, has its first segment archived, and removes
// the recovery settings that Handover left. A server that is a primary already is only tidied up, so it may
// be called again. It fails with ForeignCluster when the server has another
// system identifier, and with ServerFailed when it does not leave recovery.
func Promote(ctx context.Context, login Login, systemID string) (Promoted, error) {
	server, err := Connect(ctx, login)
	if err != nil {
		return Promoted{}, err
	}
	defer server.Close(ctx)
	if err := server.facts.CheckSystem(systemID, server.String()); err != nil {
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
	for _, setting := range recoverySettings(0, "") {
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

// AwaitReplayed waits until a standby that was started by its own service has
// replayed to lsn again: a restart takes up an older position. It fails with
// WALShort when that does not happen within the time, and never promotes.
func AwaitReplayed(ctx context.Context, login Login, lsn LSN, within time.Duration) (Facts, error) {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	for {
		facts, err := AwaitServer(limited, login, within)
		if err != nil {
			return Facts{}, err
		}
		if !facts.InRecovery || facts.LSN >= lsn {
			return facts, nil
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil { // ends limited too: only the caller's end is told
				return Facts{}, ctx.Err()
			}
			return Facts{}, fault.Newf(fault.WALShort, "start", login.String(), "it replayed to %s, and had been at %s before", facts.LSN, lsn)
		case <-poll.C:
		}
	}
}
