package postgres

import (
	"context"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// DumpFormat is how a dump is written.
type DumpFormat string

// Formats of dumps.
const (
	DumpSQL    DumpFormat = "sql.gz" // SQL as text; compressed by whoever stores it
	DumpCustom DumpFormat = "custom" // pg_dump's own, which is restored in parallel; not compressed here
)

// Names of a dump's streams.
const (
	StreamSQL      = "dump.sql"    // of kind sql.gz: SQL for psql
	StreamCustom   = "dump.custom" // of kind dump: pg_dump's custom format, for pg_restore
	StreamGlobals  = "globals.sql" // roles with what their passwords are checked against, and tablespaces
	StreamContents = "contents"    // Contents as JSON
)

// ParseDumpFormat reads the name of a format; empty is sql.gz. It fails with InputInvalid.
func ParseDumpFormat(name string) (DumpFormat, error) {
	switch format := DumpFormat(name); format {
	case "":
		return DumpSQL, nil
	case DumpSQL, DumpCustom:
		return format, nil
	}
	return "", fault.Newf(fault.InputInvalid, "read format of dump", name, "there is no such format").WithHint("use sql.gz or custom")
}

// dumpTime is how long pg_dump waits for a lock: the snapshot's holder has all that matter already.
const dumpTime = time.Minute

// Dump writes a dump of what the snapshot holds, with the programs in binDir. It
// fails with CommandFailed, and with the writer's own errors as they are.
func (s *Snapshot) Dump(ctx context.Context, binDir string, format DumpFormat, into io.Writer) error {
	name := "plain"
	if format == DumpCustom {
		name = "custom"
	}
	return s.login.export(ctx, into,
		filepath.Join(binDir, "pg_dump"), "--snapshot="+s.ID, "--format="+name, "--compress=0", "--no-password",
		"--lock-wait-timeout="+strconv.FormatInt(dumpTime.Milliseconds(), 10), "--dbname="+conninfo(s.database))
}

// DumpGlobals writes what belongs to no single database: roles, with what their
// passwords are checked against, their memberships and settings, and tablespaces.
func DumpGlobals(ctx context.Context, login Login, database, binDir string, into io.Writer) error {
	return login.export(ctx, into, filepath.Join(binDir, "pg_dumpall"), "--globals-only", "--no-password", "--dbname="+conninfo(database))
}

// DumpProgram says which pg_dump there is: "pg_dump (PostgreSQL) 15.18".
func DumpProgram(ctx context.Context, binDir string) (string, error) {
	result, err := command.Run(ctx, command.Config{Argv: []string{filepath.Join(binDir, "pg_dump"), "--version"}, Env: cLocale()})
	return strings.TrimSpace(string(result.Stdout)), err
}

// export runs a program that writes a dump. When the writer fails, the program
// ends by its broken pipe: it is the writer's error that tells why.
func (l Login) export(ctx context.Context, into io.Writer, argv ...string) error {
	out := &keeper{writer: into}
	_, err := command.Run(ctx, command.Config{Argv: argv, Env: l.client(), Stdout: out, Secrets: l.secrets()})
	if out.err != nil {
		return out.err
	}
	return err
}

// secrets are what no output may repeat.
func (l Login) secrets() []string {
	if l.config.Password == "" {
		return nil
	}
	return []string{l.config.Password}
}

// keeper remembers what a writer failed with.
type keeper struct {
	writer io.Writer
	err    error
}

func (k *keeper) Write(p []byte) (int, error) {
	n, err := k.writer.Write(p)
	if err != nil {
		k.err = err
	}
	return n, err
}

// DatabaseBytes is how much disk a database takes.
func (s *Server) DatabaseBytes(ctx context.Context, name string) (int64, error) {
	return value[int64](ctx, s, "SELECT pg_database_size($1)", name)
}
