package drill

import (
	"cmp"
	"errors"
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/sandbox"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// drill is one rehearsal.
type drill struct {
	*run.Run
	in         api.DrillInput
	system     system.System
	target     system.Target
	from       system.Store // that alone is read
	before     footprint
	references map[string]api.Reference
	made       bool   // the sandbox is ours to clear
	child      string // ID of the recovery
	led        string // its very run, as "lifeboat report" takes it; "" until it has succeeded
	result     api.DrillResult
	checks     []report.Check
}

// System rehearses the recovery of everything (workflow type DrillSystem).
func System(ctx workflow.Context, in api.Input[api.DrillInput]) (api.DrillResult, error) {
	r, err := run.Begin(ctx, api.PhaseObserving)
	if err != nil {
		return api.DrillResult{}, err
	}
	d := &drill{Run: r, references: map[string]api.Reference{}}
	if d.in, err = in.Checked(api.DrillSystem); err != nil {
		return api.DrillResult{}, run.Failure(err)
	}
	err = d.rehearse(ctx)
	// Whatever happened, and whoever cancelled: nothing stays behind, and all of it is on record.
	outlasting, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if d.made {
		err = errors.Join(err, d.clear(outlasting))
	}
	if d.system.Name != "" && d.before != nil {
		err = errors.Join(err, d.look(outlasting))
	}
	d.end(outlasting, err)
	return d.result, run.Failure(first(err))
}

func (d *drill) rehearse(ctx workflow.Context) error {
	// Step 1. What the system is, where it is rehearsed, and from which store.
	if err := d.pin(ctx); err != nil {
		return err
	}

	// Step 2. A place of its own: not production's, and not while production is
	// being recovered. Meanwhile, production as it is before.
	prepare := func(ctx workflow.Context) error {
		var activities *sandbox.Activities
		err := d.Do(ctx, run.Step{ID: "make-sandbox", Title: "make the sandbox " + d.target.Root, Class: run.Quick}, activities.Make,
			sandbox.MakeInput{System: d.system, Target: d.target}, nil, nil)
		d.made = err == nil || temporal.IsCanceledError(err) // a cancelled one may have been made all the same
		return err
	}
	observe := func(ctx workflow.Context) error {
		before, err := d.observe(ctx, "before")
		if err == nil {
			d.before = before
		}
		return err
	}
	if err := run.All(ctx, prepare, observe); err != nil {
		return err
	}

	// Step 3. What the recovered databases are going to be held against, in the second region.
	if err := d.refer(ctx); err != nil {
		return err
	}

	// Step 4. The recovery itself.
	d.Enter(ctx, api.PhaseRehearsing)
	return d.recover(ctx)
}

// pin loads the configuration once and resolves sandbox and store.
func (d *drill) pin(ctx workflow.Context) (err error) {
	var activities *records.Activities
	var loaded records.Loaded
	if err := d.Do(ctx, run.Step{ID: "configuration", Title: "read and pin the configuration", Class: run.Quick}, activities.LoadSystem,
		records.LoadInput{System: d.in.System}, &loaded, func() string { return "plan version " + loaded.System.Plan.Version }); err != nil {
		return err
	}
	d.system = loaded.System
	d.Progress.System = d.system.Name
	d.Identify(ctx, "", loaded.SearchAttributes)
	if d.target, err = d.system.Sandbox(d.in.Target); err != nil {
		return err
	}
	d.Progress.Target = d.target.Name
	if d.in.From != "" {
		d.from, err = d.system.StoreNamed(d.in.From)
		return err
	}
	primary, err := d.system.Primary()
	if err != nil {
		return err
	}
	replica, ok := d.system.ReplicaOf(primary)
	if !ok {
		return fault.Newf(fault.ConfigInvalid, "rehearse recovery of", d.system.Name, "store %s has no replica to recover from", primary.Name).
			WithHint("a drill proves that the second region suffices: set replica at store %s, or name a store with --from", primary.Name)
	}
	d.from = replica
	return nil
}

// refer takes from every database what it holds at one position, and waits until
// the second region has the WAL up to there.
func (d *drill) refer(ctx workflow.Context) error {
	if d.target.Compare == system.CompareNone {
		d.note("databases were not compared with production: compare is none at target " + d.target.Name)
		return d.replicate(ctx)
	}
	var activities *postgres.Activities
	taken := map[string]postgres.TakeReferenceResult{}
	for _, database := range d.system.Databases {
		id := system.ComponentID(system.KindDatabase, database.Name)
		if !d.before.reached(id) {
			d.note(id + " was not compared with production, which could not be reached")
			continue
		}
		var found postgres.TakeReferenceResult
		err := d.Do(ctx, run.Step{ID: id + "/reference", Component: id, Title: "take from " + database.Name + " what it holds at one position of the WAL", Class: run.Long},
			activities.TakeReference, postgres.TakeReferenceInput{Ref: postgres.Ref{System: d.system, Component: database.Name, RunID: d.Name()}}, &found,
			func() string {
				return fmt.Sprintf("%d tables and sequences, at the end of %s", len(found.Tables), found.Segment)
			})
		if err != nil {
			return err
		}
		taken[id] = found
		d.references[id] = api.Reference{Segment: found.Segment, Tables: found.Tables}
	}
	if err := d.replicate(ctx); err != nil {
		return err
	}
	alone, err := d.system.Alone(d.from.Name)
	if err != nil {
		return err
	}
	for _, database := range d.system.Databases {
		id := system.ComponentID(system.KindDatabase, database.Name)
		found, ok := taken[id]
		if !ok {
			continue
		}
		if err := d.Do(ctx, run.Step{ID: id + "/await-replica", Component: id, Title: "await " + found.Segment + " in " + d.from.Name, Class: run.Long},
			activities.AwaitReplica, postgres.AwaitReplicaInput{
				Ref:      postgres.Ref{System: alone, Component: database.Name, RunID: d.Name()},
				SystemID: found.SystemID, Segment: found.Segment,
			}, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// replicate brings to the second region what the first one has, where that is Lifeboat's work.
func (d *drill) replicate(ctx workflow.Context) error {
	primary, err := d.system.Primary()
	if err != nil {
		return err
	}
	if primary.Replica != d.from.Name || primary.Replication == system.ReplicationNative {
		return nil
	}
	childCtx := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:          api.ReplicationID(d.system.Name, primary.Name) + "/" + d.Name(),
		ParentClosePolicy:   enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		WaitForCancellation: true,
		StaticSummary:       "copy " + primary.Name + " to " + primary.Replica,
	})
	var copied api.ReplicateResult
	return d.DoChild(childCtx, run.Step{ID: "second-region", Title: "bring what is new to " + d.from.Name}, api.ReplicateStore,
		api.ReplicateInput{System: d.system.Name, Store: primary.Name}, &copied,
		func() string { return fmt.Sprintf("%d objects copied", copied.Objects) })
}

// recover runs RecoverSystem into the sandbox.
func (d *drill) recover(ctx workflow.Context) error {
	since := workflow.Now(ctx).UTC()
	d.Progress.Since = since
	d.child = api.RecoveryID(d.system.Name, d.target.Name, "")
	childCtx := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            d.child,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		WaitForCancellation:   true,
		StaticSummary:         "rehearse the recovery of " + d.system.Name + " in " + d.target.Name,
	})
	d.Progress.Children = append(d.Progress.Children, d.child)
	input := api.RecoverInput{
		System: d.system.Name, Target: d.target.Name, From: d.from.Name, Since: &since, By: d.Progress.ID, References: d.references,
	}
	err := d.DoChild(childCtx, run.Step{ID: "recover", Title: "recover " + d.system.Name + " into " + d.target.Name + " from " + d.from.Name}, api.RecoverSystem,
		input, &d.result.RecoverResult, func() string { return "RTA " + d.result.RTA.Brief() })
	if err != nil {
		return err
	}
	d.led = d.child + "@" + d.result.RunID
	for _, c := range d.result.Components {
		d.result.Compared += c.Compared
	}
	return nil
}

func (d *drill) note(text string) { d.result.Notes = append(d.result.Notes, text) }

// end tells how the drill went, and files it. One that was refused is no drill:
// it neither failed nor proved anything.
func (d *drill) end(ctx workflow.Context, err error) {
	d.result.System, d.result.Target, d.result.From = d.system.Name, d.target.Name, d.from.Name
	d.result.Report, d.result.RunID = d.Progress.ID, d.Progress.RunID
	d.result.Started = d.Progress.Started
	if err != nil {
		phase := api.PhaseFailed
		if isCancelled(err) {
			phase = api.PhaseAborted
		}
		d.Fail(ctx, phase, reasons(err))
	} else {
		d.Finish(ctx, api.PhaseRecovered)
	}
	d.result.Finished = *d.Progress.Finished
	if d.system.Name == "" || run.Refused(err) {
		return
	}
	var children []string
	if d.child != "" {
		children = append(children, d.child)
	}
	var activities *records.Activities
	if filed := d.Do(ctx, run.Step{ID: "file-report", Title: "file the drill", Class: run.Quick}, activities.FileDrill,
		records.DrillInput{System: d.system, Record: d.record(err), Children: children, Proven: d.proven(err)}, nil, nil); filed != nil {
		d.Progress.Failure = joined(d.Progress.Failure, "the drill could not be filed: "+run.Reason(filed))
		d.Show(ctx)
	}
}

// proven lists the backups that came back whole, which is proof level L4: only
// a drill without any fault, on an application that answered, proves that.
func (d *drill) proven(err error) []string {
	if err != nil || len(d.target.Checks) == 0 {
		return nil
	}
	var keys []string
	for _, c := range d.result.Components {
		keys = append(keys, c.Backup)
	}
	return keys
}

func (d *drill) record(err error) report.Run {
	p := d.Progress
	record := report.Run{
		System: d.system.Name, ID: p.ID, RunID: p.RunID, Kind: p.Workflow, Target: d.target.Name, By: d.in.By, Phase: string(p.Phase),
		Outcome: report.Succeeded, Started: p.Started, Finished: *p.Finished, Objective: d.system.Objectives.RTO.System,
		Recovery: cmp.Or(d.led, d.child), Notes: d.result.Notes, Checks: append(d.recovered(), d.checks...),
	}
	if d.result.RTA > 0 {
		record.Clocks = []report.Clock{{Name: report.ClockWhole, Objective: d.result.Objective, Since: p.Since, Took: d.result.RTA, Breached: !d.result.Met}}
		record.Breached = !d.result.Met
	}
	for _, c := range d.result.Components {
		component := d.component(c.Component)
		record.Points = append(record.Points, report.Point{
			Component: c.Component, Kind: string(component.Kind), Backup: c.Backup, Timeline: c.Point.Timeline, LSN: c.Point.LSN,
			Time: c.Point.From, Until: c.Point.To, RPA: c.RPA, Objective: component.RPO, Breached: component.RPO > 0 && c.RPA > component.RPO,
			Proof: c.Proof, Bytes: c.Bytes, Rate: c.Rate,
		})
	}
	for _, step := range p.Steps {
		record.Steps = append(record.Steps, run.Recorded(step, ""))
	}
	if err != nil {
		record.Outcome = report.Failed
		if isCancelled(err) {
			record.Outcome = report.Aborted
		}
		for _, one := range each(err) {
			record.Failures = append(record.Failures, run.RecordedFailure(one))
		}
	}
	return record
}

// recovered is what was asked of that which came back: the checks of its
// application, and whether each database holds what production held.
func (d *drill) recovered() []report.Check {
	var checks []report.Check
	for _, c := range d.result.Checks {
		checks = append(checks, report.Check{Name: c.Name, OK: c.OK, Latency: c.Latency, Message: c.Message})
	}
	for _, c := range d.result.Components {
		if c.Compared > 0 { // one that differs fails the recovery
			checks = append(checks, report.Check{
				Name: c.Component + " equals production's", OK: true,
				Message: fmt.Sprintf("rows and digest of %d tables and sequences, at the end of %s", c.Compared, d.references[c.Component].Segment),
			})
		}
	}
	return checks
}

func (d *drill) component(id string) system.Component {
	for _, c := range d.system.Components() {
		if c.ID == id {
			return c
		}
	}
	return system.Component{ID: id}
}
