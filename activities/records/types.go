package records

import (
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

// LoadInput says which system a run is about. Empty: the one that the worker is
// configured for, and its production target.
type LoadInput struct {
	System string `json:"system,omitempty"`
	Target string `json:"target,omitempty"`
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
	began := r.Started
	if !r.Disaster.IsZero() {
		began = r.Disaster
	}
	recovers := strings.HasPrefix(r.Kind, "Recover") || strings.HasPrefix(r.Kind, "Drill")
	return r.Target, string(r.Outcome), r.Finished.Sub(began), r.Finished, recovers && !r.Finished.IsZero()
}

// BackupInput is a backup that was made and read back.
type BackupInput struct {
	System system.System `json:"system"`
	Run    string        `json:"run"`
	Backup any           `json:"backup"`
	Key    string        `json:"key"`
}
