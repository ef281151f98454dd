package postgres

import (
	"time"

	"github.com/frende/lifeboat/internal/postgres"
)

// DumpFactsName is the name of DumpFacts in a manifest.
const DumpFactsName = "dump"

// ParseDumpFormat reads the name of a format; empty is sql.gz. It fails with InputInvalid.
func ParseDumpFormat(name string) (postgres.DumpFormat, error) { return postgres.ParseDumpFormat(name) }

// DumpFacts are what a dump says of itself.
type DumpFacts struct {
	Database string              `json:"database"`
	Format   postgres.DumpFormat `json:"format"`
	SystemID string              `json:"system_id"`
	Version  int                 `json:"version"` // server_version_num: 150018
	Program  string              `json:"program"` // "pg_dump (PostgreSQL) 15.18"
	Locale   postgres.Locale     `json:"locale"`
	LSN      postgres.LSN        `json:"lsn"`      // where the WAL was about when the snapshot was taken
	Started  time.Time           `json:"started"`  // all that was committed before is in the dump
	Snapshot time.Time           `json:"snapshot"` // nothing that was committed after is in it
	Bytes    int64               `json:"bytes"`    // of the database, as the server counts

	Tables       int                  `json:"tables"`
	Rows         int64                `json:"rows"`
	Sequences    int                  `json:"sequences"`
	LargeObjects int64                `json:"large_objects"`
	Extensions   []postgres.Extension `json:"extensions,omitempty"`
	Roles        []string             `json:"roles,omitempty"`       // that the dump gives something to
	Tablespaces  []string             `json:"tablespaces,omitempty"` // that hold something of it, besides the database's own
}

// DumpPreflightInput asks whether a dump can be taken.
type DumpPreflightInput struct {
	Ref
	Format postgres.DumpFormat `json:"format"`
}

// DumpPreflightResult is what there is to dump.
type DumpPreflightResult struct {
	Database string `json:"database"`
	Version  int    `json:"version"`
	Bytes    int64  `json:"bytes"` // as the server counts
}

// DumpInput says for which run to dump.
type DumpInput struct {
	Ref
	Format postgres.DumpFormat `json:"format"`
	By     string              `json:"by,omitempty"`
	At     time.Time           `json:"at"` // start of the run: names the backup
}

// DumpResult says what was dumped and stored.
type DumpResult struct {
	Key    string    `json:"key"`
	Bytes  int64     `json:"bytes"`
	Stored int64     `json:"stored"`
	Facts  DumpFacts `json:"facts"`
}

// Moved says what the step moved.
func (r DumpResult) Moved() (direction string, bytes int64) { return "backup", r.Bytes }

// DumpPlace says where in a cluster a dump is restored. RestoreDumpPreflight
// decides it once, and every later step is given it.
type DumpPlace struct {
	Database string `json:"database"`         // its name, also while the old one still has it
	Staging  string `json:"staging"`          // what is restored, until the cut-over
	Old      string `json:"old"`              // what the replaced one is called afterwards
	Exists   bool   `json:"exists"`           // there is one to replace
	Closed   bool   `json:"closed,omitempty"` // which let nobody in before, either
	BinDir   string `json:"bin_dir"`
	Dir      string `json:"dir"` // for the dump while it is restored; mode 0700
}

// RestoreDumpPreflightInput names the dump.
type RestoreDumpPreflightInput struct {
	Ref
	Key string `json:"key"`
}

// RestoreDumpPreflightResult is the resolved restore. Nothing was touched to find it.
type RestoreDumpPreflightResult struct {
	Key   string    `json:"key"`
	Place DumpPlace `json:"place"`
	Facts DumpFacts `json:"facts"`
	Bytes int64     `json:"bytes"` // of the dump, to be read
	Need  int64     `json:"need"`  // bytes of disk
	Free  int64     `json:"free"`  // where the server's data lies; -1: it can't be seen from here
}

// RestoreDumpInput restores the dump beside the living database.
type RestoreDumpInput struct {
	Ref
	Key   string    `json:"key"`
	Place DumpPlace `json:"place"`
	Facts DumpFacts `json:"facts"`
}

// VerifyDumpInput holds what was restored against what was dumped.
type VerifyDumpInput struct {
	Ref
	Key   string    `json:"key"`
	Place DumpPlace `json:"place"`
	Facts DumpFacts `json:"facts"`
}

// DumpPlaceInput is for the steps that need nothing but the place.
type DumpPlaceInput struct {
	Ref
	Place DumpPlace `json:"place"`
}

// CloseDatabaseResult says whether there was a database to close.
type CloseDatabaseResult struct {
	Closed bool `json:"closed"`
	Ended  int  `json:"ended"` // sessions
}

// SwapDatabasesInput puts the restored database in place.
type SwapDatabasesInput struct {
	Ref
	Key   string    `json:"key"`
	Place DumpPlace `json:"place"`
}

// SwapDatabasesResult says what the replaced database is called now.
type SwapDatabasesResult struct {
	Old string `json:"old,omitempty"` // "": there was none
}
