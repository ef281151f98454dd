package watch

import (
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// ReportStatus holds objectives against reality and files what it found (workflow
// type ReportStatus). What is late or wrong is in the result: it fails only when
// nothing could be filed.
func ReportStatus(ctx workflow.Context, in api.Input[api.StatusInput]) (api.StatusResult, error) {
	r, err := run.Begin(ctx, api.PhaseObserving)
	if err != nil {
		return api.StatusResult{}, err
	}
	result, err := report(ctx, r, in)
	if err != nil {
		disconnected, cancel := workflow.NewDisconnectedContext(ctx)
		defer cancel()
		r.Fail(disconnected, api.PhaseFailed, run.Reason(err))
		return result, run.Failure(err)
	}
	r.Finish(ctx, api.PhaseDone)
	return result, nil
}

func report(ctx workflow.Context, r *run.Run, in api.Input[api.StatusInput]) (api.StatusResult, error) {
	given, err := in.Checked(api.ReportStatus)
	if err != nil {
		return api.StatusResult{}, err
	}
	var activities *records.Activities
	var loaded records.Loaded
	if err := r.Do(ctx, run.Step{ID: "configuration", Title: "read and pin the configuration", Class: run.Quick}, activities.LoadSystem,
		records.LoadInput{System: given.System}, &loaded, nil); err != nil {
		return api.StatusResult{}, err
	}
	r.Progress.System = loaded.System.Name
	r.Identify(ctx, "system", loaded.SearchAttributes)
	var found api.StatusResult
	err = r.Do(ctx, run.Step{ID: "report-status", Title: "hold objectives against reality", Class: run.Quick}, activities.ReportStatus,
		records.StatusInput{System: loaded.System}, &found, func() string { return found.Answer })
	return found, err
}
