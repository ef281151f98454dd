package run

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/workflows/api"
)

// Class says how long a step may take and how stubbornly it is tried.
type Class int

// Classes of steps.
const (
	// Quick steps ask a question or write a record; they end in minutes and give up after about one.
	Quick Class = iota
	// Brief steps write what may be missing, while people wait for their services:
	// they are given up after two minutes.
	Brief
	// Long steps move bytes and heartbeat; they resume where an attempt was cut off.
	Long
	// Spare steps move bytes, and the run can do without them: they are tried three times.
	Spare
	// Decisive steps lie past the cut-over, where the only way is forward: whatever
	// fails them is shown, and they are tried until a person has mended it.
	Decisive
)

// HeartbeatTimeout is how soon the loss of a worker is noticed in a step that moves bytes.
const HeartbeatTimeout = 10 * time.Second

// Step is one activity as a person sees it.
type Step struct {
	ID        string // readable and unique in its workflow: "database/frende/restore"
	Component string // "database/frende"; "" belongs to the whole
	Title     string // what a tired person understands: "restore frende from 2024-01-15 02:00 (1.9 GB)"
	Class     Class
}

// Do runs a step: its activity (a method reference) with input, decoded into result (a pointer, or nil).
// tell, when not nil, says after success what the step found, for the table of steps.
func (r *Run) Do(ctx workflow.Context, step Step, activity, input, result any, tell func() string) error {
	shown := api.Step{
		ID:        step.ID,
		Workflow:  r.Progress.ID,
		Component: step.Component,
		Title:     step.Title,
		State:     api.StepRunning,
		Started:   workflow.Now(ctx).UTC(),
	}
	r.changed(ctx, shown)
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options(step)), ActivityName(activity), input).Get(ctx, result)
	for again := 1; err != nil && step.Class == Decisive && ctx.Err() == nil; again++ {
		// No fault is final here: a person may mend what is named, and the step goes on.
		shown.Outcome = Reason(err) + "; mend it: the step is tried again by itself"
		r.changed(ctx, shown)
		summary := fmt.Sprintf("try again: %s", step.Title)
		if timerErr := workflow.NewTimerWithOptions(ctx, patience(again), workflow.TimerOptions{Summary: clip(summary, 120)}).Get(ctx, nil); timerErr != nil {
			return timerErr
		}
		err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options(step)), ActivityName(activity), input).Get(ctx, result)
	}
	finished := workflow.Now(ctx).UTC()
	shown.Finished = &finished
	if err != nil {
		shown.State, shown.Outcome = Ended(err)
		r.changed(ctx, shown)
		return err
	}
	shown.State = api.StepDone
	if tell != nil {
		shown.Outcome = tell()
	}
	r.changed(ctx, shown)
	return nil
}

// DoChild runs a step that is a workflow of its own, under the child options of
// ctx. tell is as in Do.
func (r *Run) DoChild(ctx workflow.Context, step Step, workflowType string, input, result any, tell func() string) error {
	shown := api.Step{
		ID: step.ID, Workflow: workflow.GetChildWorkflowOptions(ctx).WorkflowID, Component: step.Component, Title: step.Title,
		State: api.StepRunning, Started: workflow.Now(ctx).UTC(),
	}
	r.changed(ctx, shown)
	err := workflow.ExecuteChildWorkflow(ctx, workflowType, input).Get(ctx, result)
	finished := workflow.Now(ctx).UTC()
	shown.Finished, shown.State = &finished, api.StepDone
	switch {
	case err != nil:
		shown.State, shown.Outcome = Ended(err)
	case tell != nil:
		shown.Outcome = tell()
	}
	r.changed(ctx, shown)
	return err
}

func (r *Run) changed(ctx workflow.Context, step api.Step) {
	r.Note(ctx, step)
	if r.Changed != nil {
		r.Changed(ctx, step)
	}
}

// patience is the pause before a decisive step is tried anew: seconds first, a minute at most.
func patience(again int) time.Duration {
	return min(time.Duration(again)*5*time.Second, time.Minute)
}

func options(step Step) workflow.ActivityOptions {
	o := workflow.ActivityOptions{
		ActivityID:          step.ID,
		Summary:             clip(step.Title, 120),
		WaitForCancellation: true,
	}
	switch step.Class {
	case Quick:
		o.StartToCloseTimeout = 5 * time.Minute
		o.HeartbeatTimeout = HeartbeatTimeout
		o.RetryPolicy = &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second, MaximumAttempts: 6}
	case Brief:
		o.StartToCloseTimeout = time.Minute
		o.HeartbeatTimeout = HeartbeatTimeout
		o.RetryPolicy = &temporal.RetryPolicy{InitialInterval: time.Second, MaximumAttempts: 2}
	case Long:
		o.StartToCloseTimeout = 24 * time.Hour
		o.HeartbeatTimeout = HeartbeatTimeout
		o.RetryPolicy = &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second, MaximumAttempts: 20}
	case Spare:
		o.StartToCloseTimeout = 24 * time.Hour
		o.HeartbeatTimeout = HeartbeatTimeout
		o.RetryPolicy = &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second, MaximumAttempts: 3}
	case Decisive:
		o.StartToCloseTimeout = 2 * time.Hour
		o.HeartbeatTimeout = HeartbeatTimeout
		o.RetryPolicy = &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second}
	}
	return o
}

// cancelled is the reason of a step that was called off.
const cancelled = "cancelled"

// Reason is an error as one line for the table of steps: the named fault, or the innermost message.
func Reason(err error) string {
	if err == nil {
		return ""
	}
	restored := temporalfault.FromTemporal(err)
	if kind := fault.KindOf(restored); kind != "" {
		return string(kind) + ": " + restored.Error()
	}
	if temporal.IsCanceledError(err) {
		return cancelled
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Ended says what became of a step that ended with an error, and why: it failed,
// or was called off.
func Ended(err error) (api.StepState, string) {
	why := Reason(err)
	if why == cancelled {
		return api.StepAborted, why
	}
	return api.StepFailed, why
}

// Failure turns an error into what a workflow returns: faults, from here or
// from an activity or a child, become one ApplicationError with type and hint.
func Failure(err error) error {
	if err == nil {
		return nil
	}
	restored := temporalfault.FromTemporal(err)
	if fault.KindOf(restored) == "" {
		return err
	}
	return temporalfault.ToTemporal(restored)
}

// WithNote adds to the hint of a failure what a person should know besides. An error
// that is no fault, as a cancellation, is returned as it is.
func WithNote(err error, note string) error {
	found, ok := errors.AsType[*fault.Error](temporalfault.FromTemporal(err))
	if !ok {
		return err
	}
	if found.Hint != "" {
		note = found.Hint + "; " + note
	}
	return found.WithHint("%s", note)
}

// Refused says whether a run ended because another one works on the same: it was
// begun at the wrong moment, and has touched nothing.
func Refused(err error) bool {
	return fault.Has(temporalfault.FromTemporal(err), fault.RecoveryRunning)
}

func clip(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
