package verify

import (
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// file writes the run's record to the ledger. One that can't be filed is told:
// what was found of each backup is there already.
func (v *verifying) file(ctx workflow.Context, cause error) {
	if v.system.Name == "" {
		return
	}
	var activities *records.Activities
	if err := v.Do(ctx, run.Step{ID: "file-report", Title: "file the report", Class: run.Quick}, activities.FileReport,
		records.ReportInput{System: v.system, Record: v.told(cause)}, nil, nil); err != nil {
		if v.Progress.Failure != "" {
			v.Progress.Failure += "; "
		}
		v.Progress.Failure += "the report could not be filed: " + run.Reason(err)
		v.Show(ctx)
	}
}

func (v *verifying) told(cause error) report.Run {
	p := v.Progress
	record := report.Run{
		System: v.system.Name, ID: p.ID, RunID: p.RunID, Kind: p.Workflow, By: v.in.By,
		Phase: string(p.Phase), Outcome: report.Succeeded, Started: p.Started, Finished: *p.Finished, Notes: v.result.Notes,
	}
	for _, step := range p.Steps {
		record.Steps = append(record.Steps, run.Recorded(step, ""))
	}
	for _, one := range v.result.Backups {
		record.Checks = append(record.Checks, report.Check{Name: one.Key + " at " + one.Level, OK: one.Damage == "", Message: found(one)})
		record.Notes = append(record.Notes, one.Notes...)
	}
	switch {
	case temporal.IsCanceledError(cause):
		record.Outcome = report.Aborted
	case cause != nil:
		record.Outcome = report.Failed
	}
	failures := v.failed
	if len(failures) == 0 && cause != nil {
		failures = []error{cause}
	}
	for _, err := range failures {
		record.Failures = append(record.Failures, run.RecordedFailure(err))
	}
	return record
}

// found is what was found of a backup, in one line.
func found(one api.Verified) string {
	if one.Damage != "" {
		return one.Damage
	}
	told := system.Bytes(one.Bytes).Human() + " read and authenticated"
	if one.Files > 0 {
		told += fmt.Sprintf("; %d files, %d pages, replayed to %s", one.Files, one.Pages, one.Point.LSN)
	}
	if one.Databases > 0 {
		told += fmt.Sprintf("; %d tables and sequences equal the source's, %d databases looked into, %d checks", one.Compared, one.Databases, len(one.Checks))
	}
	return told
}
