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
