package postgres

import (
	"fmt"

	"github.com/frende/lifeboat/internal/fault"
)

// Versions of PostgreSQL that this package is written for.
const (
	OldestMajor = 15
	NewestMajor = 18
)

// Facts are what a server says of itself.
type Facts struct {
	SystemID     string `json:"system_id"` // system identifier, decimal
	Version      int    `json:"version"`   // server_version_num: 150018
	Timeline     uint32 `json:"timeline"`
	InRecovery   bool   `json:"in_recovery"`
	LSN          LSN    `json:"lsn"` // written, or replayed when in recovery
	DataDir      string `json:"data_dir"`
	ConfigFile   string `json:"config_file"`
	HBAFile      string `json:"hba_file"`
	SegmentSize  int64  `json:"segment_size"` // of WAL, in bytes
	MaxWALSize   int64  `json:"max_wal_size"` // in bytes: it begins a checkpoint before that much WAL
	Checksums    bool   `json:"checksums"`
	WALLevel     string `json:"wal_level"`
	ArchiveMode  string `json:"archive_mode"`
	Archiving    bool   `json:"archiving"`       // archive_command or archive_library is set
	ArchiveAfter int    `json:"archive_timeout"` // seconds; 0 is never
	Superuser    string `json:"superuser"`       // name of the role that initdb made
	Login        string `json:"login"`           // name of the role that logged in to ask
	Bytes        int64  `json:"bytes"`           // of all databases
	Preload      string `json:"preload"`         // shared_preload_libraries

	Tablespaces []Tablespace `json:"tablespaces,omitempty"`
	Collations  []Collation  `json:"collations,omitempty"`
}

// Tablespace is a directory outside the data directory that holds relations.
type Tablespace struct {
	OID      uint32 `json:"oid"`
	Name     string `json:"name,omitempty"`
	Location string `json:"location"`
	Bytes    int64  `json:"bytes,omitempty"` // estimate
}

// Collation is how a database sorts, by which version of the library. An index
// on text that was built under another version may be wrong.
type Collation struct {
	Database string `json:"database"`
	Provider string `json:"provider"` // "libc", "icu", "builtin"
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"` // of the library on the server's host; "" for C
}

// Major is the major version of a server_version_num.
func Major(version int) int { return version / 10000 }

// checkMajor refuses versions that this package does not know.
func checkMajor(op, subject string, major int) error {
	if major >= OldestMajor && major <= NewestMajor {
		return nil
	}
	return fault.Newf(fault.Unsupported, op, subject, "PostgreSQL %d is not among %d to %d", major, OldestMajor, NewestMajor)
}

// CheckSystem compares the server with the cluster that is expected. It fails
// with ForeignCluster. An empty identifier expects nothing.
func (f Facts) CheckSystem(systemID, subject string) error {
	return checkSystem("compare clusters", subject, f.SystemID, systemID)
}

func checkSystem(op, subject, found, expected string) error {
	if expected == "" || found == expected {
		return nil
	}
	return fault.Newf(fault.ForeignCluster, op, subject, "its system identifier is %s, expected is %s", found, expected)
}

// CheckArchiving says whether what is committed from now on reaches the
// archive. It fails with ServerSettings, whose hint names the statement to run.
func (f Facts) CheckArchiving(subject string) error {
	refuse := func(setting, value, statement string) error {
		return fault.Newf(fault.ServerSettings, "check settings of", subject, "%s is %s", setting, value).
			WithHint("run: %s; then restart the server", statement)
	}
	switch {
	case f.InRecovery:
		return fault.Newf(fault.ServerSettings, "check settings of", subject, "it is a standby").
			WithHint("name the primary server in the connection")
	case f.WALLevel == "minimal":
		return refuse("wal_level", f.WALLevel, "ALTER SYSTEM SET wal_level = 'replica'")
	case f.ArchiveMode == "off":
		return refuse("archive_mode", f.ArchiveMode, "ALTER SYSTEM SET archive_mode = 'on'")
	case !f.Archiving:
		return fault.Newf(fault.ServerSettings, "check settings of", subject, "archive_command is empty").
			WithHint("run: ALTER SYSTEM SET archive_command = 'lifeboat wal-push %%p'; SELECT pg_reload_conf()")
	}
	return nil
}

// describe names a server by its address, without secrets.
func describe(host string, port uint16) string { return fmt.Sprintf("postgresql at %s:%d", host, port) }
