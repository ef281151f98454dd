package recovery

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// Database recovers one PostgreSQL cluster (workflow type RestoreDatabase).
func Database(ctx workflow.Context, in ComponentInput) (api.ComponentOutcome, error) {
	c, err := beginComponent(ctx, in)
	if err != nil {
		return api.ComponentOutcome{}, run.Failure(err)
	}
	d := &database{component: c, ref: postgres.Ref{System: in.System, Component: in.Component.Name, Target: in.Target.Name, RunID: in.Run, Until: in.Reference.Segment}}
	for _, phase := range []func(workflow.Context) error{d.prepare, d.fence} {
		if err := phase(ctx); err != nil {
			return c.outcome, c.finish(ctx, err)
		}
	}

	// ---- Destructive from here on; the only way is forward. ----
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	c.undo = nil
	if err := d.cutOver(ctx); err != nil {
		return c.outcome, c.finish(ctx, err)
	}
	c.done(ctx)
	return c.outcome, nil
}

type database struct {
	*component
	ref        postgres.Ref
	activities *postgres.Activities
	found      postgres.RestorePreflightResult
	replayed   postgres.ReplayResult
}

// prepare restores beside the living server and replays what the archive holds.
func (d *database) prepare(ctx workflow.Context) error {
	name := d.ref.Component

	// Step 1. Everything that can be known before a byte moves.
	if err := d.Do(ctx, d.step("preflight", "check backup, WAL, version, space and place of "+name, run.Quick), d.activities.RestorePreflight,
		postgres.RestorePreflightInput{Ref: d.ref, Key: d.in.Backup, To: d.in.To}, &d.found,
		func() string {
			return fmt.Sprintf("%s; WAL to %s%s; the old server is %s", d.chosen(d.found.Key, d.found.PassedOver, d.found.Incomplete), d.found.Span.End, hole(d.found.Span), d.found.Live)
		}); err != nil {
		return err
	}
	place, facts := d.found.Place, d.found.Facts
	d.outcome.Backup, d.outcome.Asked = d.found.Key, d.asked()
	d.ref.Goal = d.found.Goal
	d.onFailure("discard", "remove what was restored of "+name, d.activities.Discard, postgres.DiscardInput{Ref: d.ref, Place: place})

	// Step 2. The bytes, beside the living directory.
	var restored postgres.RestoreResult
	title := fmt.Sprintf("restore %s from %s (%s)", name, facts.Started.UTC().Format("2006-01-02 15:04"), system.Bytes(d.found.Bytes).Human())
	if err := d.Do(ctx, d.step("restore", title, run.Long), d.activities.Restore,
		postgres.RestoreInput{Ref: d.ref, Key: d.found.Key, Place: place, Facts: facts}, &restored,
		func() string {
			return fmt.Sprintf("%s, %s/s", moved(restored.Bytes, restored.Resumed, len(restored.Fallbacks)), system.Bytes(restored.Rate).Human())
		}); err != nil {
		return err
	}
	d.outcome.Bytes, d.outcome.Resumed = restored.Bytes, restored.Resumed
	d.fellBack(restored.Fallbacks)

	// Step 3. The files are those of the server's own manifest.
	var files postgres.VerifyFilesResult
	if err := d.Do(ctx, d.step("verify-files", "check the restored files of "+name+" (pg_verifybackup)", run.Long), d.activities.VerifyFiles,
		postgres.VerifyFilesInput{Ref: d.ref, Place: place}, &files,
		func() string { return fmt.Sprintf("%d files", files.Files) }); err != nil {
		return err
	}

	// Step 4. What the archive holds now is replayed while the old system may still run.
	if err := d.Do(ctx, d.step("replay", fmt.Sprintf("replay WAL of %s to %s", name, d.end()), run.Long), d.activities.Replay,
		postgres.ReplayInput{Ref: d.ref, Place: place, Facts: facts}, &d.replayed, d.tellReplay); err != nil {
		return err
	}
	d.fellBack(d.replayed.Fallbacks)
	d.point()
	return d.reach(ctx, api.GatePrepared, api.GateReady)
}

// fence ends the old server's writes, takes the last WAL from it, and proves
// what is going to replace it. All of it can still be undone.
func (d *database) fence(ctx workflow.Context) error {
	if d.in.Target.Kind != system.TargetSandbox { // a sandbox has no old server
		if err := d.endOldServer(ctx); err != nil {
			return err
		}
	}

	// Step 9. The content is what it should be.
	var verified postgres.VerifyResult
	if err := d.Do(ctx, d.step("verify", "count and check the content of "+d.ref.Component, run.Long), d.activities.Verify,
		postgres.VerifyInput{Ref: d.ref, Place: d.found.Place, Facts: d.found.Facts, Reference: d.in.Reference.Tables},
		&verified, func() string { return counts(verified) }); err != nil {
		return err
	}
	d.outcome.Compared = verified.Compared
	return d.reach(ctx, api.GateReady, api.GateDone)
}

// endOldServer ends the old server's writes and brings its last WAL over.
func (d *database) endOldServer(ctx workflow.Context) error {
	name, place, facts := d.ref.Component, d.found.Place, d.found.Facts

	// Step 5. Nobody writes to the old server any more.
	var fenced postgres.FenceResult
	d.onFailure("unfence", "let the old "+name+" serve again", d.activities.Unfence, postgres.UnfenceInput{Ref: d.ref, Place: place})
	if err := d.Do(ctx, d.step("fence", "fence the old "+name, run.Long), d.activities.Fence,
		postgres.FenceInput{Ref: d.ref, Place: place, Facts: facts}, &fenced, func() string { return fenced.Note }); err != nil {
		return err
	}

	// Step 6. Its sessions end, its last WAL is archived, it stops.
	var ended postgres.TerminateConnectionsResult
	if err := d.Do(ctx, d.step("terminate-connections", "terminate connections to "+name+" and stop it", run.Long), d.activities.TerminateConnections,
		postgres.TerminateConnectionsInput{Ref: d.ref, Place: place}, &ended, func() string { return ended.Note }); err != nil {
		return err
	}

	// Step 7. What the archive never got is taken from the old directory.
	var salvaged postgres.SalvageWALResult
	if err := d.Do(ctx, d.step("salvage-wal", "salvage WAL from the old "+name, run.Long), d.activities.SalvageWAL,
		postgres.SalvageWALInput{Ref: d.ref, Place: place, Facts: facts}, &salvaged, func() string { return salvaged.Note }); err != nil {
		return err
	}

	// Step 8. The replay goes on to the very end.
	if err := d.Do(ctx, d.step("replay-final", d.last(), run.Long), d.activities.ReplayFinal,
		postgres.ReplayInput{Ref: d.ref, Place: place, Facts: facts}, &d.replayed, d.tellReplay); err != nil {
		return err
	}
	d.fellBack(d.replayed.Fallbacks)
	d.point()
	return nil
}

// cutOver puts the restored cluster in place and opens it.
func (d *database) cutOver(ctx workflow.Context) error {
	name, place, facts := d.ref.Component, d.found.Place, d.found.Facts

	// Step 10. The new directories take the old ones' place.
	var swapped postgres.CutOverResult
	if err := d.Do(ctx, d.step("cut-over", "put the restored "+name+" in place and start it", run.Decisive), d.activities.CutOver,
		postgres.CutOverInput{Ref: d.ref, Place: place, Facts: facts, LSN: d.replayed.LSN, Timeline: d.replayed.Timeline}, &swapped,
		func() string { return kept(strings.Join(swapped.Old, ", ")) + startedSince(swapped) }); err != nil {
		return err
	}
	if swapped.Replayed != nil {
		d.replayed = *swapped.Replayed
		d.fellBack(d.replayed.Fallbacks)
		d.point()
	}
	d.outcome.Undo = append(d.outcome.Undo, swapped.Old...)

	// Step 11. It becomes the primary, on a timeline of its own.
	var promoted postgres.PromoteResult
	if err := d.Do(ctx, d.step("promote", "promote "+name, run.Decisive), d.activities.Promote,
		postgres.PromoteInput{Ref: d.ref, Place: place, Timeline: d.replayed.Timeline}, &promoted,
		func() string {
			return fmt.Sprintf("timeline %d from %s", promoted.Timeline, promoted.LSN) + verifiedNow(promoted)
		}); err != nil {
		return err
	}
	return nil
}

// end is where the replay goes.
func (d *database) end() string {
	if asked := d.asked(); asked != "" {
		return asked
	}
	return d.found.Span.End.String()
}

// last says what the replay still has to do when the old server has ended.
func (d *database) last() string {
	if asked := d.asked(); asked != "" {
		return "see that " + d.ref.Component + " still stands at " + asked
	}
	return "replay the last WAL of " + d.ref.Component
}

func (d *database) tellReplay() string {
	told := fmt.Sprintf("replayed to %s on timeline %d", d.replayed.LSN, d.replayed.Timeline)
	if d.replayed.Committed != nil {
		told += ", last commit " + d.replayed.Committed.UTC().Format("2006-01-02 15:04:05.000")
	}
	if d.replayed.Reached {
		told += ", and stands there: " + d.asked()
	} else {
		told += hole(d.replayed.Span)
	}
	if d.replayed.Restarts > 0 {
		told += fmt.Sprintf(" (the server had to be started again %d times)", d.replayed.Restarts)
	}
	return told
}

func verifiedNow(promoted postgres.PromoteResult) string {
	if promoted.Verified == nil {
		return ""
	}
	return "; " + counts(*promoted.Verified)
}

// hole says why a replay ends where it does, when WAL is missing behind it.
func hole(span postgres.Span) string {
	if span.Hole == "" {
		return ""
	}
	return " and no further: " + span.Hole
}

func startedSince(swapped postgres.CutOverResult) string {
	if swapped.Replayed == nil {
		return ""
	}
	return fmt.Sprintf("; somebody had started it again, and what it wrote to %s was brought over", swapped.Replayed.LSN)
}

// point takes what was replayed as the recovery point. A cluster that replayed
// no transaction is as old as its backup. One that stands at the time it was to go
// to has all that was committed by then, and nothing after.
func (d *database) point() {
	at := d.found.Facts.Started
	if d.replayed.Committed != nil {
		at = *d.replayed.Committed
	}
	if d.replayed.Reached && !d.in.To.Time.IsZero() {
		at = d.in.To.Time
	}
	d.outcome.Point = api.RecoveryPoint{From: at, To: at, LSN: d.replayed.LSN.String(), Timeline: d.replayed.Timeline}
}

func (d *database) fellBack(found []postgres.Fallback) {
	for _, f := range found {
		d.outcome.Fallbacks = append(d.outcome.Fallbacks, api.Fallback(f))
	}
}

func counts(verified postgres.VerifyResult) string {
	if verified.Postponed {
		return "the server can't answer before it is promoted: verified then"
	}
	told := make([]string, 0, len(verified.Tables)+1)
	for _, table := range verified.Tables {
		rows := fmt.Sprintf("%s %d rows", table.Table, table.Rows)
		if table.Rows < 0 {
			rows = table.Table + " was not counted in time"
		}
		told = append(told, rows)
	}
	if verified.Compared > 0 {
		told = append(told, fmt.Sprintf("%d tables and sequences equal production's", verified.Compared))
	}
	if len(verified.Checks) > 0 {
		told = append(told, passed(len(verified.Checks)))
	}
	if len(verified.Collations) > 0 {
		told = append(told, "collation versions differ in "+strings.Join(verified.Collations, ", ")+": REINDEX what sorts text")
	}
	if len(verified.Locked) > 0 {
		told = append(told, strings.Join(verified.Locked, ", ")+": locked by a transaction that had not ended at the point; verified after the promotion")
	}
	if len(told) == 0 {
		return "nothing is configured to be counted"
	}
	return strings.Join(told, ", ")
}
