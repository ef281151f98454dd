package records

import (
	"context"
	"fmt"
	"slices"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/status"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// Kinds of ledger records.
const (
	KindRun    = "run"    // body: report.Run
	KindPoint  = "point"  // body: []report.Point
	KindBackup = "backup" // body: api.BackupMade
	KindNotice = "notice" // body: text
	KindProof  = "proof"  // body: Proven, or api.Verified

	KindUnchanged = "unchanged"      // subject: key of the backup that still equals its source; body: api.Unchanged
	KindCleanUp   = "clean-up"       // subject: a run's workflow ID; body: api.CleanUpResult
	KindRetention = "retention"      // subject: a run's workflow ID; body: api.RetentionResult
	KindToRemove  = "retention-plan" // subject: a run's workflow ID; body: api.RetentionResult, before anything was removed
	KindArchive   = "archive"        // subject: "database/frende"; body: api.ArchiveChecked
	KindDamage    = "damage"         // subject: key of the backup that a verification found damaged; body: api.Verified
)

// Record is what goes on the ledger. The same ID again is the same record.
type Record struct {
	ID      string
	Kind    string
	Subject string // a run's workflow ID, or a backup's key
	Body    any
}

// Proof is what the ledger says of a backup.
type Proof struct {
	Level      string  // the newest; "" for none
	Unreadable []error // records that could have said more
}

// mostNotes bounds what a step tells of a ledger that is damaged all over.
const mostNotes = 5

// Deps are what the activities need of their host.
type Deps struct {
	Load       func() (system.System, error)  // reads the worker's configuration anew
	Searchable func(ctx context.Context) bool // whether runs may set search attributes; nil: they may not
	File       func(ctx context.Context, s system.System, r Record) error
	Proof      func(ctx context.Context, s system.System, key string) (Proof, error)
	Run        func(ctx context.Context, s system.System, id string) (report.Run, error) // the record of a run: ID, or ID@RUN
	Running    func(ctx context.Context, id string) (bool, error)                        // whether a run of that workflow ID works
	Attempts   func(ctx context.Context, workflows []Execution) (map[StepID]Attempts, error)
	Status     func(ctx context.Context, s system.System) status.Status // how the system stands now
}

// Activities read the configuration and keep the records.
type Activities struct{ deps Deps }

// New returns the activities.
func New(deps Deps) *Activities { return &Activities{deps: deps} }

// LoadSystem reads the configuration. It fails with InputInvalid when the run
// asks for a system that this worker is not configured for.
func (a *Activities) LoadSystem(ctx context.Context, in LoadInput) (Loaded, error) {
	loaded, err := a.deps.Load()
	if err != nil {
		return Loaded{}, err
	}
	if in.System != "" && in.System != loaded.Name {
		return Loaded{}, fault.Newf(fault.InputInvalid, "find system", in.System, "this worker protects %q", loaded.Name).
			WithHint("name %s, or start the run on the task queue of the worker that protects %s", loaded.Name, in.System)
	}
	if in.From != "" {
		if loaded, err = loaded.Alone(in.From); err != nil {
			return Loaded{}, err
		}
	}
	_, target, err := loaded.ForTarget(in.Target)
	searchable := a.deps.Searchable != nil && a.deps.Searchable(ctx)
	return Loaded{System: loaded, Target: target, SearchAttributes: searchable}, err
}

// FindRun gives the record of a run that has ended. It fails with RunUnknown when
// the ledger has none, and with RecoveryRunning when that run has not ended.
func (a *Activities) FindRun(ctx context.Context, in FindRunInput) (FoundRun, error) {
	found, err := a.deps.Run(ctx, in.System, in.ID)
	if fault.Has(err, fault.RunUnknown) && in.ID != activity.GetInfo(ctx).WorkflowExecution.ID {
		if running, runningErr := a.deps.Running(ctx, in.ID); runningErr != nil {
			return FoundRun{}, runningErr
		} else if running {
			return FoundRun{}, fault.Newf(fault.RecoveryRunning, "find run", in.ID, "it has not ended").WithHint("see its end with: lifeboat watch %s", in.ID)
		}
	}
	if err != nil {
		return FoundRun{}, err
	}
	result := FoundRun{CutOver: found.CutOver()}
	found.Steps, found.Clocks, found.Fallbacks, found.Checks = nil, nil, nil, nil
	result.Run = found
	return result, nil
}

// Notice tells people, in the log and on the ledger.
func (a *Activities) Notice(ctx context.Context, in NoticeInput) error {
	activity.GetLogger(ctx).Warn(in.Text)
	return a.file(ctx, in.System, KindNotice, in.Run, in.Text)
}

// RecordPoints puts the recovery point of a run on the ledger, with the proof
// level that each backup has there, and returns the points as recorded. A level
// that can't be read is not claimed, and the result says why.
func (a *Activities) RecordPoints(ctx context.Context, in PointsInput) (PointsResult, error) {
	var notes []string
	note := func(err error) {
		if text := err.Error(); !slices.Contains(notes, text) {
			notes = append(notes, text)
		}
	}
	for i := range in.Points {
		proof, err := a.deps.Proof(ctx, in.System, in.Points[i].Backup)
		if ctx.Err() != nil {
			return PointsResult{}, ctx.Err()
		}
		if err != nil {
			note(err)
		}
		for _, unreadable := range proof.Unreadable {
			note(unreadable)
		}
		in.Points[i].Proof = proof.Level
	}
	if more := len(notes) - mostNotes; more > 0 {
		notes = append(notes[:mostNotes], fmt.Sprintf("and %d more", more))
	}
	return PointsResult{Points: in.Points, Notes: notes}, a.file(ctx, in.System, KindPoint, in.Run, in.Points)
}

// RecordBackup puts a backup that was made and read back on the ledger.
func (a *Activities) RecordBackup(ctx context.Context, in BackupInput) error {
	return a.file(ctx, in.System, KindBackup, in.Key, in.Backup)
}

// RecordUnchanged puts on the ledger that a backup still equals its source, when
// the ledger has a proof of that backup. Without a proof it is not recorded, and a
// new backup is needed: an unproven one keeps no recovery point fresh.
func (a *Activities) RecordUnchanged(ctx context.Context, in UnchangedInput) (UnchangedResult, error) {
	proof, err := a.deps.Proof(ctx, in.System, in.Unchanged.Key)
	if err != nil || proof.Level == "" {
		return UnchangedResult{}, err
	}
	in.Unchanged.Proof = proof.Level
	return UnchangedResult{Proof: proof.Level}, a.file(ctx, in.System, KindUnchanged, in.Unchanged.Key, in.Unchanged)
}

// RecordCleanUp puts on the ledger what a clean-up removed.
func (a *Activities) RecordCleanUp(ctx context.Context, in CleanUpInput) error {
	return a.file(ctx, in.System, KindCleanUp, in.Run, in.Result)
}

// RecordRetentionPlan puts on the ledger what is about to be removed.
func (a *Activities) RecordRetentionPlan(ctx context.Context, in RetentionInput) error {
	return a.file(ctx, in.System, KindToRemove, in.Run, in.Result)
}

// RecordRetention puts on the ledger what was removed, and why the rest is kept.
func (a *Activities) RecordRetention(ctx context.Context, in RetentionInput) error {
	return a.file(ctx, in.System, KindRetention, in.Run, in.Result)
}

// RecordArchive puts on the ledger that WAL was lost, or had to be pushed again.
func (a *Activities) RecordArchive(ctx context.Context, in ArchiveInput) error {
	return a.file(ctx, in.System, KindArchive, in.Checked.Component, in.Checked)
}

// RecordVerified puts on the ledger how far a backup was proven, or that it is damaged.
func (a *Activities) RecordVerified(ctx context.Context, in VerifiedInput) error {
	kind := KindProof
	if in.Verified.Damage != "" {
		kind = KindDamage
	}
	return a.file(ctx, in.System, kind, in.Verified.Key, in.Verified)
}

// FileReport puts the record of a run on the ledger, with the attempts that its
// steps took, as the histories tell.
func (a *Activities) FileReport(ctx context.Context, in ReportInput) error {
	executions := []Execution{{ID: in.Record.ID, RunID: in.Record.RunID}}
	for _, child := range in.Children {
		executions = append(executions, Execution{ID: child})
	}
	attempts, err := a.deps.Attempts(ctx, executions)
	if err != nil {
		return err
	}
	for i := range in.Record.Steps {
		step := &in.Record.Steps[i]
		found, ok := attempts[StepID(step.ID)]
		if !ok {
			continue
		}
		step.Attempts, step.Retried = found.Count, found.LastFailure
	}
	return a.file(ctx, in.System, KindRun, in.Record.ID, in.Record)
}

// FileDrill puts a drill on the ledger, and with it the proof of every backup
// that came back whole: level L4.
func (a *Activities) FileDrill(ctx context.Context, in DrillInput) error {
	info := activity.GetInfo(ctx)
	for _, key := range in.Proven {
		id := info.WorkflowExecution.ID + "@" + info.WorkflowExecution.RunID + "/proof/" + key
		proof := Proven{Level: "L4", Run: in.Record.ID, At: in.Record.Finished}
		if err := a.deps.File(ctx, in.System, Record{ID: id, Kind: KindProof, Subject: key, Body: proof}); err != nil {
			return err
		}
	}
	return a.FileReport(ctx, ReportInput{System: in.System, Record: in.Record, Children: in.Children})
}

// ReportStatus looks at how the system stands, and files it.
func (a *Activities) ReportStatus(ctx context.Context, in StatusInput) (api.StatusResult, error) {
	found := a.deps.Status(ctx, in.System)
	if err := ctx.Err(); err != nil {
		return api.StatusResult{}, err
	}
	return api.StatusResult{Answer: found.Answer, Late: found.Late, Wrong: found.Wrong}, a.file(ctx, in.System, status.Kind, in.System.Name, found)
}

// file appends a record once, however often the activity is tried.
func (a *Activities) file(ctx context.Context, s system.System, kind, subject string, body any) error {
	info := activity.GetInfo(ctx)
	id := info.WorkflowExecution.ID + "@" + info.WorkflowExecution.RunID + "/" + info.ActivityID
	return a.deps.File(ctx, s, Record{ID: id, Kind: kind, Subject: subject, Body: body})
}
