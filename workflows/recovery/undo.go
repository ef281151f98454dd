package recovery

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/activities/hosts"
	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// undo takes one recovery of production back. It leads as a coordinator does, and
// has no children: what it does to a component are a few renames.
type undo struct {
	*coordinator
	id        string // of the recovery, as it was asked for
	of        report.Run
	held      hosts.HoldKeptResult
	databases map[string]postgres.UndoPreflightResult // by component ID
	back      []undoing                               // newest last; done when it does not come to the cut-over
	undone    []api.UndoneComponent
}

// Undo puts what a recovery of production replaced back in its place (workflow type UndoRecovery).
func Undo(ctx workflow.Context, in api.Input[api.UndoInput]) (api.UndoResult, error) {
	r, err := run.Begin(ctx, api.PhasePreparing)
	if err != nil {
		return api.UndoResult{}, err
	}
	u := &undo{coordinator: &coordinator{Run: r, letGo: func() error { return nil }}, databases: map[string]postgres.UndoPreflightResult{}}
	asked, err := in.Checked(api.UndoRecovery)
	if err == nil && asked.ID == "" {
		err = fault.Newf(fault.InputInvalid, "read input of", api.UndoRecovery, "it names no recovery").WithHint("see the recoveries with: lifeboat report")
	}
	if err != nil {
		return api.UndoResult{}, run.Failure(err)
	}
	u.id, u.in = asked.ID, api.RecoverInput{System: asked.System, YesDestroy: asked.YesDestroy, By: asked.By}
	u.ready = "What " + asked.ID + " replaced is kept and can be put back; nothing was touched."
	if err := u.answerOperators(ctx); err != nil {
		return api.UndoResult{}, err
	}
	result, err := u.run(ctx)
	if err != nil {
		if !u.committed {
			if backErr := takeBack(ctx, u.Run, u.back); backErr != nil {
				err = fault.Newf(fault.ServerFailed, "undo", u.id, "%s; and it could not all be left as it was: %s", run.Reason(err), run.Reason(backErr))
			}
		}
		err = u.giveUp(ctx, err)
	}
	if heldErr := u.letGo(); heldErr != nil {
		workflow.GetLogger(ctx).Warn("the hold on the system ended otherwise", "error", heldErr)
	}
	disconnected, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if waitErr := workflow.Await(disconnected, func() bool { return workflow.AllHandlersFinished(disconnected) }); waitErr != nil && err == nil {
		err = waitErr
	}
	return result, run.Failure(err)
}

func (u *undo) run(ctx workflow.Context) (api.UndoResult, error) {
	// Step 1. What the system is, which recovery it is about, and nobody else meanwhile.
	if err := u.pin(ctx); err != nil {
		return api.UndoResult{}, err
	}
	if err := u.find(ctx); err != nil {
		return api.UndoResult{}, err
	}
	if err := u.hold(ctx); err != nil {
		return api.UndoResult{}, err
	}
	u.clocks = u.NewClocks(u.notice)
	u.clocks.Start(ctx, api.Clock{Name: report.ClockWhole, Since: u.Progress.Since})

	// Step 2. All that can be known before anything is touched; no clean-up removes it from here on.
	if err := u.look(ctx); err != nil {
		return api.UndoResult{}, err
	}

	// Step 3. A person says that production may be touched.
	if err := u.awaitApproval(ctx); err != nil {
		return api.UndoResult{}, err
	}

	// Step 4. Services stop, recovered servers take no more writes and stop.
	u.Enter(ctx, api.PhaseStopping)
	if err := u.stopServices(ctx); err != nil {
		return api.UndoResult{}, err
	}
	u.Enter(ctx, api.PhaseFencing)
	if err := u.endRecovered(ctx); err != nil {
		return api.UndoResult{}, err
	}

	// ---- Destructive from here on; the only way is forward. ----
	if err := u.calledOff(ctx); err != nil {
		return api.UndoResult{}, err
	}
	u.committed = true
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()

	// Step 5. What was kept takes its place again, settings before the servers that read them.
	u.Enter(ctx, api.PhaseCuttingOver)
	for _, kept := range u.held.Kept {
		if err := u.putBack(ctx, kept); err != nil {
			return api.UndoResult{}, err
		}
	}

	// Step 6. The application comes back and answers.
	if err := u.reopen(ctx); err != nil {
		return api.UndoResult{}, err
	}

	// Step 7. Tell, record, and protect the new timeline.
	for _, clock := range u.Progress.Clocks {
		u.clocks.Stop(ctx, clock.Name)
	}
	u.Finish(ctx, api.PhaseDone)
	result := u.result()
	if err := u.file(ctx, report.Succeeded, nil); err != nil {
		u.remark(ctx, "the report could not be filed: "+run.Reason(err))
		result.Report = ""
	}
	for _, kept := range u.held.Kept {
		if kept.Component.Kind != system.KindDatabase {
			continue
		}
		if err := u.startFirstBackup(ctx, kept.Component, "an undo"); err != nil {
			u.remark(ctx, "the first backup of the new timeline was not started, start one: "+run.Reason(err))
		}
	}
	return result, nil
}

// find finds the recovery on the ledger, and refuses what can't be one that is undone.
func (u *undo) find(ctx workflow.Context) error {
	var activities *records.Activities
	var found records.FoundRun
	if err := u.Do(ctx, run.Step{ID: "find-run", Title: "find " + u.id + " on the ledger", Class: run.Quick}, activities.FindRun,
		records.FindRunInput{System: u.system, ID: u.id}, &found, func() string {
			return fmt.Sprintf("%s of %s, %s", found.Run.Kind, found.Run.Started.UTC().Format("2006-01-02 15:04:05"), found.Run.Outcome)
		}); err != nil {
		return err
	}
	u.of = found.Run
	const op = "undo"
	switch {
	case u.of.Kind == api.DrillSystem:
		return fault.Newf(fault.InputInvalid, op, u.id, "it is a drill, which replaced nothing").WithHint("nothing is left to undo")
	case u.of.Kind != api.UndoRecovery && !strings.HasPrefix(u.of.Kind, "Recover"):
		return fault.Newf(fault.InputInvalid, op, u.id, "it is a run of %s, and no recovery", u.of.Kind).WithHint("see the recoveries with: lifeboat report")
	case u.of.Target != "" && u.of.Target != u.target.Name:
		return fault.Newf(fault.InputInvalid, op, u.id, "it went to target %s, and replaced nothing of production", u.of.Target).WithHint("nothing is left to undo")
	case !found.CutOver:
		return fault.Newf(fault.TargetRefused, op, u.id, "it %s before its cut-over, and replaced nothing", u.of.Outcome).
			WithHint("nothing is left to undo; see the recoveries with: lifeboat report")
	}
	for _, point := range u.of.Points {
		if plan.IsDump(point.Backup) {
			return fault.Newf(fault.Unsupported, op, u.id, "%s came back from a dump: its database was renamed, no directory was replaced", point.Component).
				WithHint("rename the two databases by hand: docs/adr/0006-a-dump-is-restored-beside-and-swapped-by-name.md")
		}
	}
	return nil
}

// look finds what is kept, holds it for this run, and checks it.
func (u *undo) look(ctx workflow.Context) error {
	var activities *hosts.Activities
	var recovered []string
	for _, point := range u.of.Points {
		recovered = append(recovered, point.Component)
	}
	if err := u.Do(ctx, run.Step{ID: "hold-kept", Title: "find and hold what " + u.id + " replaced", Class: run.Quick}, activities.HoldKept,
		hosts.HoldKeptInput{System: u.system, Of: u.of.RunID, Components: recovered, Run: u.Name()}, &u.held, func() string {
			var told []string
			for _, one := range u.held.Kept {
				told = append(told, one.Old)
			}
			return strings.Join(append(told, u.held.Notes...), ", ")
		}); err != nil {
		return err
	}
	u.notes = append(u.notes, u.held.Notes...)
	u.back = append(u.back, undoing{
		step:     run.Step{ID: "let-go", Title: "give up what was held", Class: run.Long},
		activity: activities.LetGo, input: hosts.LetGoInput{Kept: u.held.Kept, Run: u.Name()},
	})
	for _, kept := range u.held.Kept {
		u.plan.Components = append(u.plan.Components, kept.Component)
		u.Progress.Components = append(u.Progress.Components, api.ComponentView{ID: kept.Component.ID})
		if kept.Component.Kind != system.KindDatabase {
			continue
		}
		var databases *postgres.Activities
		var found postgres.UndoPreflightResult
		if err := u.Do(ctx, u.step(kept, "preflight", "check the kept "+kept.Component.Name, run.Quick), databases.UndoPreflight,
			postgres.UndoPreflightInput{Ref: u.ref(kept), Of: kept.Of}, &found, func() string {
				return fmt.Sprintf("it had written to %s on timeline %d; the recovered server is %s", found.LSN, found.Timeline, found.Live)
			}); err != nil {
			return err
		}
		u.databases[kept.Component.ID] = found
		u.back = append(u.back, undoing{
			step:     u.step(kept, "discard", "leave the recovered "+kept.Component.Name+" as it is", run.Long),
			activity: databases.Discard, input: postgres.DiscardInput{Ref: u.ref(kept), Place: found.Place},
		})
	}
	return nil
}

func (u *undo) step(kept hosts.Kept, name, title string, class run.Class) run.Step {
	return run.Step{ID: kept.Component.ID + "/" + name, Component: kept.Component.ID, Title: title, Class: class}
}

func (u *undo) ref(kept hosts.Kept) postgres.Ref {
	return postgres.Ref{System: u.data, Component: kept.Component.Name, RunID: u.Name()}
}

// endRecovered ends the writes of the recovered database servers. It can still be taken back.
func (u *undo) endRecovered(ctx workflow.Context) error {
	var activities *postgres.Activities
	for _, kept := range u.held.Kept {
		found, ok := u.databases[kept.Component.ID]
		if !ok {
			continue
		}
		name := kept.Component.Name
		var fenced postgres.FenceResult
		if err := u.Do(ctx, u.step(kept, "fence", "fence the recovered "+name, run.Long), activities.Fence,
			postgres.FenceInput{Ref: u.ref(kept), Place: found.Place, Facts: postgres.Facts{SystemID: found.SystemID}}, &fenced,
			func() string { return fenced.Note }); err != nil {
			return err
		}
		var ended postgres.TerminateConnectionsResult
		if err := u.Do(ctx, u.step(kept, "terminate-connections", "terminate connections to "+name+" and stop it", run.Long), activities.TerminateConnections,
			postgres.TerminateConnectionsInput{Ref: u.ref(kept), Place: found.Place}, &ended, func() string { return ended.Note }); err != nil {
			return err
		}
	}
	return nil
}

// putBack puts what is kept of one component in its place.
func (u *undo) putBack(ctx workflow.Context, kept hosts.Kept) error {
	component := kept.Component
	step := u.step(kept, "cut-over", "put the old "+component.Name+" back in place", run.Decisive)
	one := api.UndoneComponent{Component: component.ID, Dir: kept.Dir}
	switch component.Kind {
	case system.KindDatabase:
		if err := u.putBackDatabase(ctx, kept, &one); err != nil {
			return err
		}
	case system.KindCache:
		cache, err := u.system.Cache(component.Name)
		if err != nil {
			return err
		}
		var activities *redis.Activities
		var swapped redis.UndoCutOverResult
		if err := u.Do(ctx, step, activities.UndoCutOver, redis.UndoCutOverInput{System: u.system, Cache: cache, Of: kept.Of, RunID: u.Name()}, &swapped,
			func() string {
				return fmt.Sprintf("%d keys served; what was recovered is kept as %s", swapped.Keys, swapped.Kept)
			}); err != nil {
			return err
		}
		one.Kept = []string{swapped.Kept}
	default:
		set, _, err := fileSet(ComponentInput{System: u.system, Target: u.target, Component: component})
		if err != nil {
			return err
		}
		var activities *files.Activities
		var swapped files.UndoCutOverResult
		if err := u.Do(ctx, step, activities.UndoCutOver, files.UndoCutOverInput{Set: set, Of: kept.Of, RunID: u.Name()}, &swapped,
			func() string { return "what was recovered is kept as " + swapped.Kept + leftOut(swapped.Left) }); err != nil {
			return err
		}
		one.Kept = []string{swapped.Kept}
	}
	u.undone = append(u.undone, one)
	u.notes = append(u.notes, fmt.Sprintf("%s: %s is as it was before %s; what was recovered is kept as %s", component.ID, kept.Dir, u.of.ID, strings.Join(one.Kept, ", ")))
	if at := slices.IndexFunc(u.Progress.Components, func(view api.ComponentView) bool { return view.ID == component.ID }); at >= 0 {
		u.Progress.Components[at].Gate = api.GateDone
	}
	return nil
}

func (u *undo) putBackDatabase(ctx workflow.Context, kept hosts.Kept, one *api.UndoneComponent) error {
	found, name := u.databases[kept.Component.ID], kept.Component.Name
	var activities *postgres.Activities
	var swapped postgres.UndoCutOverResult
	if err := u.Do(ctx, u.step(kept, "cut-over", "put the old "+name+" back in place and start it", run.Decisive), activities.UndoCutOver,
		postgres.UndoCutOverInput{
			Ref: u.ref(kept), Of: kept.Of, Place: found.Place, SystemID: found.SystemID, SegmentSize: found.SegmentSize, Timeline: found.Timeline, LSN: found.LSN,
		}, &swapped, func() string {
			return strings.TrimSuffix("what was recovered is kept as "+strings.Join(swapped.Kept, ", ")+"; "+swapped.Note, "; ")
		}); err != nil {
		return err
	}
	var promoted postgres.PromoteResult
	if err := u.Do(ctx, u.step(kept, "promote", "promote "+name, run.Decisive), activities.Promote,
		postgres.PromoteInput{Ref: u.ref(kept), Place: found.Place, Timeline: found.Timeline}, &promoted, func() string {
			return fmt.Sprintf("timeline %d from %s: the next recovery follows it", promoted.Timeline, promoted.LSN)
		}); err != nil {
		return err
	}
	one.Kept, one.Timeline, one.LSN = swapped.Kept, promoted.Timeline, promoted.LSN.String()
	return nil
}

func (u *undo) result() api.UndoResult {
	result := api.UndoResult{
		System: u.system.Name, Undone: u.of.ID, UndoneRun: u.of.RunID, Report: u.Progress.ID, RunID: u.Progress.RunID,
		Started: u.Progress.Started, Finished: *u.Progress.Finished, Components: u.undone, Notes: u.held.Notes,
	}
	for _, check := range u.checks {
		result.Checks = append(result.Checks, api.Check{Name: check.Name, OK: check.OK, Latency: check.Latency, Message: check.Message})
	}
	return result
}
