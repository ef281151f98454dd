package watch

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// lateAfter is how long a completed segment may take to be in the store: PostgreSQL
// tries a failed one again each minute.
const lateAfter = 10 * time.Minute

// archiveCheck is one check.
type archiveCheck struct {
	*run.Run
	system system.System
	result api.CheckArchiveResult
}

// CheckArchive holds WAL archives against what their servers believe to be in them
// (workflow type CheckArchive). What can be pushed again, is. WAL that is lost
// fails the run with WALGap, after a new base backup was begun: from its start on
// nothing is missing.
func CheckArchive(ctx workflow.Context, in api.Input[api.CheckArchiveInput]) (api.CheckArchiveResult, error) {
	r, err := run.Begin(ctx, api.PhaseObserving)
	if err != nil {
		return api.CheckArchiveResult{}, err
	}
	c := &archiveCheck{Run: r, result: api.CheckArchiveResult{Archives: []api.ArchiveChecked{}}}
	if err := c.check(ctx, in); err != nil {
		disconnected, cancel := workflow.NewDisconnectedContext(ctx)
		defer cancel()
		c.Fail(disconnected, api.PhaseFailed, run.Reason(err))
		return c.result, run.Failure(err)
	}
	c.Finish(ctx, api.PhaseDone)
	return c.result, nil
}

func (c *archiveCheck) check(ctx workflow.Context, in api.Input[api.CheckArchiveInput]) error {
	// Step 1. What the system is, pinned for the whole run.
	given, err := in.Checked(api.CheckArchive)
	if err != nil {
		return err
	}
	if given.Late < 0 {
		return fault.Newf(fault.InputInvalid, "read input of", api.CheckArchive, "late is negative")
	}
	late := given.Late.Std()
	if late == 0 {
		late = lateAfter
	}
	var recordActivities *records.Activities
	var loaded records.Loaded
	if err := c.Do(ctx, run.Step{ID: "configuration", Title: "read and pin the configuration", Class: run.Quick}, recordActivities.LoadSystem,
		records.LoadInput{System: given.System}, &loaded, nil); err != nil {
		return err
	}
	c.system = loaded.System
	c.Progress.System, c.result.System = c.system.Name, c.system.Name
	databases := c.system.Databases
	if given.Component != "" {
		one, err := c.system.Database(given.Component)
		if err != nil {
			return err
		}
		databases = []system.Database{one}
	}

	// Step 2. Each archive. One that can't be looked at does not keep the others.
	return run.All(ctx, every(databases, func(ctx workflow.Context, d system.Database) error { return c.one(ctx, d, late) })...)
}

func every[T any](all []T, do func(workflow.Context, T) error) []func(workflow.Context) error {
	var each []func(workflow.Context) error
	for _, one := range all {
		each = append(each, func(ctx workflow.Context) error { return do(ctx, one) })
	}
	return each
}

func (c *archiveCheck) one(ctx workflow.Context, d system.Database, late time.Duration) error {
	var activities *postgres.Activities
	var recordActivities *records.Activities
	component := "database/" + d.Name
	var found api.ArchiveChecked
	if err := c.Do(ctx, run.Step{ID: component + "/check-archive", Component: component, Title: "hold the WAL archive against what the server believes", Class: run.Quick},
		activities.CheckArchive, postgres.CheckArchiveInput{Ref: postgres.Ref{System: c.system, Component: d.Name, RunID: c.Progress.ID}, Late: late}, &found,
		func() string { return told(found) }); err != nil {
		return err
	}
	c.result.Archives = append(c.result.Archives, found)
	if len(found.Lost)+len(found.Again) == 0 {
		return nil
	}
	// What was lost is not covered by a record that can't be filed: the backup comes first.
	var backupErr error
	if len(found.Lost) > 0 {
		backupErr = c.backup(ctx, d)
	}
	if err := c.Do(ctx, run.Step{ID: component + "/record", Component: component, Title: "record what the check found", Class: run.Quick}, recordActivities.RecordArchive,
		records.ArchiveInput{System: c.system, Checked: found}, nil, nil); err != nil {
		return err
	}
	if backupErr != nil {
		return backupErr
	}
	if len(found.Lost) == 0 {
		return nil
	}
	return fault.Newf(fault.WALGap, "check WAL archive of", d.Name, "%s", told(found)).
		WithHint("a new base backup was begun: see it end; until then a recovery goes no further than the first of them. Then find out why archive_command said that they were archived")
}

// backup begins a base backup that outlives the check.
func (c *archiveCheck) backup(ctx workflow.Context, d system.Database) error {
	outliving, _ := workflow.NewDisconnectedContext(ctx) // a cancelled check does not recall it
	id := api.WALLostBackupID(c.system.Name, d.Name)
	child := workflow.WithChildOptions(outliving, workflow.ChildWorkflowOptions{
		WorkflowID: id, ParentClosePolicy: enums.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary: "backup of " + d.Name + ": WAL since the newest one was lost",
	})
	input := api.BackupInput{System: c.system.Name, Component: d.Name, By: c.Progress.ID}
	err := workflow.ExecuteChildWorkflow(child, api.BackupDatabase, input).GetChildWorkflowExecution().Get(ctx, nil)
	if err != nil && !temporal.IsWorkflowExecutionAlreadyStartedError(err) { // the one of an earlier check goes on
		return err
	}
	c.result.Backups = append(c.result.Backups, id)
	return nil
}

// told is what was found, in one line.
func told(a api.ArchiveChecked) string {
	if a.Standby {
		return "the server is in recovery and archives nothing"
	}
	var parts []string
	for _, one := range []struct {
		names []string
		what  string
	}{{a.Lost, "lost"}, {a.Again, "not there although the server believed so, and pushed again"}, {a.Late, "late"}} {
		if len(one.names) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s, from %s on", len(one.names), one.what, one.names[0]))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing is missing up to "+a.Newest)
	}
	return strings.Join(parts, "; ") + ofReplica(a.Replica)
}

// ofReplica tells what the second region lacks.
func ofReplica(r *api.ReplicaChecked) string {
	switch {
	case r == nil:
		return ""
	case r.Why != "":
		return fmt.Sprintf("; the replica %s could not be looked at: %s", r.Store, r.Why)
	case len(r.Late) > 0:
		return fmt.Sprintf("; the replica %s lacks %d for too long, from %s on", r.Store, len(r.Late), r.Late[0])
	case r.Lacks > 0:
		return fmt.Sprintf("; the replica %s lacks the last %d", r.Store, r.Lacks)
	}
	return fmt.Sprintf("; the replica %s has all of it", r.Store)
}
