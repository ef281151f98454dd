package api

import (
	"time"

	"github.com/frende/lifeboat/internal/system"
)

// BackupResult is what a backup workflow returns.
type BackupResult struct {
	System   string           `json:"system"`
	Backups  []BackupMade     `json:"backups"`
	Started  time.Time        `json:"started"`
	Finished time.Time        `json:"finished"`
	Replica  *ReplicateResult `json:"replica,omitempty"`
	Steps    []Step           `json:"steps,omitempty"` // of a part of a larger run, which tells them
}

// BackupMade is one backup that was made, read back and recorded.
type BackupMade struct {
	Component string    `json:"component"` // "database/frende"
	Key       string    `json:"key"`
	Bytes     int64     `json:"bytes"`  // at the source
	Stored    int64     `json:"stored"` // in the store
	From      time.Time `json:"from"`   // the captured state is not older than this …
	To        time.Time `json:"to"`     // … and holds nothing newer than this
	LSN       string    `json:"lsn,omitempty"`
	Proof     string    `json:"proof"` // proof level reached: "L1"
	Note      string    `json:"note,omitempty"`
}

// ReplicateResult says what a replication copied.
type ReplicateResult struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
	Present int64  `json:"present"` // objects that were there already
}

// RecoverResult is what a recovery returns.
type RecoverResult struct {
	System     string             `json:"system"`
	Target     string             `json:"target"`
	Report     string             `json:"report"` // ID for: lifeboat report ID
	Started    time.Time          `json:"started"`
	Finished   time.Time          `json:"finished"`
	RTA        system.Duration    `json:"rta"` // from the disaster, or the start when none was given
	Objective  system.Duration    `json:"objective"`
	Met        bool               `json:"met"`
	Components []ComponentOutcome `json:"components"`
}

// ComponentOutcome is one component's part in a recovery.
type ComponentOutcome struct {
	Component string          `json:"component"`
	Backup    string          `json:"backup"`
	Point     RecoveryPoint   `json:"point"`
	RPA       system.Duration `json:"rpa"` // from the recovery point to the disaster
	RTA       system.Duration `json:"rta"`
	Bytes     int64           `json:"bytes"`
	Resumed   int64           `json:"resumed,omitempty"`   // bytes an attempt that was cut off had already restored
	Fallbacks []Fallback      `json:"fallbacks,omitempty"` // objects that came from the replica
	Undo      []string        `json:"undo,omitempty"`      // old directories that were kept
}

// RecoveryPoint is the state that a component came back to. Everything written
// before From is there; nothing written after To is.
type RecoveryPoint struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	LSN      string    `json:"lsn,omitempty"` // database: replayed up to here, exactly
	Timeline uint32    `json:"timeline,omitempty"`
}

// Fallback is an object that had to be read from the replica.
type Fallback struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
	From   string `json:"from"`
	To     string `json:"to"`
}
