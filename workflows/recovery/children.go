package recovery

import (
	"errors"
	"strings"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// child is one component's recovery as its coordinator sees it.
type child struct {
	component system.Component
	future    workflow.ChildWorkflowFuture
	cancel    workflow.CancelFunc
	token     string // that the signals to and from it carry
	gate      api.Gate
	outcome   api.ComponentOutcome
	closed    bool
	err       error // why it closed, when it failed
}

// startChildren starts one child per component and follows all of them. It
// fails with RecoveryRunning when another recovery works on one of the components.
func (c *coordinator) startChildren(ctx workflow.Context) error {
	workflow.GoNamed(ctx, "reports of the components", c.follow)
	for _, component := range c.plan.Components {
		token, err := newToken(ctx)
		if err != nil {
			return err
		}
		c.startChild(ctx, component, c.plan.Backups[component.ID], token)
	}
	for _, one := range c.children {
		var execution workflow.Execution
		if err := one.future.GetChildWorkflowExecution().Get(ctx, &execution); err != nil {
			return started(one.component, err)
		}
		c.Progress.Children = append(c.Progress.Children, execution.ID)
	}
	return nil
}

func (c *coordinator) startChild(ctx workflow.Context, component system.Component, key, token string) {
	// A child hears of an abort from its coordinator, which waits for its clean-up: not from ctx.
	disconnected, _ := workflow.NewDisconnectedContext(ctx)
	childCtx, cancel := workflow.WithCancel(disconnected)
	childCtx = workflow.WithChildOptions(childCtx, workflow.ChildWorkflowOptions{
		WorkflowID:            api.ComponentRecoveryID(c.system.Name, c.target.Name, string(component.Kind), component.Name),
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		WaitForCancellation:   true,
		StaticSummary:         "recover " + component.ID + " of " + c.system.Name,
	})
	one := &child{component: component, cancel: cancel, token: token, outcome: api.ComponentOutcome{Component: component.ID}}
	one.future = workflow.ExecuteChildWorkflow(childCtx, childType(component.Kind, key), ComponentInput{
		System: c.data, Target: c.target, Component: component, Backup: key, To: c.plan.Point.For(component), Run: c.Name(), Since: c.Progress.Since, By: c.in.By,
		Token: token, Reference: c.in.References[component.ID], SearchAttributes: c.Searchable(),
	})
	c.children = append(c.children, one)
	c.Progress.Components = append(c.Progress.Components, api.ComponentView{ID: component.ID})
	workflow.GoNamed(ctx, "end of "+component.ID, func(ctx workflow.Context) {
		outlasting, _ := workflow.NewDisconnectedContext(ctx)
		var outcome api.ComponentOutcome
		one.err = one.future.Get(outlasting, &outcome)
		if one.err == nil {
			one.outcome = outcome
			one.gate = api.GateDone
		}
		one.closed = true
	})
}

// started turns the failure to start a child into what it means.
func started(component system.Component, err error) error {
	if _, ok := errors.AsType[*temporal.ChildWorkflowExecutionAlreadyStartedError](err); ok {
		return fault.New(fault.RecoveryRunning, "start recovery of", component.ID, nil).
			WithHint("wait for the run that holds it, or abort that one: temporal workflow list")
	}
	return err
}

// follow receives what the children report, for as long as the run lives.
func (c *coordinator) follow(ctx workflow.Context) {
	disconnected, _ := workflow.NewDisconnectedContext(ctx)
	channel := workflow.GetSignalChannel(disconnected, api.SignalReport)
	for {
		var told Report
		if !channel.Receive(disconnected, &told) {
			return
		}
		believed := false
		for i, one := range c.children {
			if one.component.ID != told.Component || one.token != told.Token {
				continue
			}
			believed = true
			if told.Outcome != nil {
				one.outcome = *told.Outcome
				c.Progress.Components[i].Backup = told.Outcome.Backup
			}
			if told.Gate != "" {
				one.gate = told.Gate
				c.Progress.Components[i].Gate = told.Gate
			}
			if told.Gate == api.GateDone {
				c.clocks.Stop(disconnected, one.component.ID)
			}
		}
		if !believed {
			workflow.GetLogger(ctx).Warn("a report that is no child's of this recovery is ignored", "component", told.Component)
			continue
		}
		for _, step := range told.Steps {
			c.Note(disconnected, step)
		}
	}
}

// openGate lets every child that is chosen pass to a gate and waits until they have reached it.
func (c *coordinator) openGate(ctx workflow.Context, gate api.Gate, chosen func(*child) bool) error {
	signals := map[*child]workflow.Future{}
	for _, one := range c.children {
		if chosen(one) {
			signals[one] = one.future.SignalChildWorkflow(ctx, api.SignalProceed, Proceed{Gate: gate, Token: one.token})
		}
	}
	for _, one := range c.children {
		if signal := signals[one]; signal != nil {
			if err := signal.Get(ctx, nil); err != nil && !one.closed {
				return err
			}
		}
	}
	return c.awaitGate(ctx, gate, chosen)
}

func everyChild(*child) bool { return true }

// A server may read its settings from a configuration set, so those are in
// place before it starts.
func configurations(one *child) bool { return one.component.Kind == system.KindConfiguration }
func theOthers(one *child) bool      { return !configurations(one) }

// awaitGate waits until every chosen child has reached a gate. It ends early when
// any child fails or, before the cut-over, when an operator calls the run off.
func (c *coordinator) awaitGate(ctx workflow.Context, gate api.Gate, chosen func(*child) bool) error {
	failed := func() error {
		for _, one := range c.children {
			if one.closed && one.err != nil {
				return one.err
			}
		}
		return nil
	}
	reached := func() bool {
		for _, one := range c.children {
			if !chosen(one) {
				continue
			}
			if order(one.gate) < order(gate) || (gate == api.GateDone && !one.closed) {
				return false
			}
		}
		return true
	}
	ended := func() bool {
		if c.committed {
			return c.allClosed(chosen) // the others go on to their end, whatever became of one
		}
		return failed() != nil || c.abort != nil
	}
	if err := workflow.Await(ctx, func() bool { return reached() || ended() }); err != nil {
		return err
	}
	if !c.committed {
		if err := c.calledOff(ctx); err != nil {
			return err
		}
	}
	return failed()
}

func (c *coordinator) allClosed(chosen func(*child) bool) bool {
	for _, one := range c.children {
		if chosen(one) && !one.closed {
			return false
		}
	}
	return true
}

// calledOff says whether the run was aborted or cancelled.
func (c *coordinator) calledOff(ctx workflow.Context) error {
	if c.abort != nil {
		return fault.New(fault.Aborted, "recover", c.system.Name, nil)
	}
	return ctx.Err()
}

// recallChildren cancels every child that still works and waits until each has
// taken back what it did.
func (c *coordinator) recallChildren(ctx workflow.Context) error {
	var recalled []*child
	for _, one := range c.children {
		if !one.closed {
			recalled = append(recalled, one)
		}
		one.cancel()
	}
	if err := workflow.Await(ctx, func() bool { return c.allClosed(everyChild) }); err != nil {
		return err
	}
	var left []string
	for _, one := range recalled {
		if one.err != nil && !temporal.IsCanceledError(one.err) {
			left = append(left, one.component.ID+": "+run.Reason(one.err))
		}
	}
	if len(left) > 0 {
		return fault.Newf(fault.ServerFailed, "take back the recovery of", c.system.Name, "%s", strings.Join(left, "; "))
	}
	return nil
}

func order(gate api.Gate) int {
	switch gate {
	case api.GatePrepared:
		return 1
	case api.GateReady:
		return 2
	case api.GateDone:
		return 3
	default:
		return 0
	}
}

func childType(kind system.ComponentKind, key string) string {
	switch {
	case plan.IsDump(key):
		return api.RestoreDump
	case kind == system.KindDatabase:
		return api.RestoreDatabase
	case kind == system.KindCache:
		return api.RestoreCache
	default:
		return api.RestoreFiles
	}
}
