package recovery

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// Cache recovers one Redis server (workflow type RestoreCache).
func Cache(ctx workflow.Context, in ComponentInput) (api.ComponentOutcome, error) {
	c, err := beginComponent(ctx, in)
	if err != nil {
		return api.ComponentOutcome{}, run.Failure(err)
	}
	if err := c.recoverCache(ctx); err != nil {
		return c.outcome, c.finish(ctx, err)
	}
	return c.outcome, nil
}

func (c *component) recoverCache(ctx workflow.Context) error {
	var activities *redis.Activities
	mapped, _, err := c.in.System.ForTarget(c.in.Target.Name)
	if err != nil {
		return err
	}
	cache, err := mapped.Cache(c.in.Component.Name)
	if err != nil {
		return err
	}

	// Step 1. Everything that can be known before a byte moves.
	var found redis.RestorePreflightResult
	if err := c.Do(ctx, c.step("preflight", "check backup, space and place of "+cache.Name, run.Quick), activities.RestorePreflight,
		redis.RestorePreflightInput{System: c.in.System, Cache: cache, Target: c.in.Target, Key: c.in.Backup, Before: c.in.To.Time, RunID: c.in.Run},
		&found, func() string { return c.chosen(found.Key, found.PassedOver, found.Incomplete) }); err != nil {
		return err
	}
	c.outcome.Backup, c.outcome.Asked = found.Key, c.asked()
	c.outcome.Point = api.RecoveryPoint{From: found.Facts.Started, To: found.Facts.Forked}
	c.onFailure("discard", "remove what was restored of "+cache.Name, activities.Discard, redis.DiscardInput{Place: found.Place, RunID: c.in.Run})

	// Step 2. The bytes, beside the living directory.
	var restored redis.RestoreResult
	title := fmt.Sprintf("restore %s from %s (%s)", cache.Name, found.Facts.Started.UTC().Format("2006-01-02 15:04"), system.Bytes(found.Facts.Bytes).Human())
	if err := c.Do(ctx, c.step("restore", title, run.Long), activities.Restore,
		redis.RestoreInput{System: c.in.System, Cache: cache, Key: found.Key, Place: found.Place, Layout: found.Layout},
		&restored, func() string { return moved(restored.Bytes, restored.Resumed, len(restored.Fallbacks)) }); err != nil {
		return err
	}
	c.outcome.Bytes, c.outcome.Resumed = restored.Bytes, restored.Resumed
	c.outcome.Fallbacks = fallbacks(restored.Fallbacks)

	// Step 3. Redis's own tools and an isolated server say that it loads.
	var verified redis.VerifyResult
	if err := c.Do(ctx, c.step("verify", "load the restored "+cache.Name+" in an isolated server", run.Long), activities.Verify,
		redis.VerifyInput{System: c.in.System, Cache: cache, Place: found.Place, Layout: found.Layout, Facts: found.Facts},
		&verified, func() string { return fmt.Sprintf("%d keys, %d expired since", verified.Keys, verified.Expired) }); err != nil {
		return err
	}
	if err := c.reach(ctx, api.GatePrepared, api.GateReady); err != nil {
		return err
	}
	if err := c.reach(ctx, api.GateReady, api.GateDone); err != nil {
		return err
	}

	// ---- Destructive from here on; the only way is forward. ----
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	c.undo = nil

	// Step 4. The server stops, the new directory takes the old one's place, it starts.
	var swapped redis.CutOverResult
	if err := c.Do(ctx, c.step("cut-over", "put the restored "+cache.Name+" in place and start it", run.Decisive), activities.CutOver,
		redis.CutOverInput{System: c.in.System, Cache: cache, Target: c.in.Target, Place: found.Place, Layout: found.Layout, Facts: found.Facts, RunID: c.in.Run},
		&swapped, func() string { return fmt.Sprintf("%d keys served; %s", swapped.Keys, kept(swapped.Old)) }); err != nil {
		return err
	}
	c.keepUndo(swapped.Old)
	c.done(ctx)
	return nil
}
