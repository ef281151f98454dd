package watch

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// How long a retention waits for those who read backups, and how often it looks.
const (
	readersPatience = 6 * time.Hour
	readersPoll     = 5 * time.Minute
)

// mostTold bounds the lines of a report.
const mostTold = 40

// retaining is one application of the retention.
type retaining struct {
	*run.Run
	in     api.RetentionInput
	system system.System
	result api.RetentionResult
}

// ApplyRetention removes finished backups and WAL that have outlived their
// retention, and says why everything else is kept (workflow type ApplyRetention).
// What may not go is no failure; that nothing could be judged is.
func ApplyRetention(ctx workflow.Context, in api.Input[api.RetentionInput]) (api.RetentionResult, error) {
	r, err := run.Begin(ctx, api.PhaseRetaining)
	if err != nil {
		return api.RetentionResult{}, err
	}
	a := &retaining{Run: r}
	a.result = api.RetentionResult{Started: r.Progress.Started, Removed: []api.Retained{}, Kept: []api.Retained{}}
	err = a.apply(ctx, in)
	disconnected, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	a.result.Finished = workflow.Now(ctx).UTC()
	if err == nil || len(a.result.Removed) > 0 { // what was removed is on record, whatever came then
		if recorded := a.record(disconnected); err == nil {
			err = recorded
		}
	}
	a.End(disconnected, err)
	a.file(disconnected, err)
	return a.result, run.Failure(err)
}

func (a *retaining) apply(ctx workflow.Context, in api.Input[api.RetentionInput]) error {
	// Step 1. What the system is, pinned for the whole run.
	var err error
	if a.in, err = in.Checked(api.ApplyRetention); err != nil {
		return err
	}
	if a.in.AtMost < 0 || a.in.AtMost > 100 {
		return fault.Newf(fault.InputInvalid, "read input of", api.ApplyRetention, "at_most is %d percent", a.in.AtMost)
	}
	var recordActivities *records.Activities
	var loaded records.Loaded
	if err := a.Do(ctx, run.Step{ID: "configuration", Title: "read and pin the configuration", Class: run.Quick}, recordActivities.LoadSystem,
		records.LoadInput{System: a.in.System}, &loaded, nil); err != nil {
		return err
	}
	a.system = loaded.System
	a.Progress.System, a.result.System, a.result.DryRun = a.system.Name, a.system.Name, a.in.DryRun
	a.Identify(ctx, "system", loaded.SearchAttributes)

	// Step 2. Whoever reads backups ends first.
	if !a.in.DryRun {
		if err := a.await(ctx); err != nil {
			return err
		}
	}

	// Step 3. What would go, and why everything else does not. Nothing is changed yet.
	var activities *vault.Activities
	var plan vault.PlanRetentionResult
	if err := a.Do(ctx, run.Step{ID: "plan", Title: "judge every backup and all WAL in each store", Class: run.Long}, activities.PlanRetention,
		vault.PlanRetentionInput{System: a.system, AtMost: a.in.AtMost, By: a.in.By}, &plan, func() string { return foretold(plan.Going) }); err != nil {
		return err
	}
	a.result.Since, a.result.Kept, a.result.Notes = plan.Since, plan.Kept, plan.Notes
	if a.in.DryRun {
		a.result.Removed = plan.Going
		return nil
	}
	if len(plan.Going) == 0 {
		return nil
	}

	// Step 4. The plan stands on the ledger before anything goes.
	foreseen := a.result
	foreseen.Removed, foreseen.Kept = plan.Going, []api.Retained{}
	if err := a.Do(ctx, run.Step{ID: "record-plan", Title: "record what is about to be removed", Class: run.Quick}, recordActivities.RecordRetentionPlan,
		records.RetentionInput{System: a.system, Run: a.Progress.ID, Result: foreseen}, nil, nil); err != nil {
		return err
	}

	// ---- Destructive from here on. ----

	// Step 5. The primary, then the replica.
	primary, err := a.system.Primary()
	if err != nil {
		return err
	}
	for _, store := range []string{primary.Name, primary.Replica} {
		if store == "" {
			continue
		}
		var done vault.CarryOutResult
		if err := a.Do(ctx, run.Step{ID: "remove/" + store, Title: "remove from " + store + " what was planned and would be planned again", Class: run.Long}, activities.CarryOutRetention,
			vault.CarryOutInput{System: a.system, Store: store, Going: within(plan.Going, store), Floor: plan.Floor, AtMost: a.in.AtMost, By: a.in.By}, &done,
			func() string { return fmt.Sprintf("%s; %d of the plan kept", foretold(done.Removed), len(done.Kept)) }); err != nil {
			return err
		}
		a.result.Removed = append(a.result.Removed, done.Removed...)
		a.result.Kept = append(a.result.Kept, done.Kept...)
	}
	return nil
}

// await waits until nobody reads backups any more, for a while.
func (a *retaining) await(ctx workflow.Context) error {
	var activities *vault.Activities
	until := workflow.Now(ctx).Add(readersPatience)
	for {
		var found vault.ReadersResult
		if err := a.Do(ctx, run.Step{ID: "readers", Title: "see that nobody reads backups now", Class: run.Quick}, activities.Readers,
			vault.ReadersInput{System: a.system}, &found, func() string {
				if found.Run == "" {
					return "nobody does"
				}
				return found.Run + " may"
			}); err != nil || found.Run == "" {
			return err
		}
		if !workflow.Now(ctx).Before(until) {
			return fault.Newf(fault.RetentionRefused, "apply retention of", a.system.Name, "%s has run for hours, and may be reading what would go", found.Run).
				WithHint("let it end, or end it; then start this run again, or wait for the schedule's next")
		}
		if err := workflow.NewTimerWithOptions(ctx, readersPoll, workflow.TimerOptions{Summary: "wait for " + found.Run}).Get(ctx, nil); err != nil {
			return err
		}
	}
}

// record puts on the ledger what was removed and kept. A dry run leaves none.
func (a *retaining) record(ctx workflow.Context) error {
	if a.in.DryRun || a.system.Name == "" {
		return nil
	}
	var activities *records.Activities
	return a.Do(ctx, run.Step{ID: "record", Title: "record what was removed, and why the rest is kept", Class: run.Quick}, activities.RecordRetention,
		records.RetentionInput{System: a.system, Run: a.Progress.ID, Result: a.result}, nil, nil)
}

// file puts the report of the run on the ledger.
func (a *retaining) file(ctx workflow.Context, cause error) {
	if a.in.DryRun || a.system.Name == "" {
		return
	}
	made := a.Record(a.system, a.in.By, cause)
	made.Notes = a.lines()
	if cause != nil {
		made.Failures = append(made.Failures, run.RecordedFailure(cause))
	}
	a.File(ctx, a.system, made)
}

// lines tell the result in a report.
func (a *retaining) lines() []string {
	var lines []string
	for _, group := range []struct {
		word string
		all  []api.Retained
	}{{"removed", a.result.Removed}, {"kept", a.result.Kept}} {
		for i, one := range group.all {
			if i == mostTold {
				lines = append(lines, fmt.Sprintf("%s: and %d more, on the ledger", group.word, len(group.all)-i))
				break
			}
			lines = append(lines, group.word+": "+one.String())
		}
	}
	return append(lines, a.result.Notes...)
}

// within are the entries of one store.
func within(all []api.Retained, store string) []api.Retained {
	there := []api.Retained{}
	for _, one := range all {
		if one.Store == store {
			there = append(there, one)
		}
	}
	return there
}

// foretold sums up what goes.
func foretold(going []api.Retained) string {
	if len(going) == 0 {
		return "nothing goes"
	}
	counts, bytes := map[string]int64{}, int64(0)
	for _, one := range going {
		counts[one.What] += one.Count
		bytes += one.Bytes
	}
	return fmt.Sprintf("%d backups and %d WAL files, %s", counts["backup"], counts["WAL"], system.Bytes(bytes).Human())
}
