package recovery

import (
	"errors"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// HoldInput says who holds a system.
type HoldInput struct {
	System string `json:"system"`
	By     string `json:"by"` // workflow ID of the recovery
}

// Hold is one recovery's hold on a whole system (workflow type HoldSystem). Its
// fixed ID lets no second recovery of any kind stop, or start again, the services
// that the first one counts on. It does nothing until it is let go.
func Hold(ctx workflow.Context, in HoldInput) error {
	if workflow.GetInfo(ctx).ParentWorkflowExecution == nil {
		err := fault.Newf(fault.InputInvalid, "hold", in.System, "no recovery holds it").WithHint("start one of the Recover… workflows")
		return run.Failure(err)
	}
	workflow.SetCurrentDetails(ctx, "held by `"+in.By+"` until that has ended")
	if err := workflow.Await(ctx, func() bool { return false }); !isCancellation(err) {
		return err
	}
	return nil
}

// hold keeps every other recovery off the system, before anything is touched
// and until letGo. It fails with RecoveryRunning when another one holds it. A
// sandbox has no services, and needs no hold.
func (c *coordinator) hold(ctx workflow.Context) error {
	if !c.production() || workflow.GetVersion(ctx, "hold-system", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	id := api.HoldID(c.system.Name)
	disconnected, _ := workflow.NewDisconnectedContext(ctx)
	childCtx, cancel := workflow.WithCancel(disconnected)
	childCtx = workflow.WithChildOptions(childCtx, workflow.ChildWorkflowOptions{
		WorkflowID:            id,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_TERMINATE, // a recovery that is gone holds nothing
		WaitForCancellation:   true,
		StaticSummary:         "keeps other recoveries off " + c.system.Name + " for " + c.Progress.ID,
	})
	held := workflow.ExecuteChildWorkflow(childCtx, api.HoldSystem, HoldInput{System: c.system.Name, By: c.Progress.ID})
	err := held.GetChildWorkflowExecution().Get(ctx, nil)
	if _, taken := errors.AsType[*temporal.ChildWorkflowExecutionAlreadyStartedError](err); taken {
		cancel()
		return fault.Newf(fault.RecoveryRunning, "start recovery of", c.subject(), "one recovery of %s runs at a time", c.system.Name).
			WithHint("wait for the one that runs, or abort it: temporal workflow describe -w %s names it", id)
	}
	if err != nil {
		cancel()
		return err
	}
	c.letGo = func() error {
		cancel()
		return held.Get(disconnected, nil)
	}
	return nil
}

// subject is what is recovered: the one component, or the system.
func (c *coordinator) subject() string {
	if len(c.plan.Components) == 1 {
		return c.plan.Components[0].ID
	}
	return c.system.Name
}
