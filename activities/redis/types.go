package redis

import (
	"time"

	"github.com/frende/lifeboat/internal/redis"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

// Folder of the store that Redis backups lie in, and the name of Facts in a manifest.
const (
	Folder    = "redis-backups"
	FactsName = "redis"
)

// Place says where on this host a recovery happens. RestorePreflight decides it
// once, and every later step is given it.
type Place struct {
	Live    string `json:"live"`    // the server's data directory
	Staging string `json:"staging"` // beside it: what is restored, until the cut-over
	Aside   string `json:"aside"`   // beside it: the old directory, after the cut-over
	Run     string `json:"run"`     // whose recovery it is
}

// Layout is how the server that will read the data directory is configured.
type Layout = redis.Layout

// Facts are what a backup says of the server. The recovery point is Started:
// the RDB holds the data set of one moment between Started and Forked.
type Facts struct {
	Version  string           `json:"version"`
	RunID    string           `json:"run_id"` // of the server process
	Role     string           `json:"role"`
	Layout   Layout           `json:"layout"`
	Keys     int64            `json:"keys"`  // sum over databases, counted right after the fork
	Slack    int64            `json:"slack"` // most keys that may have come or gone between fork and count
	KeysByDB map[string]int64 `json:"keys_by_db"`
	Expires  int64            `json:"expires"`        // keys with an expiry
	Bytes    int64            `json:"bytes"`          // of the RDB
	Dir      redis.Owner      `json:"dir"`            // who owned the data directory
	File     redis.Owner      `json:"file"`           // who owned the RDB
	Started  time.Time        `json:"started"`        // before BGSAVE was sent
	Forked   time.Time        `json:"forked"`         // when the server had forked
	Finished time.Time        `json:"finished"`       // when the RDB was complete
	Mark     *redis.Mark      `json:"mark,omitempty"` // tells whether anything changed since; absent in the oldest backups
}

// BackupPreflightInput asks whether a backup can be taken.
type BackupPreflightInput struct {
	System system.System `json:"system"`
	Cache  system.Cache  `json:"cache"`
}

// BackupPreflightResult is what the server says of itself.
type BackupPreflightResult struct {
	Facts Facts `json:"facts"`
}

// UnchangedInput asks whether the newest backup still equals the server.
type UnchangedInput struct {
	System system.System `json:"system"`
	Cache  system.Cache  `json:"cache"`
}

// UnchangedResult says which backup was compared, and why one is needed; Why is
// empty when nothing changed since.
type UnchangedResult struct {
	Key string    `json:"key,omitempty"`
	At  time.Time `json:"at"` // before the server was asked
	Why string    `json:"why,omitempty"`
}

// BackupInput says what to back up, and for which run.
type BackupInput struct {
	System system.System `json:"system"`
	Cache  system.Cache  `json:"cache"`
	RunID  string        `json:"run_id"` // workflow id; the same id again is the same backup
	By     string        `json:"by,omitempty"`
	At     time.Time     `json:"at"`
}

// BackupResult says what was captured and stored.
type BackupResult struct {
	Key    string `json:"key"`
	Bytes  int64  `json:"bytes"`
	Stored int64  `json:"stored"`
	Facts  Facts  `json:"facts"`
}

// Moved says what the step moved.
func (r BackupResult) Moved() (direction string, bytes int64) { return "backup", r.Bytes }

// RestorePreflightInput names the backup and where it is to go.
type RestorePreflightInput struct {
	System system.System `json:"system"`
	Cache  system.Cache  `json:"cache"`
	Target system.Target `json:"target"`
	Key    string        `json:"key"`             // empty: the newest complete backup
	RunID  string        `json:"run_id"`          // names the staging directory
	Before time.Time     `json:"before,omitzero"` // without Key: its state is not newer than this; zero: the newest
}

// RestorePreflightResult is the resolved restore.
type RestorePreflightResult struct {
	Key    string `json:"key"`
	Place  Place  `json:"place"`
	Facts  Facts  `json:"facts"`  // of the backup
	Layout Layout `json:"layout"` // of the server that will read it
	Free   int64  `json:"free"`   // bytes free where the staging directory lies

	PassedOver []string            `json:"passed_over,omitempty"` // newer backups, dated in the future
	Incomplete []report.PassedOver `json:"incomplete,omitempty"`  // newer backups of which something is in no store
}

// RestoreInput restores a backup into the staging directory.
type RestoreInput struct {
	System system.System `json:"system"`
	Cache  system.Cache  `json:"cache"`
	Key    string        `json:"key"`
	Place  Place         `json:"place"`
	Layout Layout        `json:"layout"`
}

// RestoreResult says what a restore wrote.
type RestoreResult struct {
	Bytes   int64 `json:"bytes"`
	Resumed int64 `json:"resumed"` // that an earlier attempt had written

	Fallbacks []report.Fallback `json:"fallbacks,omitempty"` // objects that had to be read from the replica
}

// Moved says what the step moved.
func (r RestoreResult) Moved() (direction string, bytes int64) { return "restore", r.Bytes - r.Resumed }

// Progress is the heartbeat of Backup and Restore, in bytes. Total is 0 while it
// is not known.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// VerifyInput checks the staging directory with Redis's tools, and loads it in
// an isolated server.
type VerifyInput struct {
	System system.System `json:"system"`
	Cache  system.Cache  `json:"cache"`
	Place  Place         `json:"place"`
	Layout Layout        `json:"layout"`
	Facts  Facts         `json:"facts"`
}

// VerifyResult says what the isolated server loaded.
type VerifyResult struct {
	Version string `json:"version"` // of the server that loaded it
	Keys    int64  `json:"keys"`
	Expired int64  `json:"expired"` // keys that ran out between backup and load
}

// CutOverInput stops the service, swaps the directories and starts it again.
type CutOverInput struct {
	System system.System `json:"system"`
	Cache  system.Cache  `json:"cache"`
	Target system.Target `json:"target"`
	Place  Place         `json:"place"`
	Layout Layout        `json:"layout"`
	Facts  Facts         `json:"facts"`
	RunID  string        `json:"run_id"`
}

// CutOverResult says what the live server holds now, and where the old
// directory is kept for undo; empty when there was none.
type CutOverResult struct {
	Live    string `json:"live"`
	Old     string `json:"old,omitempty"`
	Keys    int64  `json:"keys"`
	Expired int64  `json:"expired"`
}

// DiscardInput removes a staging directory that was not cut over.
type DiscardInput struct {
	Place Place  `json:"place"`
	RunID string `json:"run_id"`
}

// DiscardRunInput names a run that has ended and left its staging directory.
type DiscardRunInput struct {
	Cache system.Cache `json:"cache"`
	RunID string       `json:"run_id"`
}

// DiscardResult says whether there was one.
type DiscardResult struct {
	Removed bool `json:"removed"`
}

// ObserveInput names the server that is looked at.
type ObserveInput struct {
	Cache system.Cache `json:"cache"`
}

// ObserveResult is the server's footprint, when it was reached.
type ObserveResult struct {
	Reached bool `json:"reached"`
	redis.Footprint
}

// EndSandboxInput names the sandbox's cache, as system.ForTarget gives it.
type EndSandboxInput struct {
	Target system.Target `json:"target"`
	Cache  system.Cache  `json:"cache"`
}

// UndoCutOverInput puts the directory back that a recovery replaced.
type UndoCutOverInput struct {
	System system.System `json:"system"`
	Cache  system.Cache  `json:"cache"`
	Of     string        `json:"of"`     // the recovery, as it stands in the names of directories
	RunID  string        `json:"run_id"` // who takes it back
}

// UndoCutOverResult says what is served, and where what had been recovered is kept.
type UndoCutOverResult struct {
	Live string `json:"live"`
	Kept string `json:"kept"`
	Keys int64  `json:"keys"`
}
