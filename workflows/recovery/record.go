package recovery

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// startClocks starts the clocks of the whole, of what is critical, and of each component.
func (c *coordinator) startClocks(ctx workflow.Context) {
	c.clocks = c.NewClocks(c.notice)
	rto := c.system.Objectives.RTO
	c.clocks.Start(ctx, api.Clock{Name: "whole", Objective: c.plan.Objective, Since: c.Progress.Since})
	critical := false
	for _, component := range c.plan.Components {
		critical = critical || component.Critical
	}
	if critical {
		c.clocks.Start(ctx, api.Clock{Name: "critical", Critical: true, Objective: rto.Critical, Since: c.Progress.Since})
	}
	for _, component := range c.plan.Components {
		c.clocks.Start(ctx, api.Clock{Name: component.ID, Critical: component.Critical, Objective: component.RTO, Since: c.Progress.Since})
	}
}

// notice puts the passing of a mark on record. The recovery never waits for it,
// and a notice that can't be filed stops nothing: it stands in the progress, too.
func (c *coordinator) notice(ctx workflow.Context, text string) {
	var activities *records.Activities
	c.notices++
	step := run.Step{ID: fmt.Sprintf("notice/%d", c.notices), Title: text, Class: run.Quick}
	if err := c.Do(ctx, step, activities.Notice, records.NoticeInput{System: c.system, Run: c.Progress.ID, Text: text}, nil, nil); err != nil {
		workflow.GetLogger(ctx).Warn("notice was not filed", "notice", text, "error", err)
	}
}

// recordPoints puts the recovery point and RPA of each component on the ledger
// before anything is cut over, and before anybody looks at what came back. A
// recovery does not stand still because the ledger is damaged or its store lost,
// too: whatever keeps the record from being made is told. It fails only when the
// run is called off.
func (c *coordinator) recordPoints(ctx workflow.Context) error {
	var activities *records.Activities
	var recorded records.PointsResult
	err := c.Do(ctx, run.Step{ID: "record-recovery-point", Title: "record the recovery point", Class: run.Brief}, activities.RecordPoints,
		records.PointsInput{System: c.system, Run: c.Progress.ID + "@" + c.Progress.RunID, Points: c.points()}, &recorded,
		func() string { return strings.Join(recorded.Notes, "; ") })
	if isCancellation(err) {
		return err
	}
	if err != nil {
		c.remark(ctx, "the recovery point was not recorded: "+run.Reason(err))
	}
	c.proofs = map[string]string{}
	for _, point := range recorded.Points {
		c.proofs[point.Backup] = point.Proof
	}
	return nil
}

func (c *coordinator) points() []report.Point {
	points := make([]report.Point, 0, len(c.children))
	for _, one := range c.children {
		o := one.outcome
		if o.Backup == "" {
			continue
		}
		rpa := c.rpa(o)
		var passed []report.PassedOver
		for _, newer := range o.PassedOver {
			passed = append(passed, report.PassedOver(newer))
		}
		points = append(points, report.Point{
			Component: one.component.ID, Kind: string(one.component.Kind), Backup: o.Backup,
			Timeline: o.Point.Timeline, LSN: o.Point.LSN, Time: o.Point.From, Asked: o.Asked, Until: o.Point.To,
			RPA: rpa, Proof: c.proofs[o.Backup], Objective: one.component.RPO, Breached: one.component.RPO > 0 && rpa > one.component.RPO,
			PassedOver: passed,
		})
	}
	return points
}

// rpa is how much a component lost: from its recovery point to the disaster.
func (c *coordinator) rpa(o api.ComponentOutcome) system.Duration {
	return system.Duration(max(0, c.Progress.Since.Sub(o.Point.From)))
}

func (c *coordinator) result() api.RecoverResult {
	rta := c.Progress.Finished.Sub(c.Progress.Since)
	result := api.RecoverResult{
		System: c.system.Name, Target: c.target.Name, Report: c.Progress.ID, RunID: c.Progress.RunID,
		Started: c.Progress.Started, Finished: *c.Progress.Finished,
		RTA: system.Duration(rta), Objective: c.plan.Objective,
		Met: c.plan.Objective <= 0 || rta <= time.Duration(c.plan.Objective),
	}
	for _, one := range c.children {
		one.outcome.RPA = c.rpa(one.outcome)
		one.outcome.Proof = c.proofs[one.outcome.Backup]
		one.outcome.Rate = c.rate(one)
		result.Components = append(result.Components, one.outcome)
	}
	for _, check := range c.checks {
		result.Checks = append(result.Checks, api.Check{Name: check.Name, OK: check.OK, Latency: check.Latency, Message: check.Message})
	}
	return result
}

// rate is how fast a component was restored, in bytes per second; 0 when that is not known.
func (c *coordinator) rate(of *child) int64 {
	for _, step := range c.Progress.Steps {
		if step.ID == of.component.ID+"/restore" && step.Finished != nil {
			return rate(of.outcome.Bytes-of.outcome.Resumed, step.Finished.Sub(step.Started))
		}
	}
	return 0
}

// file writes the run's record to the ledger.
func (c *coordinator) file(ctx workflow.Context, outcome report.Outcome, cause error) error {
	var activities *records.Activities
	return c.Do(ctx, run.Step{ID: "file-report", Title: "file the report", Class: run.Quick}, activities.FileReport,
		records.ReportInput{System: c.system, Record: c.record(outcome, cause), Children: c.Progress.Children}, nil, nil)
}

func (c *coordinator) record(outcome report.Outcome, cause error) report.Run {
	p := c.Progress
	record := report.Run{
		System: c.system.Name, ID: p.ID, RunID: p.RunID, Kind: p.Workflow, Target: c.target.Name, By: c.in.By,
		Phase: string(p.Phase), Outcome: outcome, Started: p.Started, Objective: c.plan.Objective,
		Points: c.points(), Checks: c.checks, Notes: c.notes,
	}
	if c.in.Since != nil {
		record.Disaster = p.Since
	}
	if p.Finished != nil {
		record.Finished = *p.Finished
		record.Breached = record.Objective > 0 && p.Finished.Sub(p.Since) > time.Duration(record.Objective)
	}
	for _, clock := range p.Clocks {
		end := record.Finished
		if clock.Stopped != nil {
			end = *clock.Stopped
		}
		took := end.Sub(clock.Since)
		record.Clocks = append(record.Clocks, report.Clock{
			Name: clock.Name, Objective: clock.Objective, Since: clock.Since, Took: system.Duration(took),
			Breached: clock.Objective > 0 && took > time.Duration(clock.Objective),
			Open:     clock.Stopped == nil && outcome != report.Succeeded,
		})
	}
	for _, decision := range []*report.Approval{c.approval, c.abort} {
		if decision != nil {
			record.Approvals = append(record.Approvals, *decision)
		}
	}
	c.recordSteps(&record)
	for _, one := range c.children {
		for _, f := range one.outcome.Fallbacks {
			record.Fallbacks = append(record.Fallbacks, report.Fallback(f))
		}
	}
	if cause != nil {
		record.Failures = append(record.Failures, run.RecordedFailure(cause))
	}
	return record
}

// recordSteps puts the steps on the record: those that ran, and the wait for a
// person; and marks those that decided how long it all took.
func (c *coordinator) recordSteps(record *report.Run) {
	phases := map[string]string{}
	for _, step := range c.plan.Steps {
		phases[step.ID] = string(step.Phase)
	}
	for _, step := range c.Progress.Steps {
		record.Steps = append(record.Steps, run.Recorded(step, phases[step.ID]))
	}
	if waited := c.waited(record); waited != nil {
		later := slices.IndexFunc(record.Steps, func(step report.Step) bool { return !step.Started.Before(waited.Started) })
		if later < 0 {
			later = len(record.Steps)
		}
		record.Steps = slices.Insert(record.Steps, later, *waited)
	}
	took := map[string]time.Duration{}
	for i := range record.Steps {
		took[record.Steps[i].ID] = record.Steps[i].Took(record.Finished)
	}
	path, critical := c.plan.CriticalPath(took)
	path = append(path, pinning) // comes before the plan, which is made of it
	record.Critical = system.Duration(critical + took[pinning])
	for i := range record.Steps {
		step := &record.Steps[i]
		step.Critical = slices.Contains(path, step.ID)
		for _, one := range c.children {
			if step.ID == one.component.ID+"/restore" {
				step.Bytes, step.Total, step.Resumed = one.outcome.Bytes, one.outcome.Bytes, one.outcome.Resumed
				step.Rate = rate(step.Bytes-step.Resumed, took[step.ID])
			}
		}
	}
}

// rate is in bytes per second; 0 for so few bytes that the time tells nothing about them.
func rate(bytes int64, took time.Duration) int64 {
	if bytes < 1<<20 || took <= 0 {
		return 0
	}
	return int64(float64(bytes) / took.Seconds())
}

// waited is the time in which a person was waited for; nil when nobody was.
func (c *coordinator) waited(record *report.Run) *report.Step {
	if c.asked.IsZero() {
		return nil
	}
	step := &report.Step{
		ID: plan.Approve, Title: "wait until a person approves", Phase: string(plan.Fence), Waited: true,
		Started: c.asked, Finished: c.answered, Outcome: report.Skipped,
	}
	if step.Finished.IsZero() {
		step.Finished = record.Finished
	}
	switch {
	case c.abort != nil:
		step.Outcome = report.Aborted
	case c.approval != nil:
		step.Outcome = report.Succeeded
	}
	return step
}

// giveUp ends a run that failed or was called off: every child takes back what
// it did, the old system's services run again, the record is filed, but not of a
// run that was refused: under the same ID stands the one that it had to leave
// alone. It returns the error that the workflow ends with.
func (c *coordinator) giveUp(ctx workflow.Context, cause error) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	phase, outcome := api.PhaseFailed, report.Failed
	if c.abort != nil || isCancellation(cause) {
		phase, outcome = api.PhaseAborted, report.Aborted
	}
	if c.clocks != nil {
		c.clocks.Silence()
	}
	var after []string
	if !c.committed {
		if err := c.recallChildren(ctx); err != nil {
			after = append(after, run.Reason(err))
		}
		if err := c.restartServices(ctx); err != nil {
			after = append(after, "services were not started again: "+run.Reason(err))
		}
	}
	reason := run.Reason(cause)
	for _, more := range after {
		reason += "; " + more
	}
	c.Fail(ctx, phase, reason)
	if c.system.Name == "" || run.Refused(cause) {
		return cause
	}
	if err := c.file(ctx, outcome, cause); err != nil {
		c.remark(ctx, "the report could not be filed: "+run.Reason(err))
	}
	return cause
}

// startNewBackup begins a base backup of every recovered database: the new
// timeline has none yet. It outlives this run and is not part of its time.
func (c *coordinator) startNewBackup(ctx workflow.Context) error {
	if !c.production() {
		return nil
	}
	for _, one := range c.children {
		if one.component.Kind != system.KindDatabase {
			continue
		}
		if err := c.startFirstBackup(ctx, one.component, "its recovery"); err != nil {
			return err
		}
	}
	return nil
}

// startFirstBackup begins the first base backup of a database after what gave it a new timeline.
func (c *coordinator) startFirstBackup(ctx workflow.Context, component system.Component, after string) error {
	outliving, _ := workflow.NewDisconnectedContext(ctx) // never cancelled: a cancelled context would recall the backup
	childCtx := workflow.WithChildOptions(outliving, workflow.ChildWorkflowOptions{
		WorkflowID:        api.BackupID(c.system.Name, string(component.Kind), component.Name, workflow.Now(ctx)),
		ParentClosePolicy: enums.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary:     "first backup of " + component.Name + " after " + after,
	})
	input := api.BackupInput{System: c.system.Name, Component: component.Name, By: c.Progress.ID, From: c.in.From}
	return workflow.ExecuteChildWorkflow(childCtx, api.BackupDatabase, input).GetChildWorkflowExecution().Get(ctx, nil)
}
