package vault

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/retention"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// PlanRetention decides what has outlived its retention, and says why everything
// else is kept. It changes nothing.
func (a *Activities) PlanRetention(ctx context.Context, in PlanRetentionInput) (PlanRetentionResult, error) {
	_, stop := heartbeat(ctx)
	defer stop()
	r, err := a.retention(ctx, in.System, in.AtMost, in.By, nil)
	if err != nil {
		return PlanRetentionResult{}, err
	}
	plan, err := r.Plan(ctx)
	if err != nil {
		return PlanRetentionResult{}, err
	}
	result := PlanRetentionResult{Since: plan.Since, Going: told(plan.Going), Kept: told(plan.Kept), Notes: plan.Notes}
	for _, f := range plan.Floor {
		result.Floor = append(result.Floor, RetentionFloor(f))
	}
	return result, nil
}

// Readers names a run that may be reading what would go.
func (a *Activities) Readers(ctx context.Context, in ReadersInput) (ReadersResult, error) {
	run, err := a.deps.Reading(ctx, in.System)
	return ReadersResult{Run: run}, err
}

// CarryOutRetention removes from one store what the plan says, as far as it would be
// decided so again now. It may be cut off anywhere and repeated.
func (a *Activities) CarryOutRetention(ctx context.Context, in CarryOutInput) (CarryOutResult, error) {
	note, stop := heartbeat(ctx)
	defer stop()
	r, err := a.retention(ctx, in.System, in.AtMost, in.By, note)
	if err != nil {
		return CarryOutResult{}, err
	}
	plan := &retention.Plan{Going: planned(in.Going)}
	for _, f := range in.Floor {
		plan.Floor = append(plan.Floor, retention.Floor(f))
	}
	done, err := r.CarryOut(ctx, plan, in.Store)
	if err != nil {
		return CarryOutResult{}, err
	}
	return CarryOutResult{Removed: told(done.Removed), Kept: told(done.Kept)}, nil
}

func (a *Activities) retention(ctx context.Context, s system.System, atMost int, by string, progress func(done, total int64)) (*retention.Retention, error) {
	if skew := time.Since(activity.GetInfo(ctx).StartedTime); skew.Abs() > mostSkew {
		return nil, fault.Newf(fault.RetentionRefused, "apply retention of", s.Name, "the clock of this host differs by %s from Temporal's", system.Duration(skew.Abs().Round(time.Second))).
			WithHint("set the clock of the worker's host right")
	}
	opened, err := a.deps.Vault(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	records, err := a.deps.Ledger(ctx, s)
	if err != nil {
		return nil, err
	}
	return retention.New(retention.Config{
		System: s, Vault: opened, Ledger: records, By: by, AtMost: atMost, Running: a.deps.Running, Progress: progress,
		Reading: func(ctx context.Context) (string, error) { return a.deps.Reading(ctx, s) },
	})
}

// told are entries as results have them.
func told(entries []retention.Entry) []api.Retained {
	all := []api.Retained{}
	for _, e := range entries {
		all = append(all, api.Retained{
			Store: e.Store, Component: e.Component, What: string(e.What), First: e.First, Last: e.Last, Count: e.Count, Bytes: e.Bytes,
			Reason: string(e.Reason), Why: e.Why, Until: e.Until,
		})
	}
	return all
}

// planned are entries as the plan had them.
func planned(results []api.Retained) []retention.Entry {
	var all []retention.Entry
	for _, r := range results {
		all = append(all, retention.Entry{
			Store: r.Store, Component: r.Component, What: retention.What(r.What), First: r.First, Last: r.Last, Count: r.Count, Bytes: r.Bytes, Why: r.Why,
		})
	}
	return all
}
