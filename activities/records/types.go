package records

import (
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// LoadInput says which system a run is about. Empty: the one that the worker is
// configured for, and its production target.
type LoadInput struct {
	System string `json:"system,omitempty"`
	Target string `json:"target,omitempty"`
	From   string `json:"from,omitempty"` // the one store that is used
}

// Loaded is the configuration that a run is pinned to.
type Loaded struct {
	System system.System `json:"system"` // not yet mapped into Target: see system.ForTarget
	Target system.Target `json:"target"`

	SearchAttributes bool `json:"search_attributes,omitempty"` // the namespace has all that a run sets
}

// NoticeInput is a notice that people should see.
type NoticeInput struct {
	System system.System `json:"system"`
	Run    string        `json:"run"`
	Text   string        `json:"text"`
}

// PointsInput is the recovery point that a run is about to cut over to.
type PointsInput struct {
	System system.System  `json:"system"`
	Run    string         `json:"run"` // workflow ID @ run ID
	Points []report.Point `json:"points"`
}

// PointsResult is the recovery point with what the ledger knows of the backups.
type PointsResult struct {
	Points []report.Point `json:"points"`
	Notes  []string       `json:"notes,omitempty"` // what of the ledger could not be read
}

// FindRunInput names a run of the ledger.
type FindRunInput struct {
	System system.System `json:"system"`
	ID     string        `json:"id"` // workflow ID, or ID@RUN
}

// FoundRun is what the ledger says of a run, without its steps.
type FoundRun struct {
	Run     report.Run `json:"run"`
	CutOver bool       `json:"cut_over"` // it has begun to put something in place
}

// ReportInput is the record of a run that ended.
type ReportInput struct {
	System   system.System `json:"system"`
	Record   report.Run    `json:"record"`
	Children []string      `json:"children,omitempty"` // workflow IDs whose histories hold attempts of the record's steps
}

// Ended says how a recovery ended; ok is false for other runs.
func (in ReportInput) Ended() (target, outcome string, rta time.Duration, at time.Time, ok bool) {
	return ended(in.Record)
}

// LastRecovery is the record of a recovery as the ledger has it.
type LastRecovery report.Run

// Ended says how it ended.
func (r LastRecovery) Ended() (target, outcome string, rta time.Duration, at time.Time, ok bool) {
	return ended(report.Run(r))
}

func ended(r report.Run) (target, outcome string, rta time.Duration, at time.Time, ok bool) {
	recovers := strings.HasPrefix(r.Kind, "Recover") || strings.HasPrefix(r.Kind, "Drill")
	return r.Target, string(r.Outcome), r.RTA(r.Finished), r.Finished, recovers && !r.Finished.IsZero()
}

// BackupInput is a backup that was made and read back.
type BackupInput struct {
	System system.System `json:"system"`
	Run    string        `json:"run"`
	Backup any           `json:"backup"`
	Key    string        `json:"key"`
}

// DrillInput is the record of a drill that ended.
type DrillInput struct {
	System   system.System `json:"system"`
	Record   report.Run    `json:"record"`
	Children []string      `json:"children,omitempty"`
	Proven   []string      `json:"proven,omitempty"` // keys of the backups that it proved at L4
}

// Proven is how far a run has proven a backup.
type Proven struct {
	Level string    `json:"level"` // "L4"
	Run   string    `json:"run"`   // the run that proved it
	At    time.Time `json:"at"`
}

// UnchangedInput is a backup that still equals its source.
type UnchangedInput struct {
	System    system.System `json:"system"`
	Unchanged api.Unchanged `json:"unchanged"`
}

// UnchangedResult gives the proof level of that backup; "" when it has none and
// nothing was recorded.
type UnchangedResult struct {
	Proof string `json:"proof,omitempty"`
}

// CleanUpInput is what a clean-up did.
type CleanUpInput struct {
	System system.System     `json:"system"`
	Run    string            `json:"run"`
	Result api.CleanUpResult `json:"result"`
}

// RetentionInput is what a retention is about to do, or did.
type RetentionInput struct {
	System system.System       `json:"system"`
	Run    string              `json:"run"`
	Result api.RetentionResult `json:"result"`
}

// ArchiveInput is what a check of a WAL archive found.
type ArchiveInput struct {
	System  system.System      `json:"system"`
	Checked api.ArchiveChecked `json:"checked"`
}

// VerifiedInput is what a verification found of a backup.
type VerifiedInput struct {
	System   system.System `json:"system"`
	Verified api.Verified  `json:"verified"`
}

// StatusInput names the system that is looked at.
type StatusInput struct {
	System system.System `json:"system"`
}
