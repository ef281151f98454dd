package api

import (
	"fmt"
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

	// Unchanged are the components whose newest backup still equals the source.
	Unchanged []Unchanged `json:"unchanged,omitempty"`
}

// Unchanged says that a backup still equals its source, so that none was made.
// It is the body of the ledger record of kind "unchanged", whose subject is the
// backup's key: whoever measures a recovery point takes the later of the backup's
// own time and the At of the newest such record.
type Unchanged struct {
	Component string    `json:"component"` // "cache/sessions"
	Key       string    `json:"key"`       // the backup
	At        time.Time `json:"at"`        // nothing had changed since the backup at this moment
	Proof     string    `json:"proof"`     // proof level of the backup
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

	Missing    int64           `json:"missing,omitempty"`    // objects that the replica lacks at the end
	Lag        system.Duration `json:"lag"`                  // the longest that an object of this run was in one region only
	Incomplete []string        `json:"incomplete,omitempty"` // complete backups whose copies are not
}

// StatusResult is what a status report found.
type StatusResult struct {
	Answer string `json:"answer"` // in one line
	Late   int    `json:"late"`
	Wrong  int    `json:"wrong"`
}

// DrillResult is what a drill returns.
type DrillResult struct {
	RecoverResult
	From      string   `json:"from"`      // the store that alone was read
	Untouched bool     `json:"untouched"` // production was seen before and after, and is the same
	Clean     bool     `json:"clean"`     // nothing is left in the sandbox
	Compared  int      `json:"compared"`  // tables whose rows and digest equal production's
	Notes     []string `json:"notes,omitempty"`
}

// CleanUpResult says what was removed, or would be with DryRun, and what was
// looked at and kept.
type CleanUpResult struct {
	System   string    `json:"system"`
	DryRun   bool      `json:"dry_run,omitempty"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Removed  []Cleaned `json:"removed"`
	Kept     []Cleaned `json:"kept"`
	Notes    []string  `json:"notes,omitempty"` // what was not looked at, and why
}

// RetentionResult says what was removed, or would be with DryRun, and why everything
// else is kept. It is the body of the ledger record of kind "retention".
type RetentionResult struct {
	System   string     `json:"system"`
	DryRun   bool       `json:"dry_run,omitempty"`
	Started  time.Time  `json:"started"`
	Finished time.Time  `json:"finished"`
	Since    time.Time  `json:"since,omitzero"` // points since then stay within reach
	Removed  []Retained `json:"removed"`
	Kept     []Retained `json:"kept"`
	Notes    []string   `json:"notes,omitempty"`
}

// Retained is one backup that goes or is kept, or a row of them or of WAL that is
// kept for one reason.
type Retained struct {
	Store     string    `json:"store"` // as configured: "primary"
	Component string    `json:"component,omitempty"`
	What      string    `json:"what"`             // "backup", "WAL"; "objects" of a removed backup that others are made of; "remains" of a removed one
	First     string    `json:"first"`            // key of a backup, or of a WAL segment
	Last      string    `json:"last,omitempty"`   // of a row
	Count     int64     `json:"count"`            // backups, segments, objects
	Bytes     int64     `json:"bytes"`            // as stored; of what goes, those that are given back
	Reason    string    `json:"reason,omitempty"` // "younger", "anchor", "held", …; "": it goes
	Why       string    `json:"why"`
	Until     time.Time `json:"until,omitzero"` // when the reason ends, where that is known
}

// String tells it in one line.
func (r Retained) String() string {
	told := r.What + " " + r.First
	if r.Last != "" {
		told = fmt.Sprintf("%d %s from %s to %s", r.Count, map[string]string{"backup": "backups", "WAL": "WAL files"}[r.What], r.First, r.Last)
	}
	if r.What == "objects" {
		told = fmt.Sprintf("%d objects of %s", r.Count, r.First)
	}
	told += " in " + r.Store
	if r.Reason != "" {
		told += ": " + r.Reason
	}
	return told + ": " + r.Why
}

// CheckArchiveResult says how the WAL archives stand, and which backups were begun
// because WAL was lost.
type CheckArchiveResult struct {
	System   string           `json:"system"`
	Archives []ArchiveChecked `json:"archives"`
	Backups  []string         `json:"backups,omitempty"` // workflow IDs
}

// ArchiveChecked is what was found of one database's WAL archive. It is the body of
// the ledger record of kind "archive", whose subject is the component, when
// anything was lost or pushed again.
type ArchiveChecked struct {
	Component string    `json:"component"` // "database/frende"
	At        time.Time `json:"at"`
	Newest    string    `json:"newest,omitempty"`  // segment in the store
	Late      []string  `json:"late,omitempty"`    // completed too long ago, and not there yet
	Again     []string  `json:"again,omitempty"`   // believed to be archived, not there, and pushed now from pg_wal
	Lost      []string  `json:"lost,omitempty"`    // not there and nowhere else: no recovery goes past the first of them until there is a newer base backup
	Standby   bool      `json:"standby,omitempty"` // the server is in recovery: nothing was checked

	Replica *ReplicaChecked `json:"replica,omitempty"` // none: the store has no replica
}

// ReplicaChecked is what the second region has of the WAL in the primary store. A
// recovery from there alone goes as far as the first segment that it lacks.
type ReplicaChecked struct {
	Store  string   `json:"store"`
	Newest string   `json:"newest,omitempty"` // segment of the server's timeline
	Lacks  int      `json:"lacks,omitempty"`  // segments from the newest base backup on that are in the primary store alone
	Late   []string `json:"late,omitempty"`   // of these, what has been in the primary store for too long; at most 20
	Why    string   `json:"why,omitempty"`    // it could not be looked at
}

// Held says how much of a database's WAL is where it should not be.
func (a ArchiveChecked) Held() (component string, late, again, lost int) {
	return a.Component, len(a.Late), len(a.Again), len(a.Lost)
}

// Cleaned is one thing that a clean-up removed or kept.
type Cleaned struct {
	What      CleanedKind `json:"what"`
	Component string      `json:"component,omitempty"` // "database/frende"
	Subject   string      `json:"subject"`             // a backup's key, or a path on the host
	Objects   int64       `json:"objects,omitempty"`   // of a backup
	Bytes     int64       `json:"bytes,omitempty"`     // of a backup, as stored
	Why       string      `json:"why"`
}

// CleanedKind says what a clean-up looked at.
type CleanedKind string

// Kinds of what a clean-up looks at.
const (
	UnfinishedBackup CleanedKind = "unfinished backup"
	OldDirectory     CleanedKind = "old directory"     // replaced by a recovery, kept for undo
	OldDatabase      CleanedKind = "old database"      // replaced by a recovery from a dump, kept for undo
	RecoveryJournal  CleanedKind = "recovery journal"  // of a recovery that replaced nothing: a small file that says what it put in place
	StagingDirectory CleanedKind = "staging directory" // restored by a recovery, never put in place
	ScratchDirectory CleanedKind = "scratch directory" // restored only to be looked at
)

// RecoverResult is what a recovery returns.
type RecoverResult struct {
	System     string             `json:"system"`
	Target     string             `json:"target"`
	Report     string             `json:"report"` // ID for: lifeboat report ID
	RunID      string             `json:"run_id,omitempty"`
	Started    time.Time          `json:"started"`
	Finished   time.Time          `json:"finished"`
	RTA        system.Duration    `json:"rta"` // from the disaster, or the start when none was given
	Objective  system.Duration    `json:"objective"`
	Met        bool               `json:"met"`
	Components []ComponentOutcome `json:"components"`
	Checks     []Check            `json:"checks,omitempty"` // what was asked of the application that came back
}

// Check is the answer to one check.
type Check struct {
	Name    string          `json:"name"`
	OK      bool            `json:"ok"`
	Latency system.Duration `json:"latency"`
	Message string          `json:"message,omitempty"`
}

// ComponentOutcome is one component's part in a recovery.
type ComponentOutcome struct {
	Component string          `json:"component"`
	Backup    string          `json:"backup"`
	Asked     string          `json:"asked,omitempty"` // the point that was asked for; "": the newest
	Point     RecoveryPoint   `json:"point"`           // what was reached
	RPA       system.Duration `json:"rpa"`             // from the recovery point to the disaster
	RTA       system.Duration `json:"rta"`
	Compared  int             `json:"compared,omitempty"` // tables and sequences that equal the reference
	Proof     string          `json:"proof,omitempty"`    // proof level of the backup: "L1"
	Bytes     int64           `json:"bytes"`
	Rate      int64           `json:"rate,omitempty"`      // of the restore, in bytes per second
	Resumed   int64           `json:"resumed,omitempty"`   // bytes an attempt that was cut off had already restored
	Fallbacks []Fallback      `json:"fallbacks,omitempty"` // objects that came from the replica
	Undo      []string        `json:"undo,omitempty"`      // old directories that were kept

	PassedOver []PassedOver `json:"passed_over,omitempty"` // newer backups that could not be used
}

// PassedOver is a newer backup that a recovery could not use.
type PassedOver struct {
	Backup string `json:"backup"` // its key
	Why    string `json:"why"`
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

// VerifyResult says how far which backups were proven.
type VerifyResult struct {
	System   string     `json:"system"`
	Backups  []Verified `json:"backups"`
	Listed   []Listed   `json:"listed,omitempty"` // L0
	Started  time.Time  `json:"started"`
	Finished time.Time  `json:"finished"`
	Notes    []string   `json:"notes,omitempty"` // what was not verified, and why
}

// Verified is what a verification found of one backup. It is the body of the ledger
// record of kind "proof", or "damage" when something is wrong with the backup, whose
// subject is the backup's key.
type Verified struct {
	Component string    `json:"component"` // "database/frende"
	Key       string    `json:"key"`
	Level     string    `json:"level"` // that was tried: "L3"
	Run       string    `json:"run"`
	At        time.Time `json:"at"`
	Damage    string    `json:"damage,omitempty"` // what is wrong; "": it is proven at Level
	Random    bool      `json:"random,omitempty"` // it was chosen by chance among those before the newest

	Bytes      int64         `json:"bytes"`              // read and authenticated
	Files      int64         `json:"files,omitempty"`    // L2: whose size and CRC are those of the server's manifest
	Pages      int64         `json:"pages,omitempty"`    // L2: with the checksum that stands in them
	Point      RecoveryPoint `json:"point,omitzero"`     // L2: replayed up to
	Compared   int           `json:"compared,omitempty"` // L3: tables, sequences and large objects that equal the source's
	Databases  int           `json:"databases,omitempty"`
	Extensions int           `json:"extensions,omitempty"`
	Checks     []Check       `json:"checks,omitempty"` // L3: configured SQL
	Notes      []string      `json:"notes,omitempty"`
}

// Listed is how the backups of a component stand in one store by its listing alone: L0.
type Listed struct {
	Component string    `json:"component"`
	Store     string    `json:"store"`
	Backups   int       `json:"backups"` // of which everything is there, of its length
	Objects   int64     `json:"objects"`
	Bytes     int64     `json:"bytes"`             // as stored; what several backups are made of counts for each
	Locked    int       `json:"locked"`            // of the backups, those whose manifest can't be deleted now, as far as these credentials may see
	Copying   int       `json:"copying,omitempty"` // finished within the hour, and not whole in the replica yet
	Wrong     int       `json:"wrong,omitempty"`   // of which something is missing, or has another length
	Lacking   []Lacking `json:"lacking,omitempty"` // the newest 50 of these
}

// Lacking is a finished backup that is not whole in a store.
type Lacking struct {
	Key string `json:"key"`
	Why string `json:"why"`
}

// Take adds a backup that is whole.
func (l *Listed) Take(objects, bytes int64, locked bool) {
	l.Backups++
	l.Objects += objects
	l.Bytes += bytes
	if locked {
		l.Locked++
	}
}

// String tells it in one line.
func (l Listed) String() string {
	told := fmt.Sprintf("%d backups, %d objects, %s", l.Backups, l.Objects, system.Bytes(l.Bytes).Human())
	if l.Locked > 0 {
		told += fmt.Sprintf("; %d locked", l.Locked)
	}
	if l.Copying > 0 {
		told += fmt.Sprintf("; %d being copied", l.Copying)
	}
	if l.Wrong > 0 {
		told += fmt.Sprintf("; %d are not whole", l.Wrong)
	}
	return told
}

// ExtractResult says what was taken out of a database.
type ExtractResult struct {
	System    string        `json:"system"`
	Component string        `json:"component"` // "database/frende"
	Backup    string        `json:"backup"`    // key of the one that was restored
	Asked     string        `json:"asked"`     // the point
	Point     RecoveryPoint `json:"point"`     // that was reached
	Database  string        `json:"database"`
	Tables    []TableDigest `json:"tables"` // with their rows, -1 where they were not counted
	File      string        `json:"file"`   // on the worker's host
	Bytes     int64         `json:"bytes"`
	Plain     bool          `json:"plain"` // psql takes it; else pg_restore does
	Started   time.Time     `json:"started"`
	Finished  time.Time     `json:"finished"`
}

// UndoResult says what came back in place of what a recovery had put there.
type UndoResult struct {
	System     string            `json:"system"`
	Undone     string            `json:"undone"` // workflow ID of the recovery
	UndoneRun  string            `json:"undone_run"`
	Report     string            `json:"report"` // workflow ID: under it the report is filed
	RunID      string            `json:"run_id"`
	Started    time.Time         `json:"started"`
	Finished   time.Time         `json:"finished"`
	Components []UndoneComponent `json:"components"`
	Checks     []Check           `json:"checks,omitempty"`
	Notes      []string          `json:"notes,omitempty"` // what was left, and why
}

// UndoneComponent is one component that is as it was before a recovery.
type UndoneComponent struct {
	Component string   `json:"component"` // "database/frende"
	Dir       string   `json:"dir"`
	Kept      []string `json:"kept"`               // what the recovery had put in place, to undo the undo
	Timeline  uint32   `json:"timeline,omitempty"` // databases: that the server now writes
	LSN       string   `json:"lsn,omitempty"`
}

// CopyResult says what was restored to a directory, and how it is started.
type CopyResult struct {
	System      string        `json:"system"`
	Component   string        `json:"component"` // "database/frende"
	Backup      string        `json:"backup"`    // key of the one that was restored
	Asked       string        `json:"asked"`     // the point
	Point       RecoveryPoint `json:"point"`     // that was reached
	Dir         string        `json:"dir"`       // on the worker's host: a data directory that was shut down
	Tablespaces []string      `json:"tablespaces,omitempty"`
	Timeline    uint32        `json:"timeline"` // of its own: no archive knows it
	Start       string        `json:"start"`    // the command that starts it, as the server's account
	Bytes       int64         `json:"bytes"`
	Kept        int64         `json:"kept,omitempty"`  // of Bytes: that an older copy had
	Taken       int64         `json:"taken,omitempty"` // of Kept: that were taken over from it, and not written
	Started     time.Time     `json:"started"`
	Finished    time.Time     `json:"finished"`
}
