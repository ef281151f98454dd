package run

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// End enters the last phase: done, failed, or aborted when the run was cancelled.
func (r *Run) End(ctx workflow.Context, cause error) {
	switch {
	case temporal.IsCanceledError(cause):
		r.Fail(ctx, api.PhaseAborted, Reason(cause))
	case cause != nil:
		r.Fail(ctx, api.PhaseFailed, Reason(cause))
	default:
		r.Finish(ctx, api.PhaseDone)
	}
}

// Record is what every run that has ended says of itself: its times, its steps and
// its outcome. What it did, and why it failed, its workflow adds.
func (r *Run) Record(of system.System, by string, cause error) report.Run {
	p := r.Progress
	record := report.Run{
		System: of.Name, ID: p.ID, RunID: p.RunID, Kind: p.Workflow, By: by,
		Phase: string(p.Phase), Outcome: report.Succeeded, Started: p.Started, Finished: *p.Finished,
	}
	for _, step := range p.Steps {
		record.Steps = append(record.Steps, Recorded(step, ""))
	}
	switch {
	case temporal.IsCanceledError(cause):
		record.Outcome = report.Aborted
	case cause != nil:
		record.Outcome = report.Failed
	}
	return record
}

// File writes the record to the ledger. One that can't be filed is told, and makes
// no good run a bad one.
func (r *Run) File(ctx workflow.Context, of system.System, record report.Run, children ...string) {
	var activities *records.Activities
	err := r.Do(ctx, Step{ID: "file-report", Title: "file the report", Class: Quick}, activities.FileReport,
		records.ReportInput{System: of, Record: record, Children: children}, nil, nil)
	if err == nil {
		return
	}
	if r.Progress.Failure != "" {
		r.Progress.Failure += "; "
	}
	r.Progress.Failure += "the report could not be filed: " + Reason(err)
	r.Show(ctx)
}
