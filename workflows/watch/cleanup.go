package watch

import (
	"fmt"
	"path"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/activities/hosts"
	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// untouched is said in every result: what a clean-up leaves to others.
const untouched = "finished backups and WAL were not looked at: what has outlived its retention goes with lifeboat retention run"

// oldDatabases is the change from which on a clean-up looks after the databases that
// recoveries put aside.
const oldDatabases = "clean-up-old-databases"

// aside is a database that a recovery put aside.
type aside struct {
	of  system.Component
	old postgres.OldDatabase
}

// cleaning is one clean-up.
type cleaning struct {
	*run.Run
	in     api.CleanUpInput
	system system.System
	result api.CleanUpResult
	aside  []aside // databases that can't be needed any more
	failed error   // the first thing that could not be removed, and should have been
}

// CleanUp removes what is of no use to anyone: what dead writers left in the store,
// directories and databases that recoveries replaced longer ago than they can be undone, and
// directories that recoveries filled and never put in place (workflow type CleanUp).
func CleanUp(ctx workflow.Context, in api.Input[api.CleanUpInput]) (api.CleanUpResult, error) {
	r, err := run.Begin(ctx, api.PhaseCleaning)
	if err != nil {
		return api.CleanUpResult{}, err
	}
	c := &cleaning{Run: r}
	c.result = api.CleanUpResult{Started: r.Progress.Started, Removed: []api.Cleaned{}, Kept: []api.Cleaned{}, Notes: []string{untouched}}
	if err := c.cleanUp(ctx, in); err != nil {
		disconnected, cancel := workflow.NewDisconnectedContext(ctx)
		defer cancel()
		c.Fail(disconnected, api.PhaseFailed, run.Reason(err))
		return c.result, run.Failure(err)
	}
	c.Finish(ctx, api.PhaseDone)
	return c.result, nil
}

func (c *cleaning) cleanUp(ctx workflow.Context, in api.Input[api.CleanUpInput]) error {
	// Step 1. What the system is, pinned for the whole run.
	var err error
	if c.in, err = in.Checked(api.CleanUp); err != nil {
		return err
	}
	var recordActivities *records.Activities
	var loaded records.Loaded
	if err := c.Do(ctx, run.Step{ID: "configuration", Title: "read and pin the configuration", Class: run.Quick}, recordActivities.LoadSystem,
		records.LoadInput{System: c.in.System}, &loaded, nil); err != nil {
		return err
	}
	c.system = loaded.System
	c.Progress.System, c.result.System, c.result.DryRun = c.system.Name, c.system.Name, c.in.DryRun
	c.Identify(ctx, "system", loaded.SearchAttributes)

	// Step 2. What is there on the host. Nothing is changed yet.
	var hostActivities *hosts.Activities
	var left hosts.LeftoversResult
	if err := c.Do(ctx, run.Step{ID: "look", Title: "look for what recoveries left on the host", Class: run.Quick}, hostActivities.Leftovers,
		hosts.LeftoversInput{System: c.system}, &left, func() string {
			return fmt.Sprintf("%d old and %d abandoned, %d kept", len(left.Old), len(left.Staging), len(left.Kept))
		}); err != nil {
		return err
	}
	c.result.Kept = append(c.result.Kept, left.Kept...)
	if workflow.GetVersion(ctx, oldDatabases, workflow.DefaultVersion, 1) != workflow.DefaultVersion {
		c.replaced(ctx)
	}

	// ---- Destructive from here on, but for a dry run. ----

	// Step 3. Unfinished backups. One thing that can't be removed does not keep the others.
	c.sweep(ctx)

	// Step 4. Directories on the host.
	for _, old := range left.Old {
		c.expire(ctx, old)
	}
	for _, staging := range left.Staging {
		c.discard(ctx, staging)
	}
	for _, scratch := range left.Scratch {
		c.discardScratch(ctx, scratch)
	}

	// Step 5. Databases that recoveries from dumps put aside.
	for _, old := range c.aside {
		c.drop(ctx, old)
	}
	c.result.Finished = workflow.Now(ctx).UTC()
	if c.in.DryRun {
		return c.failed
	}

	// Step 6. What was removed stands on the ledger.
	err = c.Do(ctx, run.Step{ID: "record", Title: "record what was removed", Class: run.Quick}, recordActivities.RecordCleanUp,
		records.CleanUpInput{System: c.system, Run: c.Progress.ID, Result: c.result}, nil, nil)
	if c.failed != nil {
		return c.failed
	}
	return err
}

func (c *cleaning) sweep(ctx workflow.Context) {
	var activities *vault.Activities
	var swept vault.SweepResult
	title := "remove what unfinished backups left in the store"
	if c.in.DryRun {
		title = "look for what unfinished backups left in the store"
	}
	if err := c.Do(ctx, run.Step{ID: "sweep", Title: title, Class: run.Long}, activities.Sweep,
		vault.SweepInput{System: c.system, DryRun: c.in.DryRun, By: c.in.By}, &swept, func() string {
			return fmt.Sprintf("%d to remove, %d kept", len(swept.Removed), len(swept.Kept))
		}); err != nil {
		c.fail(err)
	}
	c.result.Removed = append(c.result.Removed, swept.Removed...)
	c.result.Kept = append(c.result.Kept, swept.Kept...)
	if swept.Note != "" {
		c.result.Notes = append(c.result.Notes, swept.Note)
	}
}

// replaced looks for databases that recoveries put aside. A server that is down keeps nothing
// else from being cleaned up.
func (c *cleaning) replaced(ctx workflow.Context) {
	var activities *postgres.Activities
	for _, component := range c.system.Components() {
		if component.Kind != system.KindDatabase {
			continue
		}
		var found postgres.ReplacedResult
		if err := c.Do(ctx, run.Step{ID: component.ID + "/look", Component: component.ID, Title: "look for databases that recoveries of " + component.Name + " put aside", Class: run.Quick},
			activities.ReplacedDatabases, postgres.ReplacedInput{Ref: postgres.Ref{System: c.system, Component: component.Name}}, &found, func() string {
				return fmt.Sprintf("%d old, %d kept", len(found.Old), len(found.Kept))
			}); err != nil {
			c.fail(err)
			continue
		}
		c.result.Kept = append(c.result.Kept, found.Kept...)
		if found.Why != "" {
			c.result.Notes = append(c.result.Notes, found.Why)
		}
		for _, old := range found.Old {
			c.aside = append(c.aside, aside{of: component, old: old})
		}
	}
}

func (c *cleaning) drop(ctx workflow.Context, one aside) {
	var activities *postgres.Activities
	c.remove(ctx, api.Cleaned{
		What: api.OldDatabase, Component: one.of.ID, Subject: one.old.Name,
		Why: fmt.Sprintf("recovery %s replaced it on %s, longer ago than it is kept for undo", one.old.Run, one.old.At.UTC().Format(time.RFC3339)),
	}, one.of.ID+"/drop/"+one.old.Run, activities.DropReplaced,
		postgres.DropReplacedInput{Ref: postgres.Ref{System: c.system, Component: one.of.Name, RunID: one.old.Run}, Name: one.old.Name})
}

func (c *cleaning) expire(ctx workflow.Context, old hosts.Old) {
	one := api.Cleaned{
		What: api.OldDirectory, Component: old.Component, Subject: old.Path,
		Why: fmt.Sprintf("a recovery replaced it on %s, longer ago than it is kept for undo", old.At.UTC().Format(time.RFC3339)),
	}
	if old.What == api.RecoveryJournal {
		one.What = old.What
		one.Why = fmt.Sprintf("recovery %s put %s in place of nothing on %s, longer ago than it can be undone", old.Run, old.Dir, old.At.UTC().Format(time.RFC3339))
	}
	var activities *hosts.Activities
	c.remove(ctx, one, old.Component+"/expire/"+path.Base(old.Path), activities.Expire, hosts.ExpireInput{Dir: old.Dir, Run: old.Run})
}

// discard has the component's own technology remove what its recovery left.
func (c *cleaning) discard(ctx workflow.Context, staging hosts.Staging) {
	component := staging.Component
	one := api.Cleaned{
		What: api.StagingDirectory, Component: component.ID, Subject: staging.Path,
		Why: fmt.Sprintf("recovery %s has ended and did not put it in place", staging.Run),
	}
	activity, input, err := c.discarding(component, staging.Run)
	if err != nil {
		c.keep(one, err)
		return
	}
	c.remove(ctx, one, component.ID+"/discard/"+staging.Run, activity, input)
}

// discardScratch removes what a verification restored, whose own clean-up never came. Only
// databases are restored to be looked at.
func (c *cleaning) discardScratch(ctx workflow.Context, scratch hosts.Staging) {
	component := scratch.Component
	one := api.Cleaned{
		What: api.ScratchDirectory, Component: component.ID, Subject: scratch.Path,
		Why: fmt.Sprintf("run %s has ended, and only looked at it", scratch.Run),
	}
	var activities *postgres.Activities
	c.remove(ctx, one, component.ID+"/discard-scratch/"+scratch.Run, activities.DiscardScratch,
		postgres.DiscardScratchInput{Ref: postgres.Ref{System: c.system, Component: component.Name, RunID: scratch.Run}})
}

func (c *cleaning) discarding(component system.Component, runID string) (activity, input any, err error) {
	switch component.Kind {
	case system.KindDatabase:
		var activities *postgres.Activities
		return activities.DiscardRun, postgres.DiscardRunInput{Ref: postgres.Ref{System: c.system, Component: component.Name, RunID: runID}}, nil
	case system.KindCache:
		var activities *redis.Activities
		cache, err := c.system.Cache(component.Name)
		return activities.DiscardRun, redis.DiscardRunInput{Cache: cache, RunID: runID}, err
	case system.KindConfiguration:
		var activities *files.Activities
		set, err := c.system.Configuration(component.Name)
		return activities.DiscardRun, files.DiscardRunInput{Set: set, RunID: runID}, err
	default:
		var activities *files.Activities
		set, err := c.system.FileSet(component.Name)
		return activities.DiscardRun, files.DiscardRunInput{Set: set, RunID: runID}, err
	}
}

// remove runs the step that removes one thing, and notes what came of it.
func (c *cleaning) remove(ctx workflow.Context, one api.Cleaned, step string, activity, input any) {
	if !c.in.DryRun {
		title := fmt.Sprintf("remove %s %s", one.What, one.Subject)
		if err := c.Do(ctx, run.Step{ID: step, Component: one.Component, Title: title, Class: run.Long}, activity, input, nil, nil); err != nil {
			c.keep(one, err)
			return
		}
	}
	c.result.Removed = append(c.result.Removed, one)
}

// keep notes what was not removed. A refusal is an answer; anything else has
// failed, and so does the run at its end.
func (c *cleaning) keep(one api.Cleaned, err error) {
	one.Why = run.Reason(err)
	c.result.Kept = append(c.result.Kept, one)
	if kind := fault.KindOf(temporalfault.FromTemporal(err)); kind != fault.TargetRefused && kind != fault.TargetBusy {
		c.fail(err)
	}
}

func (c *cleaning) fail(err error) {
	if c.failed == nil {
		c.failed = err
	}
}
