package records

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// Kinds of ledger records.
const (
	KindRun    = "run"    // body: report.Run
	KindPoint  = "point"  // body: []report.Point
	KindBackup = "backup" // body: api.BackupMade
	KindNotice = "notice" // body: text
)

// Record is what goes on the ledger. The same ID again is the same record.
type Record struct {
	ID      string
	Kind    string
	Subject string // a run's workflow ID, or a backup's key
	Body    any
}

// Deps are what the activities need of their host.
type Deps struct {
	Load       func() (system.System, error)  // reads the worker's configuration anew
	Searchable func(ctx context.Context) bool // whether runs may set search attributes; nil: they may not
	File       func(ctx context.Context, s system.System, r Record) error
	Proof      func(ctx context.Context, s system.System, key string) (string, error) // highest level on the ledger; "" for none
	Attempts   func(ctx context.Context, workflows []Execution) (map[StepID]Attempts, error)
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
	_, target, err := loaded.ForTarget(in.Target)
	searchable := a.deps.Searchable != nil && a.deps.Searchable(ctx)
	return Loaded{System: loaded, Target: target, SearchAttributes: searchable}, err
}

// Notice tells people, in the log and on the ledger.
func (a *Activities) Notice(ctx context.Context, in NoticeInput) error {
	activity.GetLogger(ctx).Warn(in.Text)
	return a.file(ctx, in.System, KindNotice, in.Run, in.Text)
}

// RecordPoints puts the recovery point of a run on the ledger, with the proof
// level that each backup has there, and returns the points as recorded.
func (a *Activities) RecordPoints(ctx context.Context, in PointsInput) (PointsResult, error) {
	for i := range in.Points {
		level, err := a.deps.Proof(ctx, in.System, in.Points[i].Backup)
		if err != nil {
			return PointsResult{}, err
		}
		in.Points[i].Proof = level
	}
	return PointsResult{Points: in.Points}, a.file(ctx, in.System, KindPoint, in.Run, in.Points)
}

// RecordBackup puts a backup that was made and read back on the ledger.
func (a *Activities) RecordBackup(ctx context.Context, in BackupInput) error {
	return a.file(ctx, in.System, KindBackup, in.Key, in.Backup)
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
		step.Attempts = found.Count
		if found.LastFailure != "" && step.Failure == nil {
			step.Detail = fmt.Sprintf("%s (attempt %d; the one before: %s)", step.Detail, found.Count, found.LastFailure)
		}
	}
	return a.file(ctx, in.System, KindRun, in.Record.ID, in.Record)
}

// file appends a record once, however often the activity is tried.
func (a *Activities) file(ctx context.Context, s system.System, kind, subject string, body any) error {
	info := activity.GetInfo(ctx)
	id := info.WorkflowExecution.ID + "@" + info.WorkflowExecution.RunID + "/" + info.ActivityID
	return a.deps.File(ctx, s, Record{ID: id, Kind: kind, Subject: subject, Body: body})
}
