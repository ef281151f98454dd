package redis

import (
	"context"
	"errors"

	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
)

// UndoCutOver stops the server, puts the directory back that a recovery replaced,
// keeps the one that it had put in place, starts the server and waits until it has
// loaded. One that an earlier attempt began is finished.
func (a *Activities) UndoCutOver(ctx context.Context, in UndoCutOverInput) (UndoCutOverResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	held, err := target.Lock(ctx, in.Cache.DataDir, in.RunID)
	if err != nil {
		return UndoCutOverResult{}, err
	}
	result, err := a.undoCutOver(ctx, in)
	if err != nil {
		return result, errors.Join(err, held.Close())
	}
	return result, held.Release()
}

func (a *Activities) undoCutOver(ctx context.Context, in UndoCutOverInput) (UndoCutOverResult, error) {
	result := UndoCutOverResult{Live: in.Cache.DataDir}
	server, err := serviceOf(in.System, in.Cache)
	if err != nil {
		return result, err
	}
	// A retry must not take down the server that an earlier attempt has started.
	if !missing(target.Aside(in.Cache.DataDir, in.Of)) {
		if err := a.halt(ctx, in.Cache, server); err != nil {
			return result, err
		}
	}
	undone, err := target.Undo(ctx, target.UndoRequest{Current: in.Cache.DataDir, Of: in.Of, Run: in.RunID, Exclusive: true})
	if err != nil {
		return result, err
	}
	result.Kept = undone.Old
	if server == nil {
		return result, nil
	}
	if _, err := a.deps.Services.Start(ctx, *server); err != nil {
		return result, err
	}
	loaded, err := a.loaded(ctx, in.Cache)
	result.Keys = loaded.Now // what it took from its append-only file it does not count
	return result, err
}
