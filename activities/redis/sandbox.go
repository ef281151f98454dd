package redis

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/redis"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
)

// cutOverSandbox puts the staged directory in place in the sandbox and serves it
// on the sandbox's own port. No service is touched.
func (a *Activities) cutOverSandbox(ctx context.Context, in CutOverInput) (CutOverResult, error) {
	result := CutOverResult{Live: in.Place.Live}
	if _, err := target.Swap(ctx, target.SwapRequest{
		Current: in.Place.Live, Staged: in.Place.Staging, Run: in.Place.Run, Exclusive: true,
	}); err != nil {
		return result, err
	}
	if err := removeJournal(in.Place); err != nil {
		return result, err
	}
	programs, err := redis.FindPrograms(in.Cache.BinDir)
	if err != nil {
		return result, err
	}
	owner, err := redis.OwnerOf(in.Place.Live)
	if err != nil {
		return result, err
	}
	reach, err := a.reach(in.Cache)
	if err != nil {
		return result, err
	}
	if err := redis.StartSandbox(ctx, redis.SandboxConfig{
		Server: programs.Server, Dir: in.Place.Live, Layout: in.Layout, User: runAs(owner),
		Address: reach.Address, Username: reach.Username, Password: reach.Password,
	}); err != nil {
		return result, err
	}
	loaded, err := a.loaded(ctx, in.Cache)
	if err != nil {
		return result, err
	}
	result.Keys, result.Expired = loaded.Keys, loaded.Expired
	return result, plausible(in.Cache.Name, loaded.Keys+loaded.Expired, in.Facts)
}

// Observe says what tells the server from one that was restarted or changed. A
// server that can't be reached is no error: the result says so.
func (a *Activities) Observe(ctx context.Context, in ObserveInput) (ObserveResult, error) {
	server, err := a.connect(ctx, in.Cache)
	if fault.Has(err, fault.ServerUnavailable) {
		return ObserveResult{}, nil
	}
	if err != nil {
		return ObserveResult{}, err
	}
	footprint, err := server.Footprint(ctx)
	return ObserveResult{Reached: true, Footprint: footprint}, errors.Join(err, server.Close())
}

// EndSandbox ends the server that a drill has left in its sandbox, and any that
// still verifies there. None is no error.
func (a *Activities) EndSandbox(ctx context.Context, in EndSandboxInput) error {
	if in.Target.Kind != system.TargetSandbox || !strings.HasPrefix(in.Cache.DataDir, filepath.Clean(in.Target.Root)+"/") {
		return fault.Newf(fault.InputInvalid, "end sandbox of", in.Cache.Name, "%s does not lie in a sandbox", in.Cache.DataDir)
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	left, err := target.Leftovers(in.Cache.DataDir)
	if err != nil {
		return err
	}
	for _, one := range left {
		if one.Kind == target.LeftoverStaging {
			if err := redis.EndIsolated(ctx, one.Path); err != nil {
				return err
			}
		}
	}
	return redis.EndSandbox(ctx, in.Cache.DataDir)
}
