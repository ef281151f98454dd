package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/fault"
)

// TableDigest is what a table held, whatever the order of its rows. For a
// sequence Rows is its last value and there is no digest.
type TableDigest struct {
	Name   string `json:"name"` // database and relation: "frende: public.users"
	Rows   int64  `json:"rows"`
	Digest string `json:"digest,omitempty"`
}

// relation is one that is compared.
type relation struct {
	schema, name string
	kind         string // "r" table, "S" sequence
}

// Every ordinary table and sequence of users that outlives a crash. A partitioned
// table's rows are in its partitions; what a materialized view shows is computed.
const relationsSQL = `
SELECT n.nspname, c.relname, c.relkind::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'S') AND c.relpersistence = 'p'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY 1, 2`

// How a row looks as text depends on these (manual, "Client Connection Defaults").
const comparable = `
SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL TimeZone = 'UTC';
SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL xmlbinary = 'base64';
SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = 0; SET LOCAL row_security = off`

// Digests reads every user table, sequence and large object of every database
// and gives its rows and digest: two sums of 64-bit hashes over the rows as text.
// On a standby whose replay stands still they belong to one moment.
func (s *Server) Digests(ctx context.Context) ([]TableDigest, error) {
	names, err := s.databases(ctx)
	if err != nil {
		return nil, err
	}
	var all []TableDigest
	for _, name := range names {
		conn, err := s.login.WithDatabase(name).connect(ctx)
		if err != nil {
			return nil, err
		}
		found, err := digests(ctx, conn, name)
		closeConn(ctx, conn)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (s *Server) databases(ctx context.Context) ([]string, error) {
	return collect(ctx, s, "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname", pgx.RowTo[string])
}

// digests reads one database in one snapshot.
func digests(ctx context.Context, conn *pgx.Conn, database string) ([]TableDigest, error) {
	if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return nil, queryFault(ctx, "compute digests of", "database "+database, err)
	}
	return digestsIn(ctx, conn, database)
}

// digestsIn reads one database in the transaction that is open.
func digestsIn(ctx context.Context, conn *pgx.Conn, database string) ([]TableDigest, error) {
	failed := func(err error) error { return queryFault(ctx, "compute digests of", "database "+database, err) }
	if _, err := conn.Exec(ctx, comparable); err != nil {
		return nil, failed(err)
	}
	rows, err := conn.Query(ctx, relationsSQL)
	if err != nil {
		return nil, failed(err)
	}
	relations, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r relation, err error) {
		return r, row.Scan(&r.schema, &r.name, &r.kind)
	})
	if err != nil {
		return nil, failed(err)
	}
	var all []TableDigest
	for _, r := range relations {
		found, err := r.digest(ctx, conn)
		if err != nil {
			return nil, failed(err)
		}
		found.Name = database + ": " + r.schema + "." + r.name
		all = append(all, found)
	}
	large, err := sum(ctx, conn, "(SELECT loid, pageno, data FROM pg_largeobject)")
	if err != nil {
		return nil, failed(err)
	}
	if large.Rows > 0 {
		large.Name = database + ": large objects"
		all = append(all, large)
	}
	return all, nil
}

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func (r relation) digest(ctx context.Context, conn querier) (TableDigest, error) {
	name := pgx.Identifier{r.schema, r.name}.Sanitize()
	if r.kind == "S" {
		var d TableDigest
		return d, conn.QueryRow(ctx, "SELECT last_value FROM "+name).Scan(&d.Rows)
	}
	return sum(ctx, conn, "ONLY "+name)
}

func sum(ctx context.Context, conn querier, from string) (TableDigest, error) {
	var d TableDigest
	var low, high string
	err := conn.QueryRow(ctx, `SELECT count(*), coalesce(sum(hashtextextended(r, 0)), 0)::text, coalesce(sum(hashtextextended(r, 1)), 0)::text
		FROM (SELECT t::text COLLATE "C" AS r FROM `+from+` t OFFSET 0) s`).Scan(&d.Rows, &low, &high)
	d.Digest = low + "," + high
	return d, err
}

// Compare holds what a restored cluster has against the reference. Tables must
// be equal; a sequence may be ahead, as the WAL logs some values in advance. It
// fails with VerificationFailed, which names what differs, and gives how many are equal.
func Compare(subject string, reference, found []TableDigest) (int, error) {
	have := map[string]TableDigest{}
	for _, one := range found {
		have[one.Name] = one
	}
	differ := func(name, format string, args ...any) error {
		return fault.Newf(fault.VerificationFailed, "compare "+subject+" with production at", name, format, args...).
			WithHint("the restored data is not what production held at this position of the WAL: do not use this backup; take a new base backup and look for the cause")
	}
	for _, want := range reference {
		got, there := have[want.Name]
		switch {
		case !there:
			return 0, differ(want.Name, "it is missing")
		case want.Digest == "" && got.Rows < want.Rows:
			return 0, differ(want.Name, "the sequence is at %d, and was at %d", got.Rows, want.Rows)
		case want.Digest == "":
		case got.Rows != want.Rows:
			return 0, differ(want.Name, "it has %d rows, and had %d", got.Rows, want.Rows)
		case got.Digest != want.Digest:
			return 0, differ(want.Name, "its %d rows are not the same", got.Rows)
		}
	}
	return len(reference), nil
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	_ = conn.Close(ctx) // the server forgets the session either way
}

func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	_ = tx.Rollback(ctx) // it was only read
}

// quoteLiteral writes a value where a statement takes no parameter.
func quoteLiteral(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
