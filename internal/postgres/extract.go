package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// Extractable is a table, view, materialized view, sequence or foreign table that
// can be taken out of a database.
type Extractable struct {
	Schema, Name string
	Kind         string // relkind: "r", "p", "v", "m", "S", "f"
	Bytes        int64  // of its rows, TOAST included
	Parts        []int  // of a partitioned table: places of all its partitions in the list
}

// String is "schema.name", without quotes.
func (e Extractable) String() string { return e.Schema + "." + e.Name }

const extractableSQL = `
SELECT c.oid, n.nspname, c.relname, c.relkind::text, CASE WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) ELSE 0 END,
       ARRAY(SELECT t.relid::oid FROM pg_partition_tree(CASE WHEN c.relkind = 'p' THEN c.oid END) t WHERE t.relid <> c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY 2, 3`

// Extractables lists what can be taken out of the database that is connected to.
func (s *Server) Extractables(ctx context.Context) ([]Extractable, error) {
	places, parts := map[uint32]int{}, [][]uint32{}
	all, err := collect(ctx, s, extractableSQL, func(row pgx.CollectableRow) (e Extractable, err error) {
		var oid uint32
		var below []uint32
		err = row.Scan(&oid, &e.Schema, &e.Name, &e.Kind, &e.Bytes, &below)
		places[oid], parts = len(parts), append(parts, below)
		return e, err
	})
	if err != nil {
		return nil, err
	}
	for i, below := range parts {
		for _, oid := range below {
			if at, ok := places[oid]; ok {
				all[i].Parts = append(all[i].Parts, at)
			}
		}
	}
	return all, nil
}

// Databases lists those that can be connected to, templates left out.
func (s *Server) Databases(ctx context.Context) ([]string, error) { return s.databases(ctx) }

// CountTables counts rows as CountRows does, of what was listed.
func (s *Server) CountTables(ctx context.Context, tables []Extractable) ([]int64, error) {
	if err := s.limit(ctx); err != nil {
		return nil, err
	}
	counts := make([]int64, len(tables))
	for i, table := range tables {
		if !slices.Contains([]string{"r", "p", "m"}, table.Kind) {
			counts[i] = NotCounted
			continue
		}
		var err error
		if counts[i], err = s.count(ctx, pgx.Identifier{table.Schema, table.Name}.Sanitize()); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// DumpConfig says what of a staged server is written, and how.
type DumpConfig struct {
	BinDir   string
	DataDir  string // of the server: what is left of a dump that was cut off is ended with it
	Socket   string // directory
	Owner    Account
	Log      string
	Database string
	Tables   []Extractable // none: the whole database
	Plain    bool          // SQL for psql; else pg_restore's custom format
	Into     *os.File
}

// Dump writes tables, or the whole database, as pg_dump does, in one snapshot.
// What is in an unlogged table did not outlive the backup.
func (s *Server) Dump(ctx context.Context, c DumpConfig) error {
	format := "custom"
	if c.Plain {
		format = "plain"
	}
	argv := []string{
		filepath.Join(c.BinDir, "pg_dump"), "--format", format, "--no-unlogged-table-data", "--no-password",
		"--host", c.Socket, "--port", socketPortText(), "--username", s.facts.Login, "--dbname", connectionString(c.Database),
	}
	for _, table := range c.Tables {
		argv = append(argv, "--table", pattern(table.Schema)+"."+pattern(table.Name))
	}
	_, err := command.Run(ctx, command.Config{Argv: argv, Env: cLocale(), Dir: c.DataDir, User: c.Owner.Name, Log: c.Log, Stdout: c.Into})
	if err != nil && ctx.Err() == nil && fault.Has(err, fault.CommandFailed) {
		return fault.New(fault.VerificationFailed, "dump", c.Database, err).WithHint("read %s; take it out of another backup", c.Log)
	}
	return err
}

// pattern matches just one name where pg_dump takes a pattern: within quotes nothing
// but the quote itself has a meaning (manual, psql, "Patterns").
func pattern(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// connectionString names a database whatever its name looks like: one with "=" in
// it would be taken for a connection string.
func connectionString(database string) string {
	return fmt.Sprintf("dbname='%s'", strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database))
}
