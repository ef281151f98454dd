package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// Input is a workflow's or an update's argument, decoded strictly: an unknown
// field does not fail the decoding, which a worker would retry for ever, but is
// kept and returned by Checked.
type Input[T any] struct {
	value T
	err   error
}

// Of makes an Input from a value.
func Of[T any](value T) Input[T] { return Input[T]{value: value} }

// Checked returns the value, or InputInvalid naming what (the workflow's or
// update's name) and the field that does not belong.
func (in Input[T]) Checked(what string) (T, error) {
	if in.err != nil {
		return in.value, fault.New(fault.InputInvalid, "read input of", what, in.err)
	}
	return in.value, nil
}

// UnmarshalJSON decodes strictly and keeps the error for Checked.
func (in *Input[T]) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	in.err = decoder.Decode(&in.value)
	if in.err == nil && decoder.Decode(new(json.RawMessage)) != io.EOF {
		in.err = errors.New("more than one JSON value")
	}
	return nil
}

// MarshalJSON gives the value alone.
func (in Input[T]) MarshalJSON() ([]byte, error) { return json.Marshal(in.value) }

// BackupInput says what to back up. Zero values mean: the system that the
// worker is configured for, every component of the workflow's kind.
type BackupInput struct {
	System    string `json:"system,omitempty"`
	Component string `json:"component,omitempty"` // name of one component
	By        string `json:"by,omitempty"`        // who asks; for the audit
	Within    string `json:"within,omitempty"`    // ID of the larger run that replicates afterwards
	From      string `json:"from,omitempty"`      // the one store that is left: it is written, and nothing else

	// IfChanged is for BackupCache: a cache in which nothing changed since its
	// newest proven backup is not backed up again, and the result says so.
	IfChanged bool `json:"if_changed,omitempty"`

	// Full is for base backups: everything is stored, and no frame of an earlier
	// backup is named instead.
	Full bool `json:"full,omitempty"`

	// Format is for DumpDatabase: "sql.gz", the default, or "custom".
	Format string `json:"format,omitempty"`
}

// RecoverInput says what to recover, from what and to where. Zero values mean:
// every component, from the newest backups and WAL, to production, and only
// after the update "approve".
type RecoverInput struct {
	System     string     `json:"system,omitempty"`
	Component  string     `json:"component,omitempty"`   // name of one component
	To         string     `json:"to,omitempty"`          // "latest"; a time, RFC 3339 with its offset; "lsn:0/3000148"; "name:NAME" of a restore point; or "backup:KEY", whose key says of which component it is
	Backups    []string   `json:"backups,omitempty"`     // keys of backups of further components; those that none is named for go to the point
	Target     string     `json:"target,omitempty"`      // name of a target; default production
	Since      *time.Time `json:"since,omitempty"`       // when the disaster happened; RTA and RPA count from here; default: the start of the run
	YesDestroy string     `json:"yes_destroy,omitempty"` // the system's name: approves at once
	By         string     `json:"by,omitempty"`
	From       string     `json:"from,omitempty"` // name of the one store that is read and written, such as a replica whose primary is lost

	// References are what restored databases are held against, by component ID. A
	// drill takes them from production before it begins.
	References map[string]Reference `json:"references,omitempty"`
}

// UndoInput says which recovery of production is taken back. Without YesDestroy it
// waits for the update "approve".
type UndoInput struct {
	System     string `json:"system,omitempty"`
	ID         string `json:"id"`                    // the recovery's workflow ID: its newest run; or ID@RUN, as reports list it
	YesDestroy string `json:"yes_destroy,omitempty"` // the system's name: approves at once
	By         string `json:"by,omitempty"`
}

// Reference is what a database held at one position of its WAL.
type Reference struct {
	Segment string        `json:"segment"`          // the last WAL segment to replay: its end is the position
	Tables  []TableDigest `json:"tables,omitempty"` // every user table, sequence and the large objects; none: nothing is compared
}

// TableDigest is what a table held, whatever the order of its rows.
type TableDigest struct {
	Name   string `json:"name"` // "public.users"; sequences and large objects, too
	Rows   int64  `json:"rows"`
	Digest string `json:"digest"`
}

// ReplicateInput says which store's replica is brought up to date; zero: the primary's.
type ReplicateInput struct {
	System string `json:"system,omitempty"`
	Store  string `json:"store,omitempty"`

	// Follow goes on copying what is new for this long after the first pass; zero: one pass.
	Follow system.Duration `json:"follow,omitempty"`
}

// StatusInput says whose status is reported; zero: of the worker's system.
type StatusInput struct {
	System string `json:"system,omitempty"`
}

// DrillInput says where to rehearse a recovery of the whole system. Zero values
// mean: the only sandbox, from the primary store's replica.
type DrillInput struct {
	System string `json:"system,omitempty"`
	Target string `json:"target,omitempty"` // name of a sandbox
	From   string `json:"from,omitempty"`   // name of the store that alone is read
	By     string `json:"by,omitempty"`
}

// VerifyInput says what is proven, and how far. Zero values mean: the newest backup
// of every component, at L1. L0 looks at every backup that is kept, not at the newest alone.
type VerifyInput struct {
	System    string `json:"system,omitempty"`
	Component string `json:"component,omitempty"` // "database/frende", or a kind: "database"
	Key       string `json:"key,omitempty"`       // of one backup
	Random    bool   `json:"random,omitempty"`    // one before the newest, by chance
	Level     *int   `json:"level,omitempty"`     // 0 to 3; default: 1
	By        string `json:"by,omitempty"`
	From      string `json:"from,omitempty"` // name of the one store that is read
}

// ExtractInput says what is taken out of which database, as it was when, and which
// file on the worker's host it goes to. Zero values mean: the whole of the configured
// database, as the newest archived WAL has it.
type ExtractInput struct {
	System    string   `json:"system,omitempty"`
	Component string   `json:"component,omitempty"` // name of the database, as it is configured
	Database  string   `json:"database,omitempty"`  // inside the cluster; default: the configured one
	Tables    []string `json:"tables,omitempty"`    // "public.users"
	To        string   `json:"to,omitempty"`        // as for a recovery; "backup:KEY" is the backup's end
	File      string   `json:"file"`                // absolute; ".sql" at its end asks for SQL
	By        string   `json:"by,omitempty"`
	From      string   `json:"from,omitempty"` // name of the one store that is read
}

// CopyInput says which database is restored, as it was when, to which directory on
// the worker's host. Zero values mean: the only database, as the newest archived WAL has it.
type CopyInput struct {
	System    string `json:"system,omitempty"`
	Component string `json:"component,omitempty"` // name of the database
	To        string `json:"to,omitempty"`        // as for a recovery; "backup:KEY" is the backup's end
	Dir       string `json:"dir"`                 // absolute; missing or empty, apart from production
	Delta     bool   `json:"delta,omitempty"`     // Dir holds an older copy, shut down, which is replaced; only what differs is read from the store
	By        string `json:"by,omitempty"`
	From      string `json:"from,omitempty"` // name of the one store that is read
}

// CleanUpInput says whether a clean-up only lists what it would remove.
type CleanUpInput struct {
	System string `json:"system,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
	By     string `json:"by,omitempty"`
}

// RetentionInput says whether a retention only tells what it would remove, and how
// much it may. Zero values mean: the worker's system, for real, and a fifth.
type RetentionInput struct {
	System string `json:"system,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
	AtMost int    `json:"at_most,omitempty"` // percent of a component's backups that may go; 0: 20
	By     string `json:"by,omitempty"`
}

// CheckArchiveInput says whose WAL archive is checked. Zero values mean: every
// database's, and ten minutes.
type CheckArchiveInput struct {
	System    string          `json:"system,omitempty"`
	Component string          `json:"component,omitempty"` // name of one database
	Late      system.Duration `json:"late,omitempty"`      // how long a completed segment may take to be in the store
	By        string          `json:"by,omitempty"`
}

// Approval opens the gate before anything in production is touched. System must be the system's name.
type Approval struct {
	System string `json:"system"`
	By     string `json:"by,omitempty"`
	Step   string `json:"step,omitempty"` // "cut-over", the only step that waits for a person
}

// Abort ends a recovery before its cut-over and leaves the old system as it was.
type Abort struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Answer is what an accepted update returns.
type Answer struct {
	Accepted string `json:"accepted"` // what happens now, for a person
}
