package run

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/workflows/api"
)

// Run holds the progress of one workflow and tells everyone who watches.
type Run struct {
	Progress api.Progress
	Begun    time.Time // when a worker took the run up; part of its name

	// Changed, when set, is called with each step that starts or ends, so that
	// a child can tell its parent.
	Changed func(ctx workflow.Context, step api.Step)

	mirrors    bool // the run keeps its memo up to date
	searchable bool // … and its search attributes
	kind       string
	mirrored   mirrored
}

// Begin starts the bookkeeping of a workflow and registers the query "progress".
// A run has started when somebody asked for it: without a worker, people wait all
// the same.
func Begin(ctx workflow.Context, phase api.Phase) (*Run, error) {
	info := workflow.GetInfo(ctx)
	started := info.WorkflowStartTime.UTC()
	r := &Run{Begun: workflow.Now(ctx).UTC(), Progress: api.Progress{
		Workflow: info.WorkflowType.Name,
		ID:       info.WorkflowExecution.ID,
		RunID:    info.WorkflowExecution.RunID,
		Phase:    phase,
		Entered:  started,
		Started:  started,
		Since:    started,
		Steps:    []api.Step{},
	}}
	r.mirrors = workflow.GetVersion(ctx, changeMirror, workflow.DefaultVersion, 1) >= 1
	err := workflow.SetQueryHandlerWithOptions(ctx, api.QueryProgress, func() (api.Progress, error) { return r.Progress, nil },
		workflow.QueryHandlerOptions{Description: "where this run stands: phase, clocks, steps"})
	return r, err
}

// Name is the run's short name: unique, readable, and fit for a directory name.
// It takes the end of the run ID, as a UUID of version 7 begins with the time.
func (r *Run) Name() string {
	short := r.Progress.RunID
	if len(short) > 8 {
		short = short[len(short)-8:]
	}
	return r.Begun.Format("20060102T150405Z") + "-" + short
}

// Enter moves the run to a phase and shows it.
func (r *Run) Enter(ctx workflow.Context, phase api.Phase) {
	if r.Progress.Phase != phase {
		r.Progress.Phase, r.Progress.Entered = phase, workflow.Now(ctx).UTC()
	}
	if phase != api.PhaseWaiting {
		r.Progress.Waiting = ""
	}
	r.Show(ctx)
	r.mirror(ctx)
}

// Finish enters the last phase and stops the run's time.
func (r *Run) Finish(ctx workflow.Context, phase api.Phase) {
	now := workflow.Now(ctx).UTC()
	r.Progress.Finished = &now
	r.Enter(ctx, phase)
}

// Fail enters the phase failed or aborted, with the reason.
func (r *Run) Fail(ctx workflow.Context, phase api.Phase, reason string) {
	r.Progress.Failure = reason
	r.Finish(ctx, phase)
}

// Note records a step that another workflow reported: the newest word on an ID counts.
func (r *Run) Note(ctx workflow.Context, step api.Step) {
	for i := range r.Progress.Steps {
		if r.Progress.Steps[i].ID == step.ID {
			r.Progress.Steps[i] = step
			r.Show(ctx)
			return
		}
	}
	r.Progress.Steps = append(r.Progress.Steps, step)
	r.Show(ctx)
}

// Elapsed is the time since the clock's zero.
func (r *Run) Elapsed(ctx workflow.Context) time.Duration {
	return workflow.Now(ctx).Sub(r.Progress.Since)
}
