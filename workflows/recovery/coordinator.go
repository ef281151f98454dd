package recovery

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// System recovers everything (workflow type RecoverSystem).
func System(ctx workflow.Context, in api.Input[api.RecoverInput]) (api.RecoverResult, error) {
	return recoverKinds(ctx, in, system.ComponentKinds())
}

// Databases recovers all databases, or the one named (workflow type RecoverDatabase).
func Databases(ctx workflow.Context, in api.Input[api.RecoverInput]) (api.RecoverResult, error) {
	return recoverKinds(ctx, in, []system.ComponentKind{system.KindDatabase})
}

// Caches recovers all caches, or the one named (workflow type RecoverCache).
func Caches(ctx workflow.Context, in api.Input[api.RecoverInput]) (api.RecoverResult, error) {
	return recoverKinds(ctx, in, []system.ComponentKind{system.KindCache})
}

// FileSets recovers all file sets, or the one named (workflow type RecoverFiles).
func FileSets(ctx workflow.Context, in api.Input[api.RecoverInput]) (api.RecoverResult, error) {
	return recoverKinds(ctx, in, []system.ComponentKind{system.KindFiles})
}

// Configurations recovers all configuration sets, or the one named (workflow type RecoverConfiguration).
func Configurations(ctx workflow.Context, in api.Input[api.RecoverInput]) (api.RecoverResult, error) {
	return recoverKinds(ctx, in, []system.ComponentKind{system.KindConfiguration})
}

// coordinator leads one recovery of one or more components.
type coordinator struct {
	*run.Run
	in       api.RecoverInput
	kinds    []system.ComponentKind
	system   system.System // whose records are kept, and where
	data     system.System // what is read: the system, or one store of it alone
	at       system.System // the system as it is at the target
	target   system.Target
	plan     plan.Plan
	children []*child
	clocks   *run.Clocks
	letGo    func() error // ends the hold on the system

	approval  *report.Approval  // set when the gate before production is open
	abort     *report.Approval  // set when an operator called it off
	committed bool              // the cut-over has begun; the only way is forward
	running   []string          // services that ran when this run began to stop them
	proofs    map[string]string // proof level by backup key, as the ledger has it
	ready     string            // what stands ready when a person is asked; "" is a recovery beside the living system
	asked     time.Time         // when a person was asked to approve; zero: nobody was
	answered  time.Time         // when the waiting for that was over
	notices   int
	notes     []string // for the report
	checks    []report.Check
}

func recoverKinds(ctx workflow.Context, in api.Input[api.RecoverInput], kinds []system.ComponentKind) (api.RecoverResult, error) {
	r, err := run.Begin(ctx, api.PhasePreparing)
	if err != nil {
		return api.RecoverResult{}, err
	}
	c := &coordinator{Run: r, kinds: kinds, letGo: func() error { return nil }}
	if c.in, err = in.Checked(r.Progress.Workflow); err != nil {
		return api.RecoverResult{}, run.Failure(err)
	}
	if err := c.answerOperators(ctx); err != nil {
		return api.RecoverResult{}, err
	}
	result, err := c.recover(ctx)
	if err != nil {
		err = c.giveUp(ctx, err)
	}
	if heldErr := c.letGo(); heldErr != nil {
		workflow.GetLogger(ctx).Warn("the hold on the system ended otherwise", "error", heldErr)
	}
	disconnected, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if waitErr := workflow.Await(disconnected, func() bool { return workflow.AllHandlersFinished(disconnected) }); waitErr != nil && err == nil {
		err = waitErr
	}
	return result, run.Failure(err)
}

func (c *coordinator) recover(ctx workflow.Context) (api.RecoverResult, error) {
	// Step 1. What the system is, pinned for the whole run; who is to be recovered; and nobody else meanwhile.
	if err := c.pin(ctx); err != nil {
		return api.RecoverResult{}, err
	}
	if err := c.lay(); err != nil {
		return api.RecoverResult{}, err
	}
	if err := c.hold(ctx); err != nil {
		return api.RecoverResult{}, err
	}
	c.startClocks(ctx)

	// Step 2. Every component is restored beside the living one.
	if err := c.startChildren(ctx); err != nil {
		return api.RecoverResult{}, err
	}
	if err := c.awaitGate(ctx, api.GatePrepared, everyChild); err != nil {
		return api.RecoverResult{}, err
	}

	// Step 3. A person says that production may be touched.
	if err := c.awaitApproval(ctx); err != nil {
		return api.RecoverResult{}, err
	}

	// Step 4. Services stop, old servers are fenced, the last WAL comes in, all content is verified.
	c.Enter(ctx, api.PhaseStopping)
	if err := c.stopServices(ctx); err != nil {
		return api.RecoverResult{}, err
	}
	c.Enter(ctx, api.PhaseFencing)
	if err := c.openGate(ctx, api.GateReady, everyChild); err != nil {
		return api.RecoverResult{}, err
	}
	if err := c.recordPoints(ctx); err != nil {
		return api.RecoverResult{}, err
	}

	// ---- Destructive from here on; the only way is forward. ----
	if err := c.calledOff(ctx); err != nil {
		return api.RecoverResult{}, err
	}
	c.committed = true
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()

	// Step 5. All components take their places together, settings before the servers that read them.
	c.Enter(ctx, api.PhaseCuttingOver)
	for _, chosen := range []func(*child) bool{configurations, theOthers} {
		if err := c.openGate(ctx, api.GateDone, chosen); err != nil {
			return api.RecoverResult{}, err
		}
	}

	// Step 6. The application comes back and answers.
	if err := c.reopen(ctx); err != nil {
		return api.RecoverResult{}, err
	}

	// Step 7. The clocks have stopped: tell, record, and protect the new timeline.
	// The system is back; what fails from here on is told and changes nothing of that.
	for _, clock := range c.Progress.Clocks {
		c.clocks.Stop(ctx, clock.Name)
	}
	c.Finish(ctx, api.PhaseRecovered)
	result := c.result()
	if err := c.file(ctx, report.Succeeded, nil); err != nil {
		c.remark(ctx, "the report could not be filed: "+run.Reason(err))
		result.Report = ""
	}
	if err := c.startNewBackup(ctx); err != nil {
		c.remark(ctx, "the first backup of the new timeline was not started, start one: "+run.Reason(err))
	}
	return result, nil
}

// remark adds what people should know to the progress.
func (c *coordinator) remark(ctx workflow.Context, text string) {
	if c.Progress.Failure != "" {
		text = c.Progress.Failure + "; " + text
	}
	c.Progress.Failure = text
	c.Show(ctx)
}

// pinning is the ID of the step before all others.
const pinning = "configuration"

// pin loads the configuration once; everything after works on this copy.
func (c *coordinator) pin(ctx workflow.Context) error {
	var activities *records.Activities
	var loaded records.Loaded
	if err := c.Do(ctx, run.Step{ID: pinning, Title: "read and pin the configuration", Class: run.Quick}, activities.LoadSystem,
		records.LoadInput{System: c.in.System, Target: c.in.Target}, &loaded,
		func() string { return "plan version " + loaded.System.Plan.Version + ", target " + loaded.Target.Name }); err != nil {
		return err
	}
	c.system, c.data, c.target = loaded.System, loaded.System, loaded.Target
	if err := c.choose(); err != nil {
		return err
	}
	c.Progress.System, c.Progress.Target = c.system.Name, c.target.Name
	c.Identify(ctx, "", loaded.SearchAttributes)
	if c.in.Since != nil {
		if c.in.Since.After(c.Progress.Started) {
			return fault.Newf(fault.InputInvalid, "read input of", c.Progress.Workflow, "since %s lies in the future", c.in.Since.Format(time.RFC3339))
		}
		c.Progress.Since = c.in.Since.UTC()
	}
	if c.in.YesDestroy != "" {
		if c.in.YesDestroy != c.system.Name {
			return fault.Newf(fault.InputInvalid, "read input of", c.Progress.Workflow, "yes_destroy names %q, the system is %q", c.in.YesDestroy, c.system.Name)
		}
		if c.approval == nil {
			c.approval = &report.Approval{Decision: "approve", By: c.in.By, At: c.Progress.Started}
		}
	}
	return nil
}

// choose decides what is read and where records go. Production that comes back
// from one store alone has that store only; a rehearsal reads it and writes
// nothing there, as its records belong to the living system.
func (c *coordinator) choose() (err error) {
	if c.in.From != "" {
		if c.data, err = c.system.Alone(c.in.From); err != nil {
			return err
		}
		if c.production() {
			c.system = c.data
		}
	}
	c.at, _, err = c.data.ForTarget(c.target.Name)
	return err
}

// lay resolves the plan: who is recovered, from what, in which order.
func (c *coordinator) lay() error {
	var ids []string
	for _, component := range c.system.Components() {
		if slices.Contains(c.kinds, component.Kind) && (c.in.Component == "" || c.in.Component == component.Name) {
			ids = append(ids, component.ID)
		}
	}
	if len(ids) == 0 {
		return fault.Newf(fault.InputInvalid, "plan recovery of", c.system.Name, "%s recovers none named %q", c.Progress.Workflow, c.in.Component).
			WithHint("see the components with: lifeboat config check")
	}
	var err error
	c.plan, err = plan.Recovery(c.system, plan.Options{Components: ids, Target: c.target.Name, To: c.in.To, Backups: c.in.Backups})
	if err == nil && c.plan.Point.Time.After(c.Progress.Started) {
		return fault.Newf(fault.InputInvalid, "read recovery point", c.in.To, "it lies in the future").
			WithHint("check the offset; the run began at %s", c.Progress.Started.Format(time.RFC3339))
	}
	return err
}
