package files

import (
	"time"

	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

// Folders of the store.
const (
	FolderFiles         = "file-backups"
	FolderConfiguration = "config-backups"
)

// Place says where on this host a recovery happens. RestorePreflight decides it
// once, and every later step is given it.
type Place struct {
	Live    string `json:"live"`    // the directory that is recovered
	Staging string `json:"staging"` // beside it: what is restored, until the cut-over
	Aside   string `json:"aside"`   // beside it: the old directory, after the cut-over
	Run     string `json:"run"`     // whose recovery it is
	Journal string `json:"journal"` // progress of the restore
}

// BackupInput says what to back up, and for which run.
type BackupInput struct {
	System system.System  `json:"system"`
	Set    system.FileSet `json:"set"`
	Folder string         `json:"folder"` // FolderFiles or FolderConfiguration
	RunID  string         `json:"run_id"` // workflow id; the same id again is the same backup
	By     string         `json:"by,omitempty"`
	At     time.Time      `json:"at"` // start of the run: names the backup
}

// BackupResult says what was captured and stored.
type BackupResult struct {
	Key    string `json:"key"`
	Bytes  int64  `json:"bytes"`  // of contents and table
	Stored int64  `json:"stored"` // in the store
	Facts  Facts  `json:"facts"`
}

// Moved says what the step moved.
func (r BackupResult) Moved() (direction string, bytes int64) { return "backup", r.Bytes }

// FactsName is the name of Facts in the manifest of a backup.
const FactsName = "tree"

// Facts are what a backup says of its tree. The recovery point of a file set is
// Started: what was written later may or may not be in it.
type Facts struct {
	Files    int64     `json:"files"`             // regular files
	Entries  int64     `json:"entries"`           // with directories and links
	Bytes    int64     `json:"bytes"`             // of regular files, holes included
	Content  int64     `json:"content"`           // length of the content stream
	Flagged  []string  `json:"flagged,omitempty"` // first paths that changed while they were read
	Changed  int64     `json:"changed"`           // how many there are
	Skipped  int64     `json:"skipped"`           // sockets, devices, FIFOs, other file systems
	Vanished int64     `json:"vanished"`          // deleted while they were read
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
}

// RestorePreflightInput names the backup and where it is to go.
type RestorePreflightInput struct {
	System system.System  `json:"system"`
	Set    system.FileSet `json:"set"`
	Folder string         `json:"folder"`
	Target system.Target  `json:"target"`
	Key    string         `json:"key"`             // empty: the newest complete backup
	RunID  string         `json:"run_id"`          // names the staging directory
	Before time.Time      `json:"before,omitzero"` // without Key: its state is not newer than this; zero: the newest
}

// RestorePreflightResult is the resolved restore.
type RestorePreflightResult struct {
	Key   string `json:"key"`
	Place Place  `json:"place"`
	Facts Facts  `json:"facts"`
	Free  int64  `json:"free"` // bytes free where the staging directory lies

	PassedOver []string            `json:"passed_over,omitempty"` // newer backups, dated in the future
	Incomplete []report.PassedOver `json:"incomplete,omitempty"`  // newer backups of which something is in no store
}

// RestoreInput restores a backup into the staging directory.
type RestoreInput struct {
	System system.System  `json:"system"`
	Set    system.FileSet `json:"set"`
	Key    string         `json:"key"`
	Place  Place          `json:"place"`
}

// RestoreResult says what a restore wrote. Resumed bytes are those that an
// earlier attempt had written.
type RestoreResult struct {
	Files   int64 `json:"files"`
	Bytes   int64 `json:"bytes"`
	Resumed int64 `json:"resumed"`
	// Dropped counts owners, special modes and attributes that could not be
	// given, because the worker is not root or the file system has none.
	Dropped int64 `json:"dropped"`

	Fallbacks []report.Fallback `json:"fallbacks,omitempty"` // objects that had to be read from the replica
}

// Moved says what the step moved.
func (r RestoreResult) Moved() (direction string, bytes int64) { return "restore", r.Bytes - r.Resumed }

// Progress is the heartbeat of Backup, Restore and Verify, in bytes. Total is 0
// while it is not known.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// VerifyInput compares the staging directory with the backup's table.
type VerifyInput struct {
	System system.System  `json:"system"`
	Set    system.FileSet `json:"set"`
	Key    string         `json:"key"`
	Place  Place          `json:"place"`
}

// VerifyResult says what was compared.
type VerifyResult struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"` // whose SHA-256 was compared
}

// CutOverInput puts the staging directory in place of the live one.
type CutOverInput struct {
	System system.System  `json:"system"`
	Set    system.FileSet `json:"set"`
	Target system.Target  `json:"target"`
	Place  Place          `json:"place"`
	RunID  string         `json:"run_id"`
}

// CutOverResult says where the old directory is kept for undo; empty when there was none.
type CutOverResult struct {
	Live string `json:"live"`
	Old  string `json:"old,omitempty"`
	// Carried counts entries of the old directory that the set leaves out and
	// that are therefore kept as they were.
	Carried int64 `json:"carried"`
	// Left are directories that the set leaves out and that are not there now:
	// the restored tree had something else under their names.
	Left []string `json:"left,omitempty"`
}

// DiscardInput removes a staging directory that was not cut over.
type DiscardInput struct {
	Place Place  `json:"place"`
	RunID string `json:"run_id"`
}

// DiscardRunInput names a run that has ended and left its staging directory.
type DiscardRunInput struct {
	Set   system.FileSet `json:"set"`
	RunID string         `json:"run_id"`
}

// DiscardResult says whether there was one.
type DiscardResult struct {
	Removed bool `json:"removed"`
}

// UndoCutOverInput puts the directory back that a recovery replaced.
type UndoCutOverInput struct {
	Set   system.FileSet `json:"set"`
	Of    string         `json:"of"`     // the recovery, as it stands in the names of directories
	RunID string         `json:"run_id"` // who takes it back
}

// UndoCutOverResult says where what had been recovered is kept.
type UndoCutOverResult struct {
	Live    string   `json:"live"`
	Kept    string   `json:"kept"`
	Carried int64    `json:"carried,omitempty"` // entries beyond the set's patterns that appeared in the old directory
	Left    []string `json:"left,omitempty"`    // directories of those that something else had the name of
}
