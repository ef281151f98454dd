package verify

import (
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// database proves L2 or L3 of a base backup: it is restored to be looked at, and
// whatever happens, and whoever cancels, nothing of that is left behind.
func (v *verifying) database(ctx workflow.Context, s subject, found *api.Verified) error {
	ref := postgres.Ref{System: v.system, Component: s.component.Name, RunID: v.Name(), Scratch: true}
	err := v.lookInto(ctx, s, ref, found)
	outlasting, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	var activities *postgres.Activities
	var left postgres.DiscardResult
	discardErr := v.Do(outlasting, v.step(s, "discard", "end the server and remove what was restored", run.Long), activities.DiscardScratch,
		postgres.DiscardScratchInput{Ref: ref}, &left, func() string { return "nothing is left behind" })
	return errors.Join(err, discardErr)
}

func (v *verifying) lookInto(ctx workflow.Context, s subject, ref postgres.Ref, found *api.Verified) error {
	var activities *postgres.Activities
	// Step 1. What it needs: its WAL, room, the programs of its version, and for L3 what the source held.
	var ready postgres.ScratchPreflightResult
	if err := v.Do(ctx, v.step(s, "preflight", "check WAL, room and programs for "+s.key, run.Quick), activities.ScratchPreflight,
		postgres.ScratchPreflightInput{Ref: ref, Key: s.key, Proof: level(s.level)}, &ready, func() string {
			return fmt.Sprintf("%s, and %s free", system.Bytes(ready.Bytes).Human(), system.Bytes(ready.Free).Human())
		}); err != nil {
		return err
	}
	ref.Until = ready.Until
	found.Bytes = ready.Bytes
	// Step 2. The files, against the server's own manifest.
	var restored postgres.RestoreResult
	if err := v.Do(ctx, v.step(s, "restore", fmt.Sprintf("restore %s to look at it (%s)", s.key, system.Bytes(ready.Bytes).Human()), run.Long), activities.Restore,
		postgres.RestoreInput{Ref: ref, Key: s.key, Place: ready.Place, Facts: ready.Facts}, &restored, func() string { return system.Bytes(restored.Bytes).Human() }); err != nil {
		return err
	}
	var files postgres.VerifyFilesResult
	if err := v.Do(ctx, v.step(s, "verify-files", "compare every file with the server's own manifest", run.Long), activities.VerifyFiles,
		postgres.VerifyFilesInput{Ref: ref, Place: ready.Place}, &files, func() string { return fmt.Sprintf("%d files", files.Files) }); err != nil {
		return err
	}
	found.Files = files.Files
	// Step 3. A server of its own replays the WAL: to the backup's end, or to where the reference was taken.
	var replayed postgres.ReplayResult
	if err := v.Do(ctx, v.step(s, "replay", "start a hidden server and replay to the end of "+ready.Until, run.Long), activities.Replay,
		postgres.ReplayInput{Ref: ref, Place: ready.Place, Facts: ready.Facts}, &replayed, func() string { return "consistent at " + replayed.LSN.String() }); err != nil {
		return err
	}
	found.Point = api.RecoveryPoint{From: ready.Facts.Started, To: ready.Facts.Finished, LSN: replayed.LSN.String(), Timeline: replayed.Timeline}
	// Step 4. L3: what it holds, against what the source held.
	if s.level == highest {
		if err := v.compare(ctx, s, ref, ready, found); err != nil {
			return err
		}
	}
	// Step 5. Every page, once the replay has mended what was written while it was copied.
	var pages postgres.CheckPagesResult
	if err := v.Do(ctx, v.step(s, "pages", "compute the checksum of every page", run.Long), activities.CheckPages,
		postgres.CheckPagesInput{Ref: ref, Place: ready.Place, Facts: ready.Facts}, &pages, func() string { return paged(pages) }); err != nil {
		return err
	}
	found.Pages = pages.Blocks
	if !pages.Checksums {
		found.Notes = append(found.Notes, "pages carry no checksums: initdb --data-checksums or pg_checksums --enable would let them be checked")
	}
	// Step 6. L3: every table and index from within.
	if s.level == highest {
		if err := v.inspect(ctx, s, ref, ready, replayed, found); err != nil {
			return err
		}
	}
	// A backup that only the replica could give is whole there, and damaged here.
	return fellBack(append(restored.Fallbacks, replayed.Fallbacks...))
}

func (v *verifying) compare(ctx workflow.Context, s subject, ref postgres.Ref, ready postgres.ScratchPreflightResult, found *api.Verified) error {
	var activities *postgres.Activities
	var verified postgres.VerifyResult
	if err := v.Do(ctx, v.step(s, "compare", fmt.Sprintf("compare %d tables and sequences with what the source held", ready.Compared), run.Long), activities.Verify,
		postgres.VerifyInput{Ref: ref, Place: ready.Place, Facts: ready.Facts, Against: s.key}, &verified,
		func() string { return fmt.Sprintf("%d are equal", verified.Compared) }); err != nil {
		return err
	}
	found.Compared = verified.Compared
	for _, check := range verified.Checks {
		found.Checks = append(found.Checks, api.Check{Name: check.SQL, OK: true, Message: check.Answer})
	}
	return nil
}

func (v *verifying) inspect(ctx workflow.Context, s subject, ref postgres.Ref, ready postgres.ScratchPreflightResult, replayed postgres.ReplayResult, found *api.Verified) error {
	var activities *postgres.Activities
	var inspected postgres.InspectResult
	err := v.Do(ctx, v.step(s, "inspect", "look into every table and index (pg_amcheck), at extensions and collations", run.Long), activities.Inspect,
		postgres.InspectInput{Ref: ref, Place: ready.Place, Facts: ready.Facts, LSN: replayed.LSN, Key: s.key}, &inspected, func() string {
			return fmt.Sprintf("%d databases, %d extensions", inspected.Databases, inspected.Extensions)
		})
	found.Databases, found.Extensions = inspected.Databases, inspected.Extensions
	return err
}

func paged(p postgres.CheckPagesResult) string {
	if !p.Checksums {
		return "pages carry none"
	}
	return fmt.Sprintf("%d pages in %d files", p.Blocks, p.Files)
}

// fellBack names what the primary store could not give.
func fellBack(fallbacks []postgres.Fallback) error {
	if len(fallbacks) == 0 {
		return nil
	}
	first := fallbacks[0]
	told := fmt.Sprintf("%s could not give it (%s), and %s did", first.From, first.Reason, first.To)
	if more := len(fallbacks) - 1; more > 0 {
		told += fmt.Sprintf("; so it was with %d more objects", more)
	}
	return fault.Newf(fault.StorageMissing, "verify", strings.TrimSuffix(first.Object, "/"), "%s", told).
		WithHint("the backup is sound, from %s: a recovery takes it there; find out what is wrong with %s", first.To, first.From)
}
