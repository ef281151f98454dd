package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
)

// taken is a dump in custom format, and what is in it.
func (c cluster) taken(t *testing.T) ([]byte, *postgres.Contents) {
	t.Helper()
	snapshot, err := postgres.TakeSnapshot(t.Context(), c.login, "postgres")
	require.NoError(t, err)
	defer snapshot.Close(t.Context())
	var dump bytes.Buffer
	require.NoError(t, snapshot.Dump(t.Context(), c.BinDir, postgres.DumpCustom, &dump))
	contents, err := snapshot.Contents(t.Context())
	require.NoError(t, err)
	return dump.Bytes(), contents
}

// restoreCustom restores into a new database and says what is left of its files.
func (c cluster) restoreCustom(t *testing.T, name string, from io.Reader, contents *postgres.Contents) error {
	t.Helper()
	oid, err := postgres.CreateDatabase(t.Context(), c.login, name, contents)
	require.NoError(t, err)
	dir := t.TempDir()
	err = postgres.RestoreCustom(t.Context(), postgres.RestoreOptions{Login: c.login, Database: name, OID: oid, BinDir: c.BinDir, As: c.owner, Jobs: 3, Dir: dir}, from)
	left, listErr := os.ReadDir(dir)
	require.NoError(t, listErr)
	require.Empty(t, left)
	return err
}

func (c cluster) requireEqual(t *testing.T, name string, want *postgres.Contents) {
	t.Helper()
	got, err := postgres.ReadContents(t.Context(), c.login, name)
	require.NoError(t, err)
	_, err = postgres.CompareContents(name, want, got, true)
	require.NoError(t, err)
}

// away is a source that ends with an error.
type away struct{ io.Reader }

var errAway = errors.New("the store is away")

func (a away) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errAway
	}
	return n, err
}

func TestACustomDumpIsRestoredBySeveralSessionsWhileItIsRead(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.exec(t,
		// Rows that end where pieces end and elsewhere, with all that the format escapes, and some that fit no piece.
		`CREATE TABLE rows (id int PRIMARY KEY, t text, b bytea)`,
		`INSERT INTO rows SELECT g, repeat(E'a\\.\nb\t\r\\N' || g, g % 97), decode(repeat('0a5c2e', g % 211), 'hex') FROM generate_series(1, 20000) g`,
		`INSERT INTO rows SELECT -g, repeat(E'\n\\.\n', 1000 * g), NULL FROM generate_series(1, 1500, 500) g`,
		`CREATE TABLE newest AS SELECT repeat('x', 3000000) AS t`,
		`CREATE TABLE nothing (id int)`, `CREATE TABLE bare ()`, `INSERT INTO bare SELECT FROM generate_series(1, 5)`,
		`CREATE TABLE referring (id int REFERENCES rows)`, `INSERT INTO referring SELECT g FROM generate_series(1, 20000) g`,
		`CREATE FUNCTION long() RETURNS text LANGUAGE sql AS $$ SELECT '`+strings.Repeat("long ", 100000)+`' $$`,
		`SELECT lo_from_bytea(0, decode(repeat('00ff', 40000), 'hex'))`, `SELECT lo_create(4711)`, `COMMENT ON LARGE OBJECT 4711 IS 'empty'`)
	dump, contents := c.taken(t)
	require.True(t, postgres.CustomKnown(dump))

	require.NoError(t, c.restoreCustom(t, "whole", bytes.NewReader(dump), contents))
	c.requireEqual(t, "whole", contents)

	for _, at := range []int{5, 100, len(dump) / 2, len(dump) - 1} {
		require.ErrorIs(t, c.restoreCustom(t, "broken", away{bytes.NewReader(dump[:at])}, contents), errAway, "what the source says comes first: %d", at)
	}
	err := c.restoreCustom(t, "broken", bytes.NewReader(dump[:len(dump)/2]), contents)
	require.True(t, fault.Has(err, fault.FormatUnsupported) && !fault.Retryable(err), "%v", err)
	require.ErrorContains(t, err, "unexpected EOF")

	unknown := bytes.Clone(dump)
	unknown[6] = 99 // minor version of the format
	require.False(t, postgres.CustomKnown(unknown))
	err = c.restoreCustom(t, "broken", bytes.NewReader(unknown), contents)
	require.True(t, fault.Has(err, fault.DumpFailed), "%v", err)
	require.ErrorContains(t, err, "unsupported version (1.99) in file header")

	refused := bytes.Replace(bytes.Clone(dump), []byte("\n19999\n"), []byte("\n1999x\n"), 1)
	if bytes.Equal(refused, dump) { // a row is a block of its own
		refused = bytes.Replace(bytes.Clone(dump), []byte("19999\n"), []byte("1999x\n"), 1)
	}
	err = c.restoreCustom(t, "broken", bytes.NewReader(refused), contents)
	require.True(t, fault.Has(err, fault.DumpFailed) && !fault.Retryable(err), "%v", err)
	require.ErrorContains(t, err, "public.referring: invalid input syntax for type integer")
}

// dumped is what pg_dump writes, without what it makes up anew each time.
func (c cluster) dumped(t *testing.T, database string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(c.BinDir, "pg_dump"), append(args, "--dbname="+c.of(database).DSN)...)
	out, err := cmd.Output()
	require.NoError(t, err)
	return out
}

func (c cluster) schema(t *testing.T, database string) string {
	t.Helper()
	lines := strings.Split(string(c.dumped(t, database, "--schema-only")), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, `\restrict`) || strings.HasPrefix(line, `\unrestrict`)
	}), "\n")
}

func TestWhateverACustomDumpHoldsIsThereAgain(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.fill(t)
	c.exec(t,
		// In SJIS the second byte of some is a backslash.
		`CREATE TABLE texts (t text)`, `INSERT INTO texts VALUES ('表'), (E'能\n表\\.'), (E'\\.'), (''), (NULL)`,
		`CREATE TABLE spans (i interval, d date)`, `INSERT INTO spans VALUES ('-1 days +02:03:00', '2001-02-03')`, `ALTER DATABASE postgres SET intervalstyle TO sql_standard`,
		`CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY, n int)`, `INSERT INTO numbered (n) SELECT g FROM generate_series(1, 100) g`,
		`CREATE TABLE hashed (id int, t text) PARTITION BY HASH (t)`, `CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0)`,
		`CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1)`, `INSERT INTO hashed SELECT g, 't' || g FROM generate_series(1, 100) g`,
		`COMMENT ON LARGE OBJECT 4711 IS 'empty at its beginning'`, `GRANT SELECT ON LARGE OBJECT 4711 TO readers`, `ALTER LARGE OBJECT 4711 OWNER TO app`,
		`COMMENT ON TABLE texts IS 'texts'`, `COMMENT ON COLUMN texts.t IS 'one'`, `REVOKE ALL ON texts FROM postgres`, `GRANT SELECT (t) ON texts TO readers`,
		`ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO readers`, `CREATE STATISTICS both_of ON id, t FROM hashed_0`, `ALTER TABLE texts REPLICA IDENTITY FULL`,
		`CREATE FUNCTION seen() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'`, `CREATE EVENT TRIGGER seen ON ddl_command_end EXECUTE FUNCTION seen()`, `COMMENT ON EVENT TRIGGER seen IS 'seen'`,
		`CREATE RULE kept AS ON DELETE TO texts DO INSTEAD NOTHING`, `COMMENT ON RULE kept ON texts IS 'kept'`, `CREATE PUBLICATION all_of FOR ALL TABLES`)
	_, contents := c.taken(t)
	schema := c.schema(t, "postgres")
	file := filepath.Join(t.TempDir(), "file")
	for name, args := range map[string][]string{
		"plain": {}, "packed by pg_dump": {"--compress=1"}, "as statements": {"--column-inserts"}, "in SJIS": {"--encoding=SJIS"},
		"through partition roots": {"--load-via-partition-root"}, "with places": {"--file=" + file},
	} {
		dump := c.dumped(t, "postgres", append([]string{"--format=custom", "--compress=0"}, args...)...)
		if name == "with places" {
			var err error
			dump, err = os.ReadFile(file)
			require.NoError(t, err)
		}
		require.NoError(t, c.restoreCustom(t, name, bytes.NewReader(dump), contents), name)
		c.requireEqual(t, name, contents)
		require.Equal(t, schema, c.schema(t, name), name)
		require.Equal(t, "app readers empty at its beginning", c.answer(t, name, `SELECT concat_ws(' ', lomowner::regrole, (aclexplode(lomacl)).grantee::regrole, obj_description(oid, 'pg_largeobject'))
			FROM pg_largeobject_metadata WHERE oid = 4711 ORDER BY 1 DESC LIMIT 1`), name)
	}
}

// answer is what a query gives in a database.
func (c cluster) answer(t *testing.T, database, query string) (answer string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.of(database).DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	require.NoError(t, conn.QueryRow(t.Context(), query).Scan(&answer), query)
	return answer
}

// replacing is a source that does something before the read of a number.
type replacing struct {
	io.Reader
	left int
	do   func()
}

func (r *replacing) Read(p []byte) (int, error) {
	if r.left--; r.left == 0 {
		r.do()
	}
	return r.Reader.Read(p)
}

func TestAnAttemptThatWasGivenUpPutsNothingIntoTheNextOnesDatabase(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	for what, test := range map[string]struct {
		rows int
		read int // before which the database is made anew
	}{"rows": {300000, 2}, "all else": {0, 2}} {
		c.exec(t, "DROP TABLE IF EXISTS rows", "CREATE TABLE rows (id int PRIMARY KEY)", fmt.Sprintf("INSERT INTO rows SELECT generate_series(1, %d)", test.rows))
		dump, contents := c.taken(t)
		anew := func() {
			_, err := postgres.CreateDatabase(t.Context(), c.login, "anew", contents)
			require.NoError(t, err)
			c.in(t, "anew", "CREATE TABLE public.rows (id int)")
		}
		err := c.restoreCustom(t, "anew", &replacing{bytes.NewReader(dump), test.read, anew}, contents)
		require.True(t, fault.Has(err, fault.TargetBusy), "%s: %v", what, err)
		require.Equal(t, "0 0", c.answer(t, "anew", "SELECT concat_ws(' ', (SELECT count(*) FROM public.rows), (SELECT count(*) FROM pg_index WHERE indrelid = 'public.rows'::regclass))"), what)
	}

	_, contents := c.taken(t)
	oid, err := postgres.CreateDatabase(t.Context(), c.login, "anew", contents)
	require.NoError(t, err)
	_, err = postgres.CreateDatabase(t.Context(), c.login, "anew", contents)
	require.NoError(t, err)
	into := postgres.RestoreOptions{Login: c.login, Database: "anew", OID: oid, BinDir: c.BinDir, As: c.owner, Dir: t.TempDir()}
	err = postgres.RestoreSQL(t.Context(), into, strings.NewReader("CREATE TABLE public.made ();"))
	require.True(t, fault.Has(err, fault.TargetBusy), "%v", err)
}
