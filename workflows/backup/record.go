package backup

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// fileReport is the change from which on a backup run files its record; those that
// were recorded before have no such step.
const fileReport = "backup-files-report"

// file writes the run's record to the ledger. A record that can't be filed is
// told and makes no good backup a bad one: the backup itself is on the ledger already.
func (b *backing) file(ctx workflow.Context, cause error) {
	if b.system.Name == "" || workflow.GetVersion(ctx, fileReport, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return
	}
	b.File(ctx, b.system, b.record(cause), b.Progress.Children...)
}

func (b *backing) record(cause error) report.Run {
	record := b.Record(b.system, b.in.By, cause)
	record.Steps = b.steps()
	for _, made := range b.made {
		record.Backups = append(record.Backups, report.Backup{
			Component: made.Component, Key: made.Key, Bytes: made.Bytes, Stored: made.Stored,
			From: made.From, To: made.To, LSN: made.LSN, Proof: made.Proof, Note: made.Note,
		})
	}
	for _, err := range append(slices.Clone(b.failed), cause) { // the cause is one of them, or another one
		if err == nil || slices.ContainsFunc(record.Failures, func(f report.Failure) bool { return f.Message == run.Reason(err) }) {
			continue
		}
		record.Failures = append(record.Failures, run.RecordedFailure(err))
	}
	return record
}

// steps are those of this run. Where a child told its own, they stand for it,
// but for its reading of the configuration, which this run did, too.
func (b *backing) steps() []report.Step {
	told := map[string]bool{}
	for _, step := range b.within {
		told[step.Component] = true
	}
	var steps []report.Step
	for _, step := range b.Progress.Steps {
		if !told[step.ID] {
			steps = append(steps, run.Recorded(step, ""))
		}
	}
	for _, step := range b.within {
		if step.Component != "" {
			steps = append(steps, run.Recorded(step, ""))
		}
	}
	slices.SortStableFunc(steps, func(a, b report.Step) int { return a.Started.Compare(b.Started) })
	return steps
}

// noteReplica adds the copy to the second region to the steps; there is none when
// nothing was to be copied.
func (b *backing) noteReplica(ctx workflow.Context, began time.Time, made *api.ReplicateResult, err error) {
	if made == nil && err == nil {
		return
	}
	finished := workflow.Now(ctx).UTC()
	step := api.Step{ID: "replicate", Title: "copy what is new to the second region", State: api.StepDone, Started: began, Finished: &finished}
	if err != nil {
		step.State, step.Outcome = run.Ended(err)
	} else {
		step.Outcome = fmt.Sprintf("%d objects, %s, from %s to %s", made.Objects, system.Bytes(made.Bytes).Human(), made.From, made.To)
	}
	b.Note(ctx, step)
}
