package temporal

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// Schedule is one schedule as it runs: what Temporal knows of it, and how that
// compares with what is configured.
type Schedule struct {
	Name       string     `json:"name"`
	ID         string     `json:"id"`
	Workflow   string     `json:"workflow"`
	Of         string     `json:"of,omitempty"`        // component
	Starts     string     `json:"starts"`              // in words, as it runs; as configured when it was never applied
	Configured bool       `json:"configured"`          // it stands in lifeboat.yaml; false: apply deletes it
	Applied    bool       `json:"applied"`             // Temporal has it; false: nothing starts until apply
	Paused     bool       `json:"paused"`              // nothing starts until resume
	Note       string     `json:"note,omitempty"`      // why it is paused, or what it is
	Next       *time.Time `json:"next,omitempty"`      // absent while it is paused
	Last       *Started   `json:"last,omitempty"`      // the newest run
	Running    []string   `json:"running,omitempty"`   // workflow IDs
	Runs       int        `json:"runs"`                // started since it was created
	Missed     int        `json:"missed"`              // starts that were over the catch-up window late, and never happened
	Skipped    int        `json:"skipped"`             // starts that did not happen because the run before still worked
	Drift      []string   `json:"drift,omitempty"`     // what was edited by hand since it was applied
	Unapplied  []string   `json:"unapplied,omitempty"` // what lifeboat.yaml says otherwise since it was applied
	Since      *time.Time `json:"since,omitempty"`     // when it was created: Missed and Skipped count from then
}

// Started is a run that a schedule started.
type Started struct {
	ID        string     `json:"id"` // workflow ID
	RunID     string     `json:"run_id"`
	Scheduled time.Time  `json:"scheduled"` // when it was due
	Started   time.Time  `json:"started"`
	Finished  *time.Time `json:"finished,omitempty"`
	Status    RunStatus  `json:"status"`
	Outcome   string     `json:"outcome,omitempty"` // the fault that it ended with, or what a person should know of a success
}

// RunStatus says how a run stands.
type RunStatus string

// States of a run.
const (
	RunRunning    RunStatus = "running"
	RunCompleted  RunStatus = "completed"
	RunFailed     RunStatus = "failed"
	RunTimedOut   RunStatus = "timed out"
	RunCanceled   RunStatus = "cancelled"
	RunTerminated RunStatus = "terminated"
	RunForgotten  RunStatus = "forgotten" // Temporal keeps it no longer
)

// Schedules gives every schedule of a system: those that are configured, in the
// order of the file, and behind them those that Lifeboat made and nobody
// configures any more. It changes nothing.
func Schedules(ctx context.Context, c Client, s system.System) ([]Schedule, error) {
	all := []Schedule{}
	for _, configured := range s.Schedules {
		d, err := desire(s, configured)
		if err != nil {
			return nil, err
		}
		one := Schedule{Name: d.name, ID: d.id, Workflow: configured.Workflow, Of: configured.Of, Starts: configured.Starts(), Configured: true}
		found, err := c.ScheduleClient().GetHandle(ctx, d.id).Describe(ctx)
		switch {
		case isNotFound(err):
		case err != nil:
			return nil, Named("read schedule", d.id, err)
		default:
			if err := one.fill(ctx, c, found, d.terms); err != nil {
				return nil, err
			}
		}
		all = append(all, one)
	}
	strays, err := strays(ctx, c, s)
	if err != nil {
		return nil, err
	}
	for _, stray := range strays {
		one := Schedule{Name: stray.name, ID: stray.id}
		if err := one.fill(ctx, c, stray.found, nil); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// fill adds what Temporal says. configured is nil for a schedule that is not.
func (one *Schedule) fill(ctx context.Context, c Client, found *client.ScheduleDescription, configured terms) error {
	now, err := c.payloads.termsOf(found.Schedule)
	if err != nil {
		return err
	}
	one.Applied, one.Workflow, one.Starts = true, now["workflow"], told(termStarts, now[termStarts])
	one.Paused, one.Note = found.Schedule.State.Paused, found.Schedule.State.Note
	one.Runs, one.Missed, one.Skipped = found.Info.NumActions, found.Info.NumActionsMissedCatchupWindow, found.Info.NumActionsSkippedOverlap
	one.Since = &found.Info.CreatedAt
	if next := found.Info.NextActionTimes; len(next) > 0 && !one.Paused {
		one.Next = &next[0]
	}
	for _, running := range found.Info.RunningWorkflows {
		one.Running = append(one.Running, running.WorkflowID)
	}
	was, known := c.payloads.appliedOf(found.Schedule)
	if known || configured != nil {
		one.Drift = driftOf(was, known, now, configured)
	}
	if known && configured != nil {
		one.Unapplied = was.Terms.differences(configured)
	}
	if recent := found.Info.RecentActions; len(recent) > 0 {
		one.Last, err = startedOf(ctx, c, recent[len(recent)-1])
	}
	return err
}

// startedOf asks how a run stands.
func startedOf(ctx context.Context, c Client, action client.ScheduleActionResult) (*Started, error) {
	if action.StartWorkflowResult == nil {
		return nil, nil
	}
	id, runID := action.StartWorkflowResult.WorkflowID, action.StartWorkflowResult.FirstExecutionRunID
	started := &Started{ID: id, RunID: runID, Scheduled: action.ScheduleTime.UTC(), Started: action.ActualTime.UTC(), Status: RunForgotten}
	found, err := c.DescribeWorkflowExecution(ctx, id, runID)
	if isNotFound(err) {
		return started, nil
	}
	if err != nil {
		return nil, Named("look at run", id, err)
	}
	info := found.GetWorkflowExecutionInfo()
	started.Status = statusOf(info.GetStatus())
	if info.GetCloseTime() != nil {
		at := info.GetCloseTime().AsTime()
		started.Finished = &at
	}
	switch started.Status {
	case RunFailed:
		err := temporalfault.FromTemporal(c.GetWorkflow(ctx, id, runID).Get(ctx, nil))
		if kind := fault.KindOf(err); kind != "" {
			started.Outcome = string(kind) + ": "
		}
		started.Outcome += err.Error()
	case RunTimedOut:
		started.Outcome = "it was not done after its run timeout, and was ended"
	case RunCompleted:
		started.Outcome = outcomeOf(ctx, c, info.GetType().GetName(), id, runID)
	}
	return started, nil
}

// outcomeOf says what a person should know of a backup that was not needed. Of
// everything else it is enough to know that it completed.
func outcomeOf(ctx context.Context, c Client, workflow, id, runID string) string {
	if workflow != api.BackupCache {
		return ""
	}
	var result api.BackupResult
	if err := c.GetWorkflow(ctx, id, runID).Get(ctx, &result); err != nil || len(result.Backups) > 0 || len(result.Unchanged) == 0 {
		return ""
	}
	return fmt.Sprintf("nothing changed since %s", result.Unchanged[0].Key)
}

func statusOf(status enums.WorkflowExecutionStatus) RunStatus {
	switch status {
	case enums.WORKFLOW_EXECUTION_STATUS_RUNNING:
		return RunRunning
	case enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW:
		return RunCompleted
	case enums.WORKFLOW_EXECUTION_STATUS_FAILED:
		return RunFailed
	case enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
		return RunTimedOut
	case enums.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return RunCanceled
	case enums.WORKFLOW_EXECUTION_STATUS_TERMINATED:
		return RunTerminated
	default:
		return RunForgotten
	}
}
