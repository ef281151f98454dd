package recovery

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/workflows/api"
)

// answerOperators registers the updates "approve" and "abort". A refused one
// reaches the caller and leaves no trace in the history.
func (c *coordinator) answerOperators(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, api.UpdateApprove, c.approve, workflow.UpdateHandlerOptions{
		Description: "touch production now; input: {\"system\": NAME, \"by\": WHO}",
		Validator: func(ctx workflow.Context, in api.Input[api.Approval]) error {
			return temporalfault.ToTemporal(c.mayApprove(in))
		},
	})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, api.UpdateAbort, c.callOff, workflow.UpdateHandlerOptions{
		Description: "stop before the cut-over and leave the old system as it was; input: {\"by\": WHO, \"reason\": WHY}",
		Validator: func(ctx workflow.Context, in api.Input[api.Abort]) error {
			return temporalfault.ToTemporal(c.mayCallOff(in))
		},
	})
}

func (c *coordinator) mayApprove(in api.Input[api.Approval]) error {
	given, err := in.Checked(api.UpdateApprove)
	switch {
	case err != nil:
		return err
	case c.system.Name == "":
		return fault.Newf(fault.InputInvalid, "approve", given.System, "the configuration is still being read").WithHint("try again in a moment")
	case given.System != c.system.Name:
		return fault.Newf(fault.InputInvalid, "approve", given.System, "this is the recovery of %q", c.system.Name).
			WithHint(`give the name of the system that may be replaced: {"system": %q}`, c.system.Name)
	case given.Step != "" && given.Step != "cut-over":
		return fault.Newf(fault.InputInvalid, "approve", given.Step, "no step of this name waits for a person").WithHint(`the step is "cut-over"`)
	case c.approval != nil:
		return fault.Newf(fault.InputInvalid, "approve", c.system.Name, "it was approved already").WithHint("nothing more is needed")
	case c.abort != nil && c.Progress.Finished == nil:
		return fault.Newf(fault.InputInvalid, "approve", c.system.Name, "it is being aborted").WithHint("wait for its end, then start a new recovery")
	case c.Progress.Finished != nil:
		return fault.Newf(fault.InputInvalid, "approve", c.system.Name, "the run is %s", c.Progress.Phase).WithHint("start a new recovery")
	}
	return nil
}

func (c *coordinator) approve(ctx workflow.Context, in api.Input[api.Approval]) (api.Answer, error) {
	given, err := in.Checked(api.UpdateApprove)
	if err != nil {
		return api.Answer{}, temporalfault.ToTemporal(err)
	}
	c.approval = &report.Approval{Decision: "approve", Step: given.Step, By: given.By, At: workflow.Now(ctx).UTC()}
	return api.Answer{Accepted: "the recovery of " + c.system.Name + " goes on to production as soon as everything is prepared"}, nil
}

func (c *coordinator) mayCallOff(in api.Input[api.Abort]) error {
	_, err := in.Checked(api.UpdateAbort)
	switch {
	case err != nil:
		return err
	case c.committed && c.Progress.Finished == nil:
		return fault.Newf(fault.InputInvalid, "abort", c.system.Name, "the cut-over has begun").
			WithHint("the only way is forward; the old directories are kept, see the steps")
	case c.abort != nil && c.Progress.Finished == nil:
		return fault.Newf(fault.InputInvalid, "abort", c.system.Name, "it is being aborted already").
			WithHint("see it end with: lifeboat watch %s", c.Progress.ID)
	case c.Progress.Finished != nil:
		return fault.Newf(fault.InputInvalid, "abort", c.system.Name, "the run is %s", c.Progress.Phase).WithHint("nothing is left to abort")
	}
	return nil
}

func (c *coordinator) callOff(ctx workflow.Context, in api.Input[api.Abort]) (api.Answer, error) {
	given, err := in.Checked(api.UpdateAbort)
	if err != nil {
		return api.Answer{}, temporalfault.ToTemporal(err)
	}
	c.abort = &report.Approval{Decision: "abort", Step: given.Reason, By: given.By, At: workflow.Now(ctx).UTC()}
	c.Progress.Waiting = "" // nobody is asked any more
	return api.Answer{Accepted: "the recovery ends now; the old system is left as it was"}, nil
}

// awaitApproval waits for the gate before production, and passes it with an
// approval alone. A sandbox needs none.
func (c *coordinator) awaitApproval(ctx workflow.Context) error {
	if c.approval == nil && c.production() {
		ready := c.ready
		if ready == "" {
			ready = "Everything is restored beside the living system, which was not touched."
		}
		c.Progress.Waiting = fmt.Sprintf("%s To go on: `lifeboat approve %s --yes-destroy %s`, "+
			"or `temporal workflow update execute -w %s --name approve --input '{\"system\":\"%s\"}'`. To stop: `lifeboat abort %s`.",
			ready, c.Progress.ID, c.system.Name, c.Progress.ID, c.system.Name, c.Progress.ID)
		c.asked = workflow.Now(ctx).UTC()
		c.Enter(ctx, api.PhaseWaiting)
		failed := func() bool {
			for _, one := range c.children {
				if one.closed {
					return true
				}
			}
			return false
		}
		if err := workflow.Await(ctx, func() bool { return c.approval != nil || c.abort != nil || failed() }); err != nil {
			return err
		}
		c.answered = workflow.Now(ctx).UTC()
		for _, one := range c.children {
			if one.closed && one.err != nil {
				return one.err
			}
		}
	}
	if err := c.calledOff(ctx); err != nil {
		return err
	}
	if c.approval == nil && c.production() { // a child got to its end by itself
		return fault.New(fault.Unapproved, "recover", c.system.Name, nil)
	}
	return nil
}
