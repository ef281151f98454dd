package postgres

import (
	"time"

	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// Folder of the store that base backups lie in, and the name of Facts in a manifest.
const (
	Folder    = "database-backups"
	FactsName = "postgres"
)

// Ref says which database, where, and for which run. Every input carries one.
type Ref struct {
	System    system.System `json:"system"`           // as pinned at the start of the run, before ForTarget
	Component string        `json:"component"`        // the database's name; empty: the only one
	Target    string        `json:"target,omitempty"` // empty: production
	RunID     string        `json:"run_id"`           // workflow id; the same id again resumes the same work
	Until     string        `json:"until,omitempty"`  // the last WAL segment to replay; empty: all that the archive holds
	Goal      *Goal         `json:"goal,omitempty"`   // where the replay stops, as RestorePreflight found it; nil: at the end

	// Scratch: what is restored is only looked at, in a directory of its own, and thrown away.
	Scratch bool `json:"scratch,omitempty"`

	// Dir is where a scratch recovery is put in the end, as a copy; it works beside it. Empty: it is thrown away.
	Dir string `json:"dir,omitempty"`

	// Delta: Dir holds an older copy, which is replaced; what of it is the backup's is not read from the store.
	Delta bool `json:"delta,omitempty"`
}

// Goal is where a recovery to a point stops.
type Goal struct {
	Timeline uint32 `json:"timeline"` // that leads there: recovery_target_timeline
	postgres.Goal
}

// Place says where on this host a recovery happens. RestorePreflight decides it
// once, and every later step is given it.
type Place struct {
	Live        string            `json:"live"`    // the server's data directory
	Staging     string            `json:"staging"` // beside it: what is restored, until the cut-over
	Run         string            `json:"run"`     // beside it: journals, pin, log and state of this run
	Socket      string            `json:"socket"`  // the staged server's private socket directory
	BinDir      string            `json:"bin_dir"` // programs of the backup's major version
	OSUser      string            `json:"os_user"` // who owns the files and runs the server
	Superuser   string            `json:"superuser,omitempty"`
	Login       string            `json:"login,omitempty"`
	Production  string            `json:"production,omitempty"` // sandbox: production's data directory, whose tablespaces stay out of reach
	Tablespaces []TablespacePlace `json:"tablespaces,omitempty"`
}

// TablespacePlace is Place for one tablespace.
type TablespacePlace struct {
	OID     uint32 `json:"oid"`
	Live    string `json:"live"`
	Staging string `json:"staging"`
}

// Facts are what a base backup says of the cluster.
type Facts struct {
	SystemID    string                 `json:"system_id"`
	Version     int                    `json:"version"` // server_version_num: 150018
	Timeline    uint32                 `json:"timeline"`
	StartLSN    postgres.LSN           `json:"start_lsn"`
	StopLSN     postgres.LSN           `json:"stop_lsn"`
	Label       string                 `json:"label"`
	SegmentSize int64                  `json:"segment_size"`           // of WAL, in bytes
	MaxWALSize  int64                  `json:"max_wal_size,omitempty"` // in bytes; 0: not recorded
	Checksums   bool                   `json:"checksums"`              // whether pages carry them
	Damaged     int                    `json:"damaged"`                // files whose page checksums the server found wrong
	DamagedIn   []postgres.DamagedFile `json:"damaged_in,omitempty"`
	Superuser   string                 `json:"superuser"`            // name of the role that initdb made
	Login       string                 `json:"login,omitempty"`      // name of the role that took the backup; it may log in where that one may not
	Preload     string                 `json:"preload,omitempty"`    // shared_preload_libraries
	DataDir     string                 `json:"data_dir"`             // at the source
	Standby     string                 `json:"standby,omitempty"`    // the server it was copied from, which followed the primary; empty: the primary
	NoStandby   string                 `json:"no_standby,omitempty"` // why it was copied from the primary though a standby is configured
	Tablespaces []postgres.Tablespace  `json:"tablespaces,omitempty"`
	Collations  []postgres.Collation   `json:"collations,omitempty"` // per database
	Started     time.Time              `json:"started"`              // all that was committed before is in a restore to StopLSN
	Finished    time.Time              `json:"finished"`
}

// Progress is the heartbeat of the long steps. Total is 0 while it is not known.
type Progress struct {
	Done  int64        `json:"done"`
	Total int64        `json:"total"`
	LSN   postgres.LSN `json:"lsn,omitempty"` // replayed so far
}

// BackupPreflightInput asks whether a backup can be taken.
type BackupPreflightInput struct {
	Ref
}

// BackupPreflightResult is what the server says of itself.
type BackupPreflightResult struct {
	Server postgres.Facts `json:"server"`
	Bytes  int64          `json:"bytes"` // of all databases, as the server counts
}

// BaseBackupInput says for which run to back up.
type BaseBackupInput struct {
	Ref
	By string    `json:"by,omitempty"`
	At time.Time `json:"at"` // start of the run: names the backup

	// Full has everything stored again, and nothing shared with an earlier backup.
	Full bool `json:"full,omitempty"`
}

// BaseBackupResult says what was captured and stored.
type BaseBackupResult struct {
	Key    string `json:"key"`
	Bytes  int64  `json:"bytes"`
	Stored int64  `json:"stored"`
	Shared int64  `json:"shared,omitempty"` // of Bytes: in objects of earlier backups
	Base   string `json:"base,omitempty"`   // the earlier backup that was compared with, when anything is shared
	Facts  Facts  `json:"facts"`
}

// Moved says what the step moved.
func (r BaseBackupResult) Moved() (direction string, bytes int64) { return "backup", r.Bytes }

// RestorePreflightInput names the backup and where it is to go.
type RestorePreflightInput struct {
	Ref
	Key string     `json:"key,omitempty"` // empty: the newest complete backup that leads to the point
	To  plan.Point `json:"to,omitzero"`   // zero: the end of the WAL
}

// RestorePreflightResult is the resolved restore. Nothing was touched to find it.
type RestorePreflightResult struct {
	Key   string `json:"key"`
	Place Place  `json:"place"`
	Facts Facts  `json:"facts"`
	Bytes int64  `json:"bytes"`          // of the backup, to be written
	Need  int64  `json:"need"`           // bytes needed beside what is there, with the replay and a margin
	Free  int64  `json:"free"`           // bytes free where the data directory lies
	Live  Live   `json:"live"`           // what is at the target now
	Span  Span   `json:"span"`           // WAL that the archive holds beyond the backup
	Goal  *Goal  `json:"goal,omitempty"` // for the Ref of all later steps; nil: the end of the WAL

	PassedOver []string            `json:"passed_over,omitempty"` // newer backups, dated in the future
	Incomplete []report.PassedOver `json:"incomplete,omitempty"`  // newer backups of which something is in no store
}

// Live is the state of the server at the target.
type Live string

// States of the server at the target.
const (
	LiveRunning Live = "running"
	LiveStopped Live = "stopped" // a data directory of the same cluster, no server
	LiveMissing Live = "missing" // no data directory
)

// Span is the contiguous WAL that a recovery is pinned to.
type Span struct {
	Timeline uint32       `json:"timeline"`
	First    string       `json:"first"` // segment file name
	Last     string       `json:"last"`
	End      postgres.LSN `json:"end"`            // where the last segment ends
	Hole     string       `json:"hole,omitempty"` // why it ends there, when later WAL can't be used
}

// RestoreInput restores a backup into the staging directory.
type RestoreInput struct {
	Ref
	Key   string `json:"key"`
	Place Place  `json:"place"`
	Facts Facts  `json:"facts"`
}

// RestoreResult says what a restore wrote.
type RestoreResult struct {
	Bytes     int64           `json:"bytes"`
	Resumed   int64           `json:"resumed"`         // bytes that an earlier attempt had written
	Kept      int64           `json:"kept,omitempty"`  // bytes that an older copy had
	Taken     int64           `json:"taken,omitempty"` // of Kept: bytes that were taken over as they were, and not written
	Elapsed   system.Duration `json:"elapsed"`
	Rate      float64         `json:"rate"` // bytes per second of this attempt
	Fallbacks []Fallback      `json:"fallbacks,omitempty"`
}

// Moved says what the step moved.
func (r RestoreResult) Moved() (direction string, bytes int64) { return "restore", r.Bytes - r.Resumed }

// Fallback is an object that had to be read from the replica.
type Fallback struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
	From   string `json:"from"`
	To     string `json:"to"`
}

// VerifyFilesInput compares the staging directory with the server's own manifest.
type VerifyFilesInput struct {
	Ref
	Place Place `json:"place"`
}

// VerifyFilesResult says what was compared.
type VerifyFilesResult struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

// ReplayInput starts the staged server and replays to the pinned end.
type ReplayInput struct {
	Ref
	Place Place `json:"place"`
	Facts Facts `json:"facts"`
}

// ReplayResult is the recovery point that was reached.
type ReplayResult struct {
	LSN       postgres.LSN `json:"lsn"`
	Timeline  uint32       `json:"timeline"`
	Committed *time.Time   `json:"committed,omitempty"` // of the last transaction replayed; nil when there was none
	Span      Span         `json:"span"`
	Reached   bool         `json:"reached,omitempty"` // it stands at the goal
	Restarts  int          `json:"restarts"`          // times the server had to be started again
	Fallbacks []Fallback   `json:"fallbacks,omitempty"`
}

// FenceInput keeps everyone but Lifeboat out of the server at the target.
type FenceInput struct {
	Ref
	Place Place `json:"place"`
	Facts Facts `json:"facts"`
}

// FenceResult says what was fenced. A server without a data directory needs no
// fence, and one that does not answer may be impossible to fence: Note says so.
type FenceResult struct {
	Fenced bool   `json:"fenced"`
	Live   Live   `json:"live"`
	Note   string `json:"note"`
}

// TerminateConnectionsInput ends all sessions, archives the last WAL and stops
// the server through its service.
type TerminateConnectionsInput struct {
	Ref
	Place Place `json:"place"`
}

// TerminateConnectionsResult says how the old server ended.
type TerminateConnectionsResult struct {
	Terminated int          `json:"terminated"` // sessions
	LSN        postgres.LSN `json:"lsn"`        // the old server's last WAL position; 0 when it was dead
	Segment    string       `json:"segment"`    // the last segment that was switched; "" when it was dead
	Archived   bool         `json:"archived"`   // whether the archive confirmed that segment
	Note       string       `json:"note"`
}

// SalvageWALInput takes what the archive lacks out of the old data directory.
type SalvageWALInput struct {
	Ref
	Place Place `json:"place"`
	Facts Facts `json:"facts"`
}

// SalvageWALResult says which segments were saved for the replay.
type SalvageWALResult struct {
	Segments []string `json:"segments,omitempty"`
	Note     string   `json:"note"`
}

// VerifyInput counts tables and runs the configured checks on the staged server.
type VerifyInput struct {
	Ref
	Place Place `json:"place"`
	Facts Facts `json:"facts"`

	Reference []api.TableDigest `json:"reference,omitempty"` // what production held at the end of Until; none: it is not compared
	Against   string            `json:"against,omitempty"`   // key of the backup beside which the reference is kept, instead
}

// VerifyResult says what was found.
type VerifyResult struct {
	Compared int `json:"compared,omitempty"` // tables and sequences that equal the reference

	Tables []TableCount  `json:"tables,omitempty"`
	Checks []CheckResult `json:"checks,omitempty"`

	// Collations are the databases whose text sorts by another version of the
	// library here: their indexes on text have to be rebuilt.
	Collations []string `json:"collations,omitempty"`

	// Postponed: the server can answer nobody before its promotion, because a
	// transaction with more than 64 subtransactions was open at the end, or what is
	// asked for is locked by one that was open, such as a DROP TABLE. Promote verifies.
	Postponed bool `json:"postponed,omitempty"`

	// Locked are the tables and checks that a transaction which had not ended at the
	// point keeps locked until the promotion. Promote verifies all once more.
	Locked []string `json:"locked,omitempty"`
}

// TableCount is how many rows a table has; -1 when counting took too long.
type TableCount struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
}

// CheckResult is the outcome of one configured SQL check.
type CheckResult struct {
	SQL    string `json:"sql"`
	Answer string `json:"answer"`
}

// CutOverInput puts the staged directories in place of the live ones and starts the service.
type CutOverInput struct {
	Ref
	Place    Place        `json:"place"`
	Facts    Facts        `json:"facts"`
	LSN      postgres.LSN `json:"lsn"`      // replayed by ReplayFinal; the started server must have it
	Timeline uint32       `json:"timeline"` // it was replayed on; a primary on it is not the restored server
}

// CutOverResult says where the old directories are kept for undo.
type CutOverResult struct {
	Live string   `json:"live"`
	Old  []string `json:"old,omitempty"`

	// Replayed is the recovery point when the old server had written more since
	// ReplayFinal, and that was brought over, too; else nil.
	Replayed *ReplayResult `json:"replayed,omitempty"`
}

// PromoteInput makes the server at the target a primary.
type PromoteInput struct {
	Ref
	Place    Place  `json:"place"`
	Timeline uint32 `json:"timeline"` // it was replayed on, and must leave
}

// PromoteResult is the timeline that the server now writes.
type PromoteResult struct {
	Timeline uint32       `json:"timeline"`
	LSN      postgres.LSN `json:"lsn"` // where the new timeline began to be written

	Verified *VerifyResult `json:"verified,omitempty"` // when Verify had to be postponed
}

// UnfenceInput undoes Fence and TerminateConnections: the old server runs again.
type UnfenceInput struct {
	Ref
	Place Place `json:"place"`
}

// UnfenceResult says what was undone.
type UnfenceResult struct {
	Restored bool   `json:"restored"` // client authentication was put back
	Started  bool   `json:"started"`  // the service was started
	Note     string `json:"note"`
}

// DiscardInput removes what a recovery staged and did not cut over.
type DiscardInput struct {
	Ref
	Place Place `json:"place"`
}

// DiscardRunInput names a run that has ended and left its staging directory.
type DiscardRunInput struct{ Ref }

// DiscardResult says whether there was anything.
type DiscardResult struct {
	Removed bool   `json:"removed"`
	Older   string `json:"older,omitempty"` // the older copy that a new one was to replace: OlderWhole, …; empty: none
}

// EndSandboxInput names the sandbox whose server is ended.
type EndSandboxInput struct {
	Ref
}

// ObserveInput names the server that is looked at.
type ObserveInput struct {
	Ref
}

// ObserveResult is the server's footprint, when it was reached.
type ObserveResult struct {
	Reached bool `json:"reached"`
	postgres.Footprint
	Incarnation int `json:"incarnation"` // of the directory that archives; 0: the store could not be asked
}

// AwaitReplicaInput names a WAL file that has to arrive in a store.
type AwaitReplicaInput struct {
	Ref             // its system has that store alone: see system.Alone
	SystemID string `json:"system_id"`
	Segment  string `json:"segment"`
}

// TakeReferenceInput names the database that a drill is held against.
type TakeReferenceInput struct {
	Ref
}

// TakeReferenceResult is what production held at the end of a WAL segment.
type TakeReferenceResult struct {
	SystemID string            `json:"system_id"`
	Segment  string            `json:"segment"`
	Tables   []api.TableDigest `json:"tables"`
}

// UndoPreflightInput names the recovery that is taken back, as it stands in the
// names of directories. Ref.RunID is who takes it back.
type UndoPreflightInput struct {
	Ref
	Of string `json:"of"`
}

// UndoPreflightResult is what comes back. Place.Staging, and that of the
// tablespaces, is where the old directories are kept.
type UndoPreflightResult struct {
	Place       Place        `json:"place"`
	SystemID    string       `json:"system_id"`
	SegmentSize int64        `json:"segment_size"` // of WAL, in bytes
	Timeline    uint32       `json:"timeline"`     // that the old server was on
	LSN         postgres.LSN `json:"lsn"`          // that it had reached at least
	Live        Live         `json:"live"`         // the recovered server
}

// UndoCutOverInput puts the old directories back in place of the recovered ones.
type UndoCutOverInput struct {
	Ref
	Of          string       `json:"of"`
	Place       Place        `json:"place"`
	SystemID    string       `json:"system_id"`
	SegmentSize int64        `json:"segment_size"`
	Timeline    uint32       `json:"timeline"`
	LSN         postgres.LSN `json:"lsn"`
}

// UndoCutOverResult says where the recovered directories are kept.
type UndoCutOverResult struct {
	Live string   `json:"live"`
	Kept []string `json:"kept"`
	Note string   `json:"note,omitempty"`
}
