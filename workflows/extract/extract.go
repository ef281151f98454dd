package extract

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// extraction is one run.
type extraction struct {
	*run.Run
	in     api.ExtractInput
	to     plan.Point
	system system.System
	id     string // "database/frende"
	ref    postgres.Ref
	result api.ExtractResult
	kept   int64 // bytes of the restore that an older copy had
	taken  int64 // of these: that were taken over from it
	notes  []string
}

// Database takes tables or a database out of a backup (workflow type ExtractDatabase).
func Database(ctx workflow.Context, in api.Input[api.ExtractInput]) (api.ExtractResult, error) {
	r, err := run.Begin(ctx, api.PhaseExtracting)
	if err != nil {
		return api.ExtractResult{}, err
	}
	e := &extraction{Run: r, result: api.ExtractResult{Started: r.Progress.Started}}
	err = e.extract(ctx, in)
	disconnected, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	e.End(disconnected, err)
	e.result.Finished = *e.Progress.Finished
	e.file(disconnected, err)
	return e.result, run.Failure(err)
}

func (e *extraction) extract(ctx workflow.Context, in api.Input[api.ExtractInput]) error {
	if err := e.pin(ctx, in); err != nil {
		return err
	}
	err := e.lookInto(ctx)
	// Whatever happened, and whoever cancelled: nothing but the file stays.
	outlasting, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	var activities *postgres.Activities
	return errors.Join(err, e.Do(outlasting, e.step("discard", "end the server and remove what was restored", run.Long), activities.DiscardScratch,
		postgres.DiscardScratchInput{Ref: e.ref}, nil, nil))
}

// pin loads the configuration, and refuses what can be known to go wrong.
func (e *extraction) pin(ctx workflow.Context, in api.Input[api.ExtractInput]) (err error) {
	if e.in, err = in.Checked(api.ExtractDatabase); err != nil {
		return err
	}
	if e.in.File == "" {
		return fault.Newf(fault.InputInvalid, "read input of", api.ExtractDatabase, "it names no file").WithHint("name one on the worker's host: --out /var/tmp/users.dump")
	}
	if err := e.choose(ctx); err != nil {
		return err
	}
	var activities *postgres.Activities
	return e.Do(ctx, e.step("file", "see that "+e.in.File+" can be written", run.Quick), activities.CheckFile, postgres.CheckFileInput{File: e.in.File}, nil, nil)
}

// choose loads the configuration, and finds the database and the point that are asked for.
func (e *extraction) choose(ctx workflow.Context) (err error) {
	if e.to, err = plan.ParsePoint(e.in.To); err != nil {
		return err
	}
	var recordActivities *records.Activities
	var loaded records.Loaded
	if err := e.Do(ctx, run.Step{ID: "configuration", Title: "read and pin the configuration", Class: run.Quick}, recordActivities.LoadSystem,
		records.LoadInput{System: e.in.System, From: e.in.From}, &loaded, func() string { return "plan version " + loaded.System.Plan.Version }); err != nil {
		return err
	}
	e.system = loaded.System
	e.Progress.System, e.result.System = e.system.Name, e.system.Name
	e.Identify(ctx, string(system.KindDatabase), loaded.SearchAttributes)
	database, err := e.system.Database(e.in.Component)
	if err != nil {
		return err
	}
	e.id = system.ComponentID(system.KindDatabase, database.Name)
	e.result.Component, e.result.File, e.result.Asked = e.id, e.in.File, cmp.Or(e.in.To, "latest")
	e.ref = postgres.Ref{System: e.system, Component: database.Name, RunID: e.Name(), Scratch: true}
	if e.to.Backup != "" {
		of, err := plan.ComponentOf(e.to.Backup)
		if err != nil {
			return err
		}
		if of != e.id {
			return fault.Newf(fault.InputInvalid, "read recovery point", e.to.Backup, "it is no backup of %s", e.id).WithHint("list them with: lifeboat backups list --of %s", e.id)
		}
	}
	return nil
}

func (e *extraction) lookInto(ctx workflow.Context) error {
	ready, err := e.replayed(ctx)
	if err != nil {
		return err
	}
	// Step 3. What is asked for, into the file.
	var activities *postgres.Activities
	what := "the database"
	if len(e.in.Tables) > 0 {
		what = strings.Join(e.in.Tables, ", ")
	}
	var extracted postgres.ExtractResult
	if err := e.Do(ctx, e.step("dump", "write "+what+" to "+e.in.File, run.Long), activities.Extract,
		postgres.ExtractInput{Ref: e.ref, Place: ready.Place, Facts: ready.Facts, Database: e.in.Database, Tables: e.in.Tables, File: e.in.File}, &extracted,
		func() string {
			return fmt.Sprintf("%d tables, %s", len(extracted.Tables), system.Bytes(extracted.Bytes).Human())
		}); err != nil {
		return err
	}
	e.result.Database, e.result.Tables, e.result.Bytes, e.result.Plain = extracted.Database, extracted.Tables, extracted.Bytes, extracted.Plain
	return nil
}

// replayed restores the cluster beside the living one, and leaves it in a hidden server at the point.
func (e *extraction) replayed(ctx workflow.Context) (ready postgres.ScratchPreflightResult, err error) {
	var activities *postgres.Activities
	// Step 1. Which backup leads to the point, and what that needs.
	ask := postgres.ScratchPreflightInput{Ref: e.ref, To: e.to}
	if e.to.Backup != "" {
		ask.Key, ask.To, ask.Proof = e.to.Backup, plan.Point{}, "L2" // as it was when the backup ended
	}
	if err := e.Do(ctx, e.step("preflight", "find the backup that leads to "+e.result.Asked+", check WAL, room and programs", run.Quick), activities.ScratchPreflight,
		ask, &ready, func() string {
			return fmt.Sprintf("%s, %s of %s free", ready.Key, system.Bytes(ready.Need).Human(), system.Bytes(ready.Free).Human())
		}); err != nil {
		return ready, err
	}
	e.result.Backup = ready.Key
	e.ref.Until, e.ref.Goal = ready.Until, ready.Goal
	// Step 2. The cluster, beside the living one, in a server of its own, at the point.
	var restored postgres.RestoreResult
	if err := e.Do(ctx, e.step("restore", fmt.Sprintf("restore %s to look at it (%s)", ready.Key, system.Bytes(ready.Bytes).Human()), run.Long), activities.Restore,
		postgres.RestoreInput{Ref: e.ref, Key: ready.Key, Place: ready.Place, Facts: ready.Facts}, &restored, func() string { return fetched(restored) }); err != nil {
		return ready, err
	}
	e.kept, e.taken = restored.Kept, restored.Taken
	var replayed postgres.ReplayResult
	if err := e.Do(ctx, e.step("replay", "start a hidden server and replay to "+e.result.Asked, run.Long), activities.Replay,
		postgres.ReplayInput{Ref: e.ref, Place: ready.Place, Facts: ready.Facts}, &replayed, func() string { return "it stands at " + replayed.LSN.String() }); err != nil {
		return ready, err
	}
	e.result.Point = api.RecoveryPoint{From: ready.Facts.Started, To: ready.Facts.Finished, LSN: replayed.LSN.String(), Timeline: replayed.Timeline}
	if replayed.Committed != nil {
		e.result.Point.From, e.result.Point.To = *replayed.Committed, *replayed.Committed
	}
	return ready, nil
}

func fetched(restored postgres.RestoreResult) string {
	told := system.Bytes(restored.Bytes).Human()
	if restored.Kept > 0 {
		told += ", of which the older copy had " + system.Bytes(restored.Kept).Human()
	}
	if restored.Taken > 0 {
		told += "; " + system.Bytes(restored.Taken).Human() + " of it were taken over as they lay there"
	}
	return told
}

func (e *extraction) step(name, title string, class run.Class) run.Step {
	return run.Step{ID: e.id + "/" + name, Component: e.id, Title: title, Class: class}
}

// file writes the run's record to the ledger: who took what out is worth knowing.
func (e *extraction) file(ctx workflow.Context, cause error) {
	if e.system.Name == "" {
		return
	}
	record := e.Record(e.system, e.in.By, cause)
	record.Notes = e.notes
	if cause != nil {
		record.Failures = []report.Failure{run.RecordedFailure(cause)}
	}
	e.File(ctx, e.system, record)
}
