package redis

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/redis"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
)

// CutOver stops the server, puts the staging directory in place of its data
// directory, starts it, waits until it has loaded and compares the count. A
// cut-over that an earlier attempt began is finished. In a sandbox the server is
// Lifeboat's own.
func (a *Activities) CutOver(ctx context.Context, in CutOverInput) (CutOverResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	held, err := target.Lock(ctx, in.Place.Live, in.Place.Run)
	if err != nil {
		return CutOverResult{}, err
	}
	result, err := a.cutOver(ctx, in)
	if err != nil {
		return result, errors.Join(err, held.Close())
	}
	return result, held.Release()
}

func (a *Activities) cutOver(ctx context.Context, in CutOverInput) (CutOverResult, error) {
	if in.Target.Kind == system.TargetSandbox {
		return a.cutOverSandbox(ctx, in)
	}
	result := CutOverResult{Live: in.Place.Live}
	server, err := serviceOf(in.System, in.Cache)
	if err != nil {
		return result, err
	}
	// Only a swap that has not happened stops the server: a retry must not take
	// down the one that an earlier attempt has started on the new data.
	if !missing(in.Place.Staging) {
		if err := a.halt(ctx, in.Cache, server); err != nil {
			return result, err
		}
		if err := a.rearrange(ctx, in); err != nil {
			return result, err
		}
	}
	swapped, err := target.Swap(ctx, target.SwapRequest{
		Current: in.Place.Live, Staged: in.Place.Staging, Run: in.Place.Run, Exclusive: true,
	})
	if err != nil {
		return result, err
	}
	result.Old = swapped.Old
	if err := removeJournal(in.Place); err != nil || server == nil {
		return result, err
	}
	if _, err := a.deps.Services.Start(ctx, *server); err != nil {
		return result, err
	}
	loaded, err := a.loaded(ctx, in.Cache)
	if err != nil {
		return result, err
	}
	result.Keys, result.Expired = loaded.Keys, loaded.Expired
	return result, plausible(in.Cache.Name, loaded.Keys+loaded.Expired, in.Facts)
}

// serviceOf is the service that starts and stops the server; nil: none is configured.
func serviceOf(s system.System, c system.Cache) (*system.Service, error) {
	if c.Service == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	found, err := s.Service(c.Service)
	return &found, err
}

// halt stops the service and makes sure that nobody serves this address: a
// server started by hand would go on writing to the directory that is moved.
func (a *Activities) halt(ctx context.Context, cache system.Cache, server *system.Service) error {
	if server != nil {
		if _, err := a.deps.Services.Stop(ctx, *server); err != nil {
			return err
		}
	}
	const patience = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	still, err := a.connect(ctx, cache)
	switch {
	case fault.Has(err, fault.ServerUnavailable):
		return nil
	case err == nil:
		if err := still.Close(); err != nil {
			return err
		}
	case !fault.Has(err, fault.ServerRefused):
		return err
	}
	return fault.Newf(fault.TargetRefused, "stop", cache.Name, "a server still answers at %s", cache.Address).
		WithHint("stop the server that was not started by the service %s, and go on", cache.Service)
}

// rearrange follows a configuration that has changed, or come back, since the
// preflight: the configuration is recovered beside the cache.
func (a *Activities) rearrange(ctx context.Context, in CutOverInput) error {
	layout, err := a.layout(ctx, in.Cache, in.Layout)
	if err != nil || layout == in.Layout {
		return err
	}
	return redis.Arrange(in.Place.Staging, in.Layout, layout)
}

// loaded waits for the server that was started, as long as the service may take.
func (a *Activities) loaded(ctx context.Context, c system.Cache) (redis.Loaded, error) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		server, err := a.connect(ctx, c)
		if err == nil {
			loaded, err := detached(ctx, server)
			return loaded, errors.Join(err, server.Close())
		}
		if !fault.Has(err, fault.ServerUnavailable) {
			return redis.Loaded{}, err
		}
		select {
		case <-ctx.Done():
			return redis.Loaded{}, err
		case <-ticker.C:
		}
	}
}

// detached waits until the server has loaded, and sees that it copies no master,
// which would replace what was recovered; what has come from one is counted.
func detached(ctx context.Context, server *redis.Server) (redis.Loaded, error) {
	loaded, err := server.WaitLoaded(ctx)
	if err != nil {
		return loaded, err
	}
	changed, err := server.Detach(ctx)
	if err != nil || !changed {
		return loaded, err
	}
	return server.WaitLoaded(ctx)
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
	return a.Discard(ctx, DiscardInput{Place: placeOf(in.Cache, in.RunID), RunID: in.RunID})
}

// discard takes the journal first: a staging directory that is removed by half
// must not be taken for the work of an attempt that can be resumed.
func discard(ctx context.Context, p Place) (DiscardResult, error) {
	result := DiscardResult{Removed: !missing(p.Staging)}
	if err := redis.EndIsolated(ctx, p.Staging); err != nil {
		return result, err
	}
	if err := removeJournal(p); err != nil {
		return result, err
	}
	return result, target.Discard(ctx, p.Live, p.Run)
}

func removeJournal(p Place) error {
	name := journalOf(p)
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.PathFailed, "remove journal", name, err)
	}
	return nil
}
