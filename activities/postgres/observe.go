package postgres

import (
	"context"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/temporal"
)

// archivePatience is how long a reference waits for archive_command.
const archivePatience = 2 * time.Minute

// replicaPatience is how long WAL may take to the second region.
const replicaPatience = 15 * time.Minute

// Observe says what tells the server from one that was restarted, promoted or
// disturbed. A server that can't be reached is no error: the result says so.
func (a *Activities) Observe(ctx context.Context, in ObserveInput) (ObserveResult, error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return ObserveResult{}, err
	}
	server, err := postgres.Connect(ctx, j.login)
	if fault.Has(err, fault.ServerUnavailable) {
		return ObserveResult{}, nil
	}
	if err != nil {
		return ObserveResult{}, err
	}
	defer server.Close(ctx)
	footprint, err := server.Footprint(ctx)
	if err != nil {
		return ObserveResult{}, err
	}
	result := ObserveResult{Reached: true, Footprint: footprint}
	archive, err := j.archive(ctx)
	if err != nil {
		return ObserveResult{}, err
	}
	if result.Incarnation, err = archive.Incarnation(ctx, footprint.SystemID); fault.Retryable(err) {
		err = nil // the store is away: then nobody claims anything in it
	}
	return result, err
}

// AwaitReplica waits until a store has a WAL file.
func (a *Activities) AwaitReplica(ctx context.Context, in AwaitReplicaInput) error {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return err
	}
	archive, err := j.archive(ctx)
	if err != nil {
		return err
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	limited, cancel := context.WithTimeout(ctx, replicaPatience)
	defer cancel()
	return archive.AwaitFile(limited, in.SystemID, in.Segment)
}

// TakeReference fixes a position of production's WAL and reads what every table
// holds there, for a drill to compare with; then it waits until that position is
// in the archive.
func (a *Activities) TakeReference(ctx context.Context, in TakeReferenceInput) (TakeReferenceResult, error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return TakeReferenceResult{}, err
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	server, err := postgres.Connect(ctx, j.login)
	if err != nil {
		return TakeReferenceResult{}, err
	}
	defer server.Close(ctx)
	return j.takeReference(ctx, server, "lifeboat drill "+in.RunID)
}
