package recovery

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// Dump recovers one database from a dump, inside the server that runs (workflow type RestoreDump).
func Dump(ctx workflow.Context, in ComponentInput) (api.ComponentOutcome, error) {
	c, err := beginComponent(ctx, in)
	if err != nil {
		return api.ComponentOutcome{}, run.Failure(err)
	}
	if err := c.recoverDump(ctx); err != nil {
		return c.outcome, c.finish(ctx, err)
	}
	return c.outcome, nil
}

func (c *component) recoverDump(ctx workflow.Context) error {
	var activities *postgres.Activities
	name := c.in.Component.Name
	ref := postgres.Ref{System: c.in.System, Component: name, Target: c.in.Target.Name, RunID: c.in.Run}

	// Step 1. Everything that can be known before a byte moves.
	var found postgres.RestoreDumpPreflightResult
	if err := c.Do(ctx, c.step("preflight", "check dump, server, extensions, roles, locale and disk of "+name, run.Quick), activities.RestoreDumpPreflight,
		postgres.RestoreDumpPreflightInput{Ref: ref, Key: c.in.Backup}, &found, func() string {
			return fmt.Sprintf("%s: %d tables, %d rows", c.chosen(found.Key, nil, nil), found.Facts.Tables, found.Facts.Rows)
		}); err != nil {
		return err
	}
	place := postgres.DumpPlaceInput{Ref: ref, Place: found.Place}
	c.outcome.Backup, c.outcome.Asked = found.Key, c.asked()
	c.outcome.Point = api.RecoveryPoint{From: found.Facts.Started, To: found.Facts.Snapshot}
	c.onFailure("discard", "drop what was restored of "+name, activities.DiscardDump, place)

	// Step 2. A database beside the living one.
	var restored postgres.RestoreResult
	title := fmt.Sprintf("restore %s of %s from %s (%s)", found.Place.Database, name, found.Facts.Snapshot.Format("2006-01-02 15:04"), system.Bytes(found.Bytes).Human())
	if err := c.Do(ctx, c.step("restore", title, run.Long), activities.RestoreDump,
		postgres.RestoreDumpInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts}, &restored,
		func() string {
			return found.Place.Staging + ": " + moved(restored.Bytes, restored.Resumed, len(restored.Fallbacks))
		}); err != nil {
		return err
	}
	c.outcome.Bytes = restored.Bytes
	for _, f := range restored.Fallbacks {
		c.outcome.Fallbacks = append(c.outcome.Fallbacks, api.Fallback(f))
	}

	// Step 3. It holds what was dumped.
	var verified postgres.VerifyResult
	if err := c.Do(ctx, c.step("verify", "hold what was restored of "+name+" against what was dumped", run.Long), activities.VerifyDump,
		postgres.VerifyDumpInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts}, &verified,
		func() string { return dumpCounts(verified) }); err != nil {
		return err
	}
	c.outcome.Compared = verified.Compared
	if err := c.reach(ctx, api.GatePrepared, api.GateReady); err != nil {
		return err
	}

	// Step 4. Nobody writes to the living one any more.
	var closed postgres.CloseDatabaseResult
	c.onFailure("unfence", "let people connect to the old "+name+" again", activities.ReopenDatabase, place)
	if err := c.Do(ctx, c.step("fence", "let nobody connect to the living "+name+", and end its sessions", run.Long), activities.CloseDatabase, place, &closed,
		func() string { return sessions(closed) }); err != nil {
		return err
	}
	if err := c.reach(ctx, api.GateReady, api.GateDone); err != nil {
		return err
	}

	// ---- Destructive from here on; the only way is forward. ----
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	c.undo = nil

	// Step 5. The two change their names at once.
	var swapped postgres.SwapDatabasesResult
	if err := c.Do(ctx, c.step("cut-over", "rename the restored "+name+" into its place", run.Decisive), activities.SwapDatabases,
		postgres.SwapDatabasesInput{Ref: ref, Key: found.Key, Place: found.Place}, &swapped, func() string { return kept(databaseName(swapped.Old)) }); err != nil {
		return err
	}
	c.keepUndo(databaseName(swapped.Old))
	c.done(ctx)
	return nil
}

func databaseName(name string) string {
	if name == "" {
		return ""
	}
	return "database " + name
}

func sessions(closed postgres.CloseDatabaseResult) string {
	if !closed.Closed {
		return "there is none"
	}
	return fmt.Sprintf("%d sessions ended; it lets nobody in", closed.Ended)
}

func dumpCounts(verified postgres.VerifyResult) string {
	compared := verified.Compared
	verified.Compared = 0
	told := fmt.Sprintf("%d tables and sequences, large objects, extensions and objects equal what was dumped", compared)
	if len(verified.Tables)+len(verified.Checks) > 0 {
		told += "; " + counts(verified)
	}
	return told
}
