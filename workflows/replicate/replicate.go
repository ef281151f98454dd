// Package replicate brings bytes to the second region.
package replicate

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// Store copies what a store's replica lacks (workflow type ReplicateStore).
func Store(ctx workflow.Context, in api.Input[api.ReplicateInput]) (api.ReplicateResult, error) {
	r, err := run.Begin(ctx, api.PhaseReplicating)
	if err != nil {
		return api.ReplicateResult{}, err
	}
	result, err := replicate(ctx, r, in)
	if err != nil {
		disconnected, cancel := workflow.NewDisconnectedContext(ctx)
		defer cancel()
		r.Fail(disconnected, api.PhaseFailed, run.Reason(err))
		return result, run.Failure(err)
	}
	r.Finish(ctx, api.PhaseDone)
	return result, nil
}

func replicate(ctx workflow.Context, r *run.Run, in api.Input[api.ReplicateInput]) (api.ReplicateResult, error) {
	given, err := in.Checked(api.ReplicateStore)
	if err != nil {
		return api.ReplicateResult{}, err
	}
	var recordActivities *records.Activities
	var loaded records.Loaded
	if err := r.Do(ctx, run.Step{ID: "configuration", Title: "read and pin the configuration", Class: run.Quick}, recordActivities.LoadSystem,
		records.LoadInput{System: given.System}, &loaded, nil); err != nil {
		return api.ReplicateResult{}, err
	}
	r.Progress.System = loaded.System.Name
	r.Identify(ctx, "", loaded.SearchAttributes)
	var activities *vault.Activities
	var copied vault.ReplicateResult
	what := vault.ReplicateInput{System: loaded.System, Store: given.Store}
	title := "copy what the replica lacks"
	if given.Follow > 0 {
		what.Until = workflow.Now(ctx).Add(given.Follow.Std())
		title += ", and what is new until " + what.Until.UTC().Format("15:04:05")
	}
	err = r.Do(ctx, run.Step{ID: "copy", Title: title, Class: run.Long}, activities.Replicate, what, &copied,
		func() string {
			told := fmt.Sprintf("%d objects (%s) copied, %d were there; lag at most %s", copied.Objects, system.Bytes(copied.Bytes).Human(), copied.Present, copied.Lag)
			if copied.Missing > 0 {
				told += fmt.Sprintf("; %d objects are not there yet, %d backups are not complete", copied.Missing, len(copied.Incomplete))
			}
			return told
		})
	return api.ReplicateResult(copied), err
}
