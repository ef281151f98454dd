package vault

import (
	"time"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// VerifyInput names a backup to read back.
type VerifyInput struct {
	System system.System `json:"system"`
	Key    string        `json:"key"`
}

// VerifyResult says what was read and authenticated: proof level L1.
type VerifyResult struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// Moved says what the step moved.
func (r VerifyResult) Moved() (direction string, bytes int64) { return "verify", r.Bytes }

// ReplicateInput names the store whose replica is brought up to date; empty: the primary.
type ReplicateInput struct {
	System system.System `json:"system"`
	Store  string        `json:"store,omitempty"`
	Until  time.Time     `json:"until,omitzero"` // what is new is copied as long; zero: one pass
}

// ReplicateResult says what was copied.
type ReplicateResult struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
	Present int64  `json:"present"` // objects that were there already

	Missing    int64           `json:"missing,omitempty"`    // objects that the replica lacks at the end
	Lag        system.Duration `json:"lag"`                  // the longest that an object was in one region only
	Incomplete []string        `json:"incomplete,omitempty"` // complete backups whose copies are not
}

// Moved says what the step moved.
func (r ReplicateResult) Moved() (direction string, bytes int64) { return "replicate", r.Bytes }

// SweepInput asks for what unfinished backups left to be removed.
type SweepInput struct {
	System system.System `json:"system"`
	DryRun bool          `json:"dry_run,omitempty"`
	By     string        `json:"by,omitempty"`
}

// SweepResult says what was removed, and what was looked at and kept.
type SweepResult struct {
	Removed []api.Cleaned `json:"removed,omitempty"`
	Kept    []api.Cleaned `json:"kept,omitempty"`
	Note    string        `json:"note,omitempty"` // why nothing was looked at
}

// Progress is the heartbeat of all, in bytes. Total is 0 while it is not known.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// PlanRetentionInput asks what has outlived its retention.
type PlanRetentionInput struct {
	System system.System `json:"system"`
	AtMost int           `json:"at_most,omitempty"` // percent of a component's backups; 0: the default
	By     string        `json:"by,omitempty"`
}

// PlanRetentionResult is what would go, and what not.
type PlanRetentionResult struct {
	Since time.Time        `json:"since"`
	Going []api.Retained   `json:"going"`
	Kept  []api.Retained   `json:"kept"`
	Floor []RetentionFloor `json:"floor,omitempty"`
	Notes []string         `json:"notes,omitempty"`
}

// RetentionFloor is from where on the WAL of a cluster stays in a store.
type RetentionFloor struct { // as retention.Floor has it
	Store    string `json:"store"`
	Database string `json:"database"`
	SystemID string `json:"system_id"`
	Below    uint64 `json:"below"`
	Kept     int    `json:"kept,omitempty"`
}

// ReadersInput names the system whose backups somebody may be reading.
type ReadersInput struct {
	System system.System `json:"system"`
}

// ReadersResult names a run that reads; "" when none does.
type ReadersResult struct {
	Run string `json:"run,omitempty"`
}

// CarryOutInput is a plan, and the store in which it is carried out.
type CarryOutInput struct {
	System system.System    `json:"system"`
	Store  string           `json:"store"`
	Going  []api.Retained   `json:"going"`
	Floor  []RetentionFloor `json:"floor,omitempty"`
	AtMost int              `json:"at_most,omitempty"`
	By     string           `json:"by,omitempty"`
}

// CarryOutResult is what was removed, and what was planned and kept all the same.
type CarryOutResult struct {
	Removed []api.Retained `json:"removed"`
	Kept    []api.Retained `json:"kept"`
}
