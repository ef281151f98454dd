package postgres

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
)

// Contents are what one database held in one snapshot: what a dump is to bring
// back, and what a restored one is compared with.
type Contents struct {
	Contents     int              `json:"contents"` // 1: how the digests are computed
	Properties   Properties       `json:"properties"`
	Schemas      []string         `json:"schemas"`
	Tables       []TableDigest    `json:"tables"` // "public.users"; ordinary tables that no extension brings
	Sequences    []Sequence       `json:"sequences"`
	LargeObjects LargeObjects     `json:"large_objects"`
	Extensions   []Extension      `json:"extensions"`
	Objects      map[string]int64 `json:"objects"` // how many by kind: "view", "index", "function", …
	Roles        []string         `json:"roles"`   // that own something or are granted something in it
	Tablespaces  []string         `json:"tablespaces"`
}

// contentsVersion changes with what a digest is computed of.
const contentsVersion = 1

// Sequence is where a sequence stood. It belongs to no snapshot, so a dump has a
// value between the one before it began and the one after it had ended.
type Sequence struct {
	Name   string        `json:"name"`
	Before SequenceValue `json:"before"`
	After  SequenceValue `json:"after"`
	Cycles bool          `json:"cycles,omitempty"`
}

// SequenceValue is a sequence's state.
type SequenceValue struct {
	Last   int64 `json:"last"`
	Called bool  `json:"called"` // Last was given out already
}

// LargeObjects are counted, measured, and digested by what reading them gives.
type LargeObjects struct {
	Count  int64  `json:"count"`
	Bytes  int64  `json:"bytes"`
	Digest string `json:"digest,omitempty"`
}

// Extension is one that a database has.
type Extension struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Rows is how many rows all tables have.
func (c *Contents) Rows() (rows int64) {
	for _, table := range c.Tables {
		rows += table.Rows
	}
	return rows
}

const userSchemas = `n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'`

// notOfExtension leaves out what CREATE EXTENSION makes: no dump holds it.
func notOfExtension(class, oid string) string {
	return fmt.Sprintf("NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e' AND e.classid = '%s'::regclass AND e.objid = %s)", class, oid)
}

// dumpedRelationsSQL lists what a dump holds the rows or the value of, the largest
// first. Columns are in the order of their names: a restored child table may
// have them in another one than its source.
func dumpedRelationsSQL() string {
	return `
SELECT n.nspname, c.relname, c.relkind::text,
       coalesce((SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname) FROM pg_attribute
                 WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped), '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'S') AND c.relpersistence IN ('p', 'u') AND ` + userSchemas + ` AND ` + notOfExtension("pg_class", "c.oid") + `
ORDER BY c.relpages DESC, 1, 2`
}

// dumped is a relation of a dump.
type dumped struct {
	relation
	columns string // quoted, by name
}

func (d dumped) from() string {
	return "(SELECT " + d.columns + " FROM ONLY " + pgx.Identifier{d.schema, d.name}.Sanitize() + ")"
}

func listDumped(ctx context.Context, conn *pgx.Conn) ([]dumped, error) {
	return rowsOf(ctx, conn, dumpedRelationsSQL(), func(row pgx.CollectableRow) (d dumped, err error) {
		return d, row.Scan(&d.schema, &d.name, &d.kind, &d.columns)
	})
}

// Zeros at the end of a page and pages of nothing but zeros are left out: whether
// a hole is stored is not the same before and after.
const largeObjectPages = `(SELECT loid, pageno, rtrim(data, '\x00'::bytea) AS data FROM pg_largeobject WHERE length(rtrim(data, '\x00'::bytea)) > 0)`

const largeObjectsSQL = `
SELECT (SELECT count(*) FROM pg_largeobject_metadata),
       (SELECT coalesce(sum(bytes), 0)::bigint FROM (
           SELECT max(pageno::bigint * (current_setting('block_size')::int / 4) + length(data)) AS bytes FROM pg_largeobject GROUP BY loid) s)`

// objectsSQL counts by kind what no row tells of. Indexes that are not valid are in no dump.
func objectsSQL() string {
	return `
SELECT kind, count(*) FROM (
  SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                        WHEN 'f' THEN 'foreign table' ELSE 'sequence' END AS kind
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND ` + userSchemas + ` AND ` + notOfExtension("pg_class", "c.oid") + `
  UNION ALL
  SELECT 'index' FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class x ON x.oid = i.indexrelid
  WHERE x.relkind = 'i' AND i.indisvalid AND i.indisready AND c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND ` + userSchemas + ` AND ` + notOfExtension("pg_class", "c.oid") + `
  UNION ALL
  SELECT 'function' FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ` + userSchemas + ` AND ` + notOfExtension("pg_proc", "p.oid") + `
  UNION ALL
  SELECT 'trigger' FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE NOT t.tgisinternal AND c.relpersistence <> 't' AND ` + userSchemas + ` AND ` + notOfExtension("pg_class", "c.oid") + `
  UNION ALL
  SELECT 'policy' FROM pg_policy y JOIN pg_class c ON c.oid = y.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE ` + userSchemas + ` AND ` + notOfExtension("pg_class", "c.oid") + `
  UNION ALL
  SELECT 'constraint' FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND c.relpersistence <> 't' AND ` + userSchemas + ` AND ` + notOfExtension("pg_class", "c.oid") + `
  UNION ALL
  SELECT 'type' FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
  WHERE t.typtype IN ('e', 'd', 'r') AND ` + userSchemas + ` AND ` + notOfExtension("pg_type", "t.oid") + `
) o GROUP BY kind`
}

func schemasSQL() string {
	return `SELECT n.nspname FROM pg_namespace n WHERE ` + userSchemas + ` AND ` + notOfExtension("pg_namespace", "n.oid") + ` ORDER BY 1`
}

// Owners are asked for by themselves, too: the role that initdb made stands in no dependency.
const rolesSQL = `
WITH me AS (SELECT oid, datdba FROM pg_database WHERE datname = current_database())
SELECT r.rolname FROM pg_roles r WHERE r.oid IN (
  SELECT s.refobjid FROM pg_shdepend s, me
  WHERE s.refclassid = 'pg_authid'::regclass AND (s.dbid = me.oid OR s.dbid = 0 AND s.classid = 'pg_database'::regclass AND s.objid = me.oid)
  UNION ALL SELECT s.setrole FROM pg_db_role_setting s, me WHERE s.setdatabase = me.oid
  UNION ALL SELECT datdba FROM me
  UNION ALL SELECT relowner FROM pg_class WHERE oid >= 16384
  UNION ALL SELECT proowner FROM pg_proc WHERE oid >= 16384
  UNION ALL SELECT typowner FROM pg_type WHERE oid >= 16384
  UNION ALL SELECT nspowner FROM pg_namespace WHERE oid >= 16384
  UNION ALL SELECT lomowner FROM pg_largeobject_metadata)
ORDER BY 1`

const usedTablespacesSQL = `
SELECT DISTINCT t.spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE t.spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1`

// contents reads all that is there in the snapshot, with several readers.
func (s *Snapshot) contents(ctx context.Context) (*Contents, error) {
	c := &Contents{Contents: contentsVersion, Sequences: s.sequences, Objects: map[string]int64{}}
	for _, list := range []struct {
		into *[]string
		sql  string
	}{{&c.Schemas, schemasSQL()}, {&c.Roles, rolesSQL}, {&c.Tablespaces, usedTablespacesSQL}} {
		var err error
		if *list.into, err = rowsOf(ctx, s.conn, list.sql, pgx.RowTo[string]); err != nil {
			return nil, err
		}
	}
	var err error
	if c.Properties, err = properties(ctx, s.conn); err != nil {
		return nil, err
	}
	if c.Extensions, err = rowsOf(ctx, s.conn, "SELECT extname, extversion FROM pg_extension ORDER BY 1", func(row pgx.CollectableRow) (e Extension, err error) {
		return e, row.Scan(&e.Name, &e.Version)
	}); err != nil {
		return nil, err
	}
	counts, err := s.conn.Query(ctx, objectsSQL())
	if err != nil {
		return nil, err
	}
	var kind string
	var count int64
	if _, err := pgx.ForEachRow(counts, []any{&kind, &count}, func() error { c.Objects[kind] = count; return nil }); err != nil {
		return nil, err
	}
	if err := s.conn.QueryRow(ctx, largeObjectsSQL).Scan(&c.LargeObjects.Count, &c.LargeObjects.Bytes); err != nil {
		return nil, err
	}
	return c, s.digests(ctx, c)
}

// mostReaders bounds how many sessions read one database at once.
const mostReaders = 4

// digests reads every row of the snapshot.
func (s *Snapshot) digests(ctx context.Context, c *Contents) error {
	queue := make(chan func(context.Context, *pgx.Conn) error, len(s.relations)+1)
	c.Tables = []TableDigest{}
	for _, r := range s.relations {
		if r.kind != "r" {
			continue
		}
		at := len(c.Tables)
		c.Tables = append(c.Tables, TableDigest{})
		queue <- func(ctx context.Context, conn *pgx.Conn) error {
			found, err := sum(ctx, conn, r.from())
			found.Name = r.schema + "." + r.name
			c.Tables[at] = found
			return err
		}
	}
	if c.LargeObjects.Count > 0 {
		queue <- func(ctx context.Context, conn *pgx.Conn) error {
			found, err := sum(ctx, conn, largeObjectPages)
			c.LargeObjects.Digest = found.Digest
			return err
		}
	}
	close(queue)
	group, ctx := errgroup.WithContext(ctx)
	for range min(max(1, s.readers), mostReaders, max(1, len(queue))) {
		group.Go(func() error {
			conn, err := s.reader(ctx)
			if err != nil {
				return err
			}
			defer closeConn(ctx, conn)
			for read := range queue {
				if err := read(ctx, conn); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	slices.SortFunc(c.Tables, func(a, b TableDigest) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// readersOf leaves half of the cores to the server's other work.
func readersOf(share int) int { return runtime.GOMAXPROCS(0) / share }

// ReadContents reads what a database holds now.
func ReadContents(ctx context.Context, login Login, database string) (*Contents, error) {
	snapshot, err := TakeSnapshot(ctx, login, database)
	if err != nil {
		return nil, err
	}
	defer snapshot.Close(ctx)
	snapshot.readers = readersOf(1)
	return snapshot.Contents(ctx)
}

// CompareContents holds what a restored database has against what was dumped. It
// fails with VerificationFailed, which names what differs, and gives how many tables
// and sequences are equal. Counts of objects are compared when both are of one major
// version: a newer one may keep more of them.
func CompareContents(subject string, want, got *Contents, sameMajor bool) (int, error) {
	differ := func(what, format string, args ...any) error {
		return fault.Newf(fault.VerificationFailed, "compare "+subject+" with what was dumped at", what, format, args...).
			WithHint("the restored database was not put in place: do not use this dump; choose another backup, and look for the cause")
	}
	if want.Contents != contentsVersion {
		return 0, fault.Newf(fault.FormatUnsupported, "compare with dump", subject, "its contents are of version %d", want.Contents)
	}
	if err := compareTables(want.Tables, got.Tables, differ); err != nil {
		return 0, err
	}
	if err := compareSequences(want.Sequences, got.Sequences, differ); err != nil {
		return 0, err
	}
	if want.LargeObjects != got.LargeObjects {
		return 0, differ("large objects", "there are %d of %d bytes, and were %d of %d", got.LargeObjects.Count, got.LargeObjects.Bytes, want.LargeObjects.Count, want.LargeObjects.Bytes)
	}
	for _, extension := range want.Extensions {
		if !slices.ContainsFunc(got.Extensions, func(e Extension) bool { return e.Name == extension.Name }) {
			return 0, differ("extension "+extension.Name, "it is missing")
		}
	}
	if !slices.Equal(want.Schemas, got.Schemas) {
		return 0, differ("schemas", "there are %s, and were %s", strings.Join(got.Schemas, ", "), strings.Join(want.Schemas, ", "))
	}
	for _, kind := range slices.Sorted(maps.Keys(want.Objects)) {
		if sameMajor && want.Objects[kind] != got.Objects[kind] {
			return 0, differ(kind, "there are %d, and were %d", got.Objects[kind], want.Objects[kind])
		}
	}
	return len(want.Tables) + len(want.Sequences), nil
}

func compareTables(want, got []TableDigest, differ func(what, format string, args ...any) error) error {
	have := map[string]TableDigest{}
	for _, table := range got {
		have[table.Name] = table
	}
	for _, table := range want {
		found, there := have[table.Name]
		switch {
		case !there:
			return differ(table.Name, "it is missing")
		case found.Rows != table.Rows:
			return differ(table.Name, "it has %d rows, and had %d", found.Rows, table.Rows)
		case found.Digest != table.Digest:
			return differ(table.Name, "its %d rows are not the same", found.Rows)
		}
	}
	if len(got) != len(want) {
		return differ("tables", "there are %d, and were %d", len(got), len(want))
	}
	return nil
}

func compareSequences(want, got []Sequence, differ func(what, format string, args ...any) error) error {
	have := map[string]SequenceValue{}
	for _, one := range got {
		have[one.Name] = one.Before
	}
	for _, one := range want {
		found, there := have[one.Name]
		low, high := min(one.Before.Last, one.After.Last), max(one.Before.Last, one.After.Last)
		still := one.Before == one.After
		switch {
		case !there:
			return differ(one.Name, "it is missing")
		case still && found != one.Before:
			return differ(one.Name, "the sequence is at %d, and was at %d", found.Last, one.Before.Last)
		case !still && !one.Cycles && (found.Last < low || found.Last > high):
			return differ(one.Name, "the sequence is at %d, and was between %d and %d", found.Last, low, high)
		}
	}
	return nil
}

func rowsOf[T any](ctx context.Context, conn *pgx.Conn, sql string, scan pgx.RowToFunc[T], args ...any) ([]T, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}
