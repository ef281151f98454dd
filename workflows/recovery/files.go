package recovery

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// Files recovers one file set or configuration set (workflow type RestoreFiles).
func Files(ctx workflow.Context, in ComponentInput) (api.ComponentOutcome, error) {
	c, err := beginComponent(ctx, in)
	if err != nil {
		return api.ComponentOutcome{}, run.Failure(err)
	}
	if err := c.recoverFiles(ctx); err != nil {
		return c.outcome, c.finish(ctx, err)
	}
	return c.outcome, nil
}

func (c *component) recoverFiles(ctx workflow.Context) error {
	var activities *files.Activities
	set, folder, err := fileSet(c.in)
	if err != nil {
		return err
	}

	// Step 1. Everything that can be known before a byte moves.
	var found files.RestorePreflightResult
	if err := c.Do(ctx, c.step("preflight", "check backup, space and place of "+set.Name, run.Quick), activities.RestorePreflight,
		files.RestorePreflightInput{System: c.in.System, Set: set, Folder: folder, Target: c.in.Target, Key: c.in.Backup, Before: c.in.To.Time, RunID: c.in.Run},
		&found, func() string { return c.chosen(found.Key, found.PassedOver, found.Incomplete) }); err != nil {
		return err
	}
	c.outcome.Backup, c.outcome.Asked = found.Key, c.asked()
	c.outcome.Point = api.RecoveryPoint{From: found.Facts.Started, To: found.Facts.Finished}
	c.onFailure("discard", "remove what was restored of "+set.Name, activities.Discard, files.DiscardInput{Place: found.Place, RunID: c.in.Run})

	// Step 2. The bytes, beside the living directory.
	var restored files.RestoreResult
	title := fmt.Sprintf("restore %s from %s (%s)", set.Name, found.Facts.Started.Format("2006-01-02 15:04"), system.Bytes(found.Facts.Bytes).Human())
	if err := c.Do(ctx, c.step("restore", title, run.Long), activities.Restore,
		files.RestoreInput{System: c.in.System, Set: set, Key: found.Key, Place: found.Place},
		&restored, func() string {
			return fmt.Sprintf("%d files, %s", restored.Files, moved(restored.Bytes, restored.Resumed, len(restored.Fallbacks)))
		}); err != nil {
		return err
	}
	c.outcome.Bytes, c.outcome.Resumed = restored.Bytes, restored.Resumed
	c.outcome.Fallbacks = fallbacks(restored.Fallbacks)

	// Step 3. What lies there is what was backed up.
	var verified files.VerifyResult
	if err := c.Do(ctx, c.step("verify", "compare every restored file of "+set.Name+" with the backup", run.Long), activities.Verify,
		files.VerifyInput{System: c.in.System, Set: set, Key: found.Key, Place: found.Place},
		&verified, func() string { return fmt.Sprintf("%d entries equal", verified.Entries) }); err != nil {
		return err
	}
	if err := c.reach(ctx, api.GatePrepared, api.GateReady); err != nil {
		return err
	}
	if err := c.reach(ctx, api.GateReady, api.GateDone); err != nil {
		return err
	}

	// ---- Destructive from here on; the only way is forward. ----
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	c.undo = nil

	// Step 4. The new directory takes the old one's place.
	var swapped files.CutOverResult
	if err := c.Do(ctx, c.step("cut-over", "put the restored "+set.Name+" in place", run.Decisive), activities.CutOver,
		files.CutOverInput{System: c.in.System, Set: set, Target: c.in.Target, Place: found.Place, RunID: c.in.Run},
		&swapped, func() string { return kept(swapped.Old) + leftOut(swapped.Left) }); err != nil {
		return err
	}
	c.keepUndo(swapped.Old)
	c.done(ctx)
	return nil
}

// leftOut tells of directories that the set leaves out and that could not be taken along.
func leftOut(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; not taken over from it, as something else has the name: " + strings.Join(names, ", ")
}

// fileSet finds the set, where the target has it, and the folder that its backups lie in.
func fileSet(in ComponentInput) (system.FileSet, string, error) {
	mapped, _, err := in.System.ForTarget(in.Target.Name)
	if err != nil {
		return system.FileSet{}, "", err
	}
	if in.Component.Kind == system.KindConfiguration {
		set, err := mapped.Configuration(in.Component.Name)
		return set, files.FolderConfiguration, err
	}
	set, err := mapped.FileSet(in.Component.Name)
	return set, files.FolderFiles, err
}
