package recovery

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// component is a child at work on one component: its steps, its gates, and
// what must be undone when it does not get through.
type component struct {
	*run.Run
	in      ComponentInput
	parent  workflow.Execution
	outcome api.ComponentOutcome
	unsaid  []api.Step        // steps that changed, and the coordinator does not know yet
	soon    *due              // the report that is due; nil: none is
	told    []workflow.Future // signals on their way to the coordinator
	undo    []undoing         // newest last
	ignored int               // signals that were not the coordinator's
}

// due is a report of steps that waits for its time.
type due struct{ cancel workflow.CancelFunc }

// reportDelay is how far the coordinator's table may lag behind. A signal for
// each step would cost two workflow tasks each, and the next step would wait for them.
const reportDelay = 700 * time.Millisecond

// undoing takes one thing back, after a failure or an abort before the cut-over.
type undoing struct {
	step     run.Step
	activity any
	input    any
}

func beginComponent(ctx workflow.Context, in ComponentInput) (*component, error) {
	parent := workflow.GetInfo(ctx).ParentWorkflowExecution
	if parent == nil {
		return nil, fault.Newf(fault.InputInvalid, "start recovery of", in.Component.ID, "it has no coordinator").
			WithHint("start RecoverSystem, or the Recover… workflow of this kind")
	}
	r, err := run.Begin(ctx, api.PhasePreparing)
	if err != nil {
		return nil, err
	}
	r.Progress.System = in.System.Name
	r.Progress.Target = in.Target.Name
	r.Progress.Since = in.Since
	r.Identify(ctx, string(in.Component.Kind), in.SearchAttributes)
	c := &component{Run: r, in: in, parent: *parent, outcome: api.ComponentOutcome{Component: in.Component.ID}}
	r.Changed = c.stepChanged
	return c, nil
}

// stepChanged sees to it that the coordinator hears of a step, soon or with the
// next word that goes there.
func (c *component) stepChanged(ctx workflow.Context, step api.Step) {
	if said := slices.IndexFunc(c.unsaid, func(other api.Step) bool { return other.ID == step.ID }); said >= 0 {
		c.unsaid[said] = step // the newest word counts
	} else {
		c.unsaid = append(c.unsaid, step)
	}
	if c.soon != nil {
		return
	}
	timerCtx, cancel := workflow.WithCancel(ctx)
	mine := &due{cancel: cancel}
	c.soon = mine
	workflow.GoNamed(timerCtx, "report of steps", func(ctx workflow.Context) {
		timer := workflow.NewTimerWithOptions(ctx, reportDelay, workflow.TimerOptions{Summary: "report steps to the recovery"})
		err := timer.Get(ctx, nil)
		switch {
		case err == nil:
			c.tell(ctx, Report{})
		case c.soon == mine: // the run was called off; what undoes it is reported anew
			c.soon = nil
		}
	})
}

// tell signals the coordinator what has not been said, and does not wait for the delivery.
func (c *component) tell(ctx workflow.Context, report Report) {
	if c.soon != nil {
		c.soon.cancel()
		c.soon = nil
	}
	disconnected, _ := workflow.NewDisconnectedContext(ctx)
	report.Component, report.Token = c.in.Component.ID, c.in.Token
	report.Steps, c.unsaid = c.unsaid, nil
	c.told = append(c.told, workflow.SignalExternalWorkflow(disconnected, c.parent.ID, c.parent.RunID, api.SignalReport, report))
}

// settle waits until the coordinator has everything that it was told, so that
// it knows each step's end before it learns of the child's. A signal that can't be
// delivered means that the coordinator is gone: nobody is left to tell.
func (c *component) settle(ctx workflow.Context) {
	if len(c.unsaid) > 0 {
		c.tell(ctx, Report{})
	}
	for _, signal := range c.told {
		if err := signal.Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("the coordinator did not hear of a step", "error", err)
		}
	}
	c.told = nil
}

// asked is the point that the recovery was asked to go to; "" is the newest.
func (c *component) asked() string {
	if c.in.To.Newest() {
		return ""
	}
	return c.in.To.String()
}

// step names one of this component's steps.
func (c *component) step(name, title string, class run.Class) run.Step {
	return run.Step{ID: c.in.Component.ID + "/" + name, Component: c.in.Component.ID, Title: title, Class: class}
}

// onFailure remembers how to take something back; the newest is taken back first.
func (c *component) onFailure(name, title string, activity, input any) {
	c.undo = append(c.undo, undoing{step: c.step(name, title, run.Long), activity: activity, input: input})
}

// reach tells the coordinator that a gate is reached and waits until it may
// pass on to the next one. Only the coordinator opens it: a signal without its
// token is ignored, and told.
func (c *component) reach(ctx workflow.Context, reached, next api.Gate) error {
	known := c.outcome
	c.tell(ctx, Report{Gate: reached, Outcome: &known})
	c.Progress.Waiting = "reached " + string(reached) + "; waits for the recovery to open " + string(next)
	c.Show(ctx)
	signals := workflow.GetSignalChannel(ctx, api.SignalProceed)
	for {
		var open Proceed
		selector := workflow.NewSelector(ctx)
		selector.AddReceive(signals, func(channel workflow.ReceiveChannel, _ bool) { channel.Receive(ctx, &open) })
		selector.AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) {})
		selector.Select(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case open.Token != c.in.Token:
			c.ignore(ctx)
		case open.Gate == next:
			c.Progress.Waiting = ""
			return nil
		}
	}
}

// ignore tells of a signal that was not the coordinator's.
func (c *component) ignore(ctx workflow.Context) {
	c.ignored++
	now := workflow.Now(ctx).UTC()
	told := api.Step{
		ID: c.in.Component.ID + "/ignored-signals", Workflow: c.Progress.ID, Component: c.in.Component.ID,
		Title: fmt.Sprintf("ignore signals %q that are not this recovery's", api.SignalProceed), State: api.StepDone, Started: now, Finished: &now,
		Outcome: fmt.Sprintf("%d opened nothing; a person lets production be touched with: lifeboat approve", c.ignored),
	}
	c.Note(ctx, told)
	c.stepChanged(ctx, told)
}

// takeBack undoes what was done, newest first, whatever happened to ctx. A step
// that can't be undone does not keep the others from it; the first error is returned.
func (c *component) takeBack(ctx workflow.Context) error {
	err := takeBack(ctx, c.Run, c.undo)
	c.undo = nil
	return err
}

func takeBack(ctx workflow.Context, r *run.Run, all []undoing) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	var first error
	for i := len(all) - 1; i >= 0; i-- {
		u := all[i]
		if err := r.Do(ctx, u.step, u.activity, u.input, nil, nil); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// finish ends a child that failed or was cancelled before its cut-over: takes
// everything back, and returns the reason.
func (c *component) finish(ctx workflow.Context, cause error) error {
	undoErr := c.takeBack(ctx)
	phase := api.PhaseFailed
	if isCancellation(cause) {
		phase = api.PhaseAborted
	}
	reason := run.Reason(cause)
	if undoErr != nil {
		reason += "; and it could not all be taken back: " + run.Reason(undoErr)
	}
	disconnected, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	c.Fail(disconnected, phase, reason)
	c.settle(disconnected)
	if undoErr != nil && phase == api.PhaseAborted {
		return run.Failure(undoErr) // the operator must hear that the old system is not as it was
	}
	return run.Failure(cause)
}

// isCancellation says whether an error only means that somebody called the run off.
func isCancellation(err error) bool { return temporal.IsCanceledError(err) }
