package backup

import (
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// System backs up every component (workflow type BackupSystem).
func System(ctx workflow.Context, in api.Input[api.BackupInput]) (api.BackupResult, error) {
	return backUp(ctx, in, system.ComponentKinds())
}

// Databases backs up all databases, or the one named (workflow type BackupDatabase).
func Databases(ctx workflow.Context, in api.Input[api.BackupInput]) (api.BackupResult, error) {
	return backUp(ctx, in, []system.ComponentKind{system.KindDatabase})
}

// Caches backs up all caches, or the one named (workflow type BackupCache).
func Caches(ctx workflow.Context, in api.Input[api.BackupInput]) (api.BackupResult, error) {
	return backUp(ctx, in, []system.ComponentKind{system.KindCache})
}

// FileSets backs up all file sets, or the one named (workflow type BackupFiles).
func FileSets(ctx workflow.Context, in api.Input[api.BackupInput]) (api.BackupResult, error) {
	return backUp(ctx, in, []system.ComponentKind{system.KindFiles})
}

// Configurations backs up all configuration sets, or the one named (workflow type BackupConfiguration).
func Configurations(ctx workflow.Context, in api.Input[api.BackupInput]) (api.BackupResult, error) {
	return backUp(ctx, in, []system.ComponentKind{system.KindConfiguration})
}

// Dumps takes a logical dump of all databases, or of the one named (workflow type DumpDatabase).
func Dumps(ctx workflow.Context, in api.Input[api.BackupInput]) (api.BackupResult, error) {
	return backUp(ctx, in, []system.ComponentKind{system.KindDatabase})
}

// backing is one backup run over one or more components.
type backing struct {
	*run.Run
	in     api.BackupInput
	system system.System
	made   []api.BackupMade
	failed []error    // why components have no backup; in the order of the components
	within []api.Step // of the children
}

func backUp(ctx workflow.Context, in api.Input[api.BackupInput], kinds []system.ComponentKind) (api.BackupResult, error) {
	r, err := run.Begin(ctx, api.PhaseBackingUp)
	if err != nil {
		return api.BackupResult{}, err
	}
	b := &backing{Run: r}
	result, err := b.backUp(ctx, in, kinds)
	disconnected, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	b.End(disconnected, err)
	if b.in.Within != "" {
		result.Steps = b.Progress.Steps // the larger run tells them
		return result, run.Failure(err)
	}
	b.file(disconnected, err)
	return result, run.Failure(err)
}

func (b *backing) backUp(ctx workflow.Context, in api.Input[api.BackupInput], kinds []system.ComponentKind) (api.BackupResult, error) {
	result := api.BackupResult{Started: b.Progress.Started, Backups: []api.BackupMade{}}

	// Step 1. What the system is, pinned for the whole run.
	var err error
	if b.in, err = in.Checked(b.Progress.Workflow); err != nil {
		return result, err
	}
	if b.in.IfChanged && b.Progress.Workflow != api.BackupCache {
		return result, fault.Newf(fault.InputInvalid, "read input of", b.Progress.Workflow, "if_changed is for %s: only a cache says whether it changed", api.BackupCache)
	}
	if b.in.Format != "" && b.Progress.Workflow != api.DumpDatabase {
		return result, fault.Newf(fault.InputInvalid, "read input of", b.Progress.Workflow, "format is for %s: nothing else has one", api.DumpDatabase)
	}
	if err := b.pin(ctx); err != nil {
		return result, err
	}
	result.System = b.system.Name
	components, err := b.chosen(kinds)
	if err != nil {
		return result, err
	}

	// Step 2. All components at once; each is captured, read back and recorded.
	// One that fails does not take the others with it.
	made := make([]api.BackupMade, len(components))
	unchanged := make([]*api.Unchanged, len(components))
	b.failed = make([]error, len(components))
	done := workflow.NewWaitGroup(ctx)
	for i, component := range components {
		done.Add(1)
		workflow.GoNamed(ctx, component.ID, func(ctx workflow.Context) {
			defer done.Done()
			if b.in.IfChanged {
				if unchanged[i], b.failed[i] = b.unchanged(ctx, component); unchanged[i] != nil || b.failed[i] != nil {
					return
				}
			}
			made[i], b.failed[i] = b.component(ctx, component)
		})
	}
	done.Wait(ctx)
	for i := range components {
		switch {
		case b.failed[i] != nil:
		case unchanged[i] != nil:
			result.Unchanged = append(result.Unchanged, *unchanged[i])
		default:
			b.made = append(b.made, made[i])
		}
	}
	result.Backups = b.made

	// Step 3. The second region gets what was made, even when something failed.
	began := workflow.Now(ctx).UTC()
	replicated, replicateErr := b.replicate(ctx)
	result.Replica = replicated
	b.noteReplica(ctx, began, replicated, replicateErr)
	result.Finished = workflow.Now(ctx).UTC()
	if err := firstOf(b.failed); err != nil {
		return result, err
	}
	return result, replicateErr
}

func (b *backing) pin(ctx workflow.Context) error {
	var activities *records.Activities
	var loaded records.Loaded
	if err := b.Do(ctx, run.Step{ID: "configuration", Title: "read and pin the configuration", Class: run.Quick}, activities.LoadSystem,
		records.LoadInput{System: b.in.System, From: b.in.From}, &loaded, func() string { return "plan version " + loaded.System.Plan.Version }); err != nil {
		return err
	}
	b.system = loaded.System
	b.Progress.System = b.system.Name
	b.Identify(ctx, "", loaded.SearchAttributes)
	if !b.system.Backup.Enabled {
		return fault.Newf(fault.ConfigInvalid, "back up", b.system.Name, "backups are turned off").
			WithHint("set backup.enabled in lifeboat.yaml, or DB_BACKUP_ENABLED=true")
	}
	return nil
}

func (b *backing) chosen(kinds []system.ComponentKind) ([]system.Component, error) {
	var chosen []system.Component
	for _, component := range b.system.Components() {
		for _, kind := range kinds {
			if component.Kind == kind && (b.in.Component == "" || b.in.Component == component.Name) {
				chosen = append(chosen, component)
			}
		}
	}
	if len(chosen) == 0 {
		return nil, fault.Newf(fault.InputInvalid, "choose components of", b.system.Name, "%s backs up none named %q", b.Progress.Workflow, b.in.Component).
			WithHint("see the components with: lifeboat config check")
	}
	return chosen, nil
}

// component captures one component by its own workflow when this run covers the
// whole system, so that each can be seen and retried alone; else right here.
func (b *backing) component(ctx workflow.Context, component system.Component) (api.BackupMade, error) {
	if b.Progress.Workflow != api.BackupSystem {
		return b.capture(ctx, component)
	}
	id := api.BackupID(b.system.Name, string(component.Kind), component.Name, b.Progress.Started)
	childCtx := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:        id,
		ParentClosePolicy: enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		StaticSummary:     "back up " + component.ID + " of " + b.system.Name,
	})
	b.Progress.Children = append(b.Progress.Children, id)
	shown := api.Step{ID: component.ID, Workflow: id, Component: component.ID, Title: "back up " + component.ID, State: api.StepRunning, Started: workflow.Now(ctx).UTC()}
	b.Note(ctx, shown)
	var result api.BackupResult
	err := workflow.ExecuteChildWorkflow(childCtx, workflowType(component.Kind),
		api.BackupInput{System: b.system.Name, Component: component.Name, By: b.in.By, Within: b.Progress.ID, From: b.in.From}).Get(ctx, &result)
	finished := workflow.Now(ctx).UTC()
	shown.Finished, shown.State = &finished, api.StepDone
	if err != nil {
		shown.State, shown.Outcome = run.Ended(err)
		b.Note(ctx, shown)
		return api.BackupMade{}, err
	}
	if len(result.Backups) != 1 {
		return api.BackupMade{}, temporal.NewNonRetryableApplicationError("the child made no backup of "+component.ID, string(fault.BackupIncomplete), nil)
	}
	shown.Outcome = result.Backups[0].Key
	b.Note(ctx, shown)
	b.within = append(b.within, result.Steps...)
	return result.Backups[0], nil
}

// replicate brings the replica up to date, unless a larger run will.
func (b *backing) replicate(ctx workflow.Context) (*api.ReplicateResult, error) {
	primary, err := b.system.Primary()
	if err != nil {
		return nil, err
	}
	if primary.Replica == "" || b.in.Within != "" {
		return nil, nil
	}
	b.Enter(ctx, api.PhaseReplicating)
	childCtx := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            api.ReplicationID(b.system.Name, primary.Name) + "/" + b.Name(),
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		StaticSummary:         "copy " + primary.Name + " to " + primary.Replica,
	})
	var result api.ReplicateResult
	err = workflow.ExecuteChildWorkflow(childCtx, api.ReplicateStore, api.ReplicateInput{System: b.system.Name, Store: primary.Name}).Get(ctx, &result)
	if err != nil {
		return nil, err
	}
	return &result, nil
}

func workflowType(kind system.ComponentKind) string {
	switch kind {
	case system.KindDatabase:
		return api.BackupDatabase
	case system.KindCache:
		return api.BackupCache
	case system.KindFiles:
		return api.BackupFiles
	default:
		return api.BackupConfiguration
	}
}

func firstOf(all []error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}
