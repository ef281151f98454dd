package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
)

// fill makes what a dump can lose: every kind of relation, of text and of sequence.
func (c cluster) fill(t *testing.T) {
	t.Helper()
	c.exec(t, `CREATE EXTENSION hstore`, `CREATE ROLE app LOGIN PASSWORD 'open sesame'`, `CREATE ROLE readers`, `GRANT readers TO app`,
		`CREATE SCHEMA app AUTHORIZATION app`,
		`CREATE TYPE app.mood AS ENUM ('glad', 'sad')`,
		`CREATE TABLE app.people (id bigserial PRIMARY KEY, name text NOT NULL, at timestamptz DEFAULT now(), extra jsonb, photo bytea, x float8, m app.mood, h hstore, gone int, big numeric GENERATED ALWAYS AS (id * 2) STORED)`,
		`ALTER TABLE app.people DROP COLUMN gone`, `ALTER TABLE app.people OWNER TO app`,
		`INSERT INTO app.people (name, extra, photo, x, m, h) SELECT 'p\n''' || g, jsonb_build_object('g', g), decode('00ff', 'hex'), g / 3.0, 'sad', hstore('a', g::text) FROM generate_series(1, 500) g`,
		`CREATE TABLE parts (id int, t text) PARTITION BY RANGE (id)`, `CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100)`,
		`INSERT INTO parts SELECT g, 'x' FROM generate_series(1, 50) g`,
		`CREATE TABLE parent (a int)`, `CREATE TABLE child (c int) INHERITS (parent)`, `ALTER TABLE parent ADD b text`, `INSERT INTO child VALUES (1, 2, 'three')`,
		`CREATE TABLE "Odd ""name" ("a b" int)`, `INSERT INTO "Odd ""name" VALUES (1)`, `CREATE TABLE bare ()`, `INSERT INTO bare DEFAULT VALUES`,
		`CREATE UNLOGGED TABLE loose AS SELECT 7 AS n`,
		`CREATE SEQUENCE down INCREMENT -1`, `SELECT nextval('down'), nextval('down')`, `CREATE SEQUENCE untouched`,
		`SELECT lo_from_bytea(0, '\x0102000000')`, `SELECT lo_put(lo_create(4711), 5000, '\x05')`,
		`CREATE VIEW glad AS SELECT * FROM app.people`, `GRANT SELECT ON glad TO readers`,
		`CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM app.people`, `CREATE INDEX ON app.people (name)`,
		`CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`, `CREATE TRIGGER touched BEFORE UPDATE ON app.people FOR EACH ROW EXECUTE FUNCTION touch()`,
		`ALTER TABLE app.people ENABLE ROW LEVEL SECURITY`, `CREATE POLICY own ON app.people USING (name = current_user)`,
		`ALTER DATABASE postgres SET search_path TO app, "$user", public`, `ALTER ROLE app IN DATABASE postgres SET work_mem TO '3MB'`,
		`ALTER DATABASE postgres SET default_transaction_read_only TO off`,
		`GRANT CREATE ON DATABASE postgres TO app`, `COMMENT ON DATABASE postgres IS 'it''s ours'`)
}

func TestASnapshotIsOneStateAndItsContentsEqualWhatIsRestored(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.fill(t)
	snapshot, err := postgres.TakeSnapshot(t.Context(), c.login, "postgres")
	require.NoError(t, err)
	defer snapshot.Close(t.Context())
	c.exec(t, "DELETE FROM app.people WHERE id = 7", "SELECT nextval('down')", "INSERT INTO bare DEFAULT VALUES")
	want, err := snapshot.Contents(t.Context())
	require.NoError(t, err)
	require.NoError(t, snapshot.Settle(t.Context(), want))
	tables := map[string]postgres.TableDigest{}
	for _, table := range want.Tables {
		tables[table.Name] = table
	}
	require.EqualValues(t, 500, tables["app.people"].Rows, "what was committed later is not in it")
	require.EqualValues(t, 1, tables["public.bare"].Rows)
	require.EqualValues(t, 1, tables["public.loose"].Rows, "a dump holds unlogged tables, too")
	require.Contains(t, tables, `public.Odd "name`)
	require.NotContains(t, tables, "public.parts", "its rows are in its partitions")
	require.EqualValues(t, 2, want.LargeObjects.Count)
	require.EqualValues(t, 5+5001, want.LargeObjects.Bytes)
	require.Equal(t, []string{"app", "postgres", "readers"}, want.Roles)
	require.Equal(t, []string{"app", "public"}, want.Schemas)
	require.Contains(t, want.Sequences, postgres.Sequence{Name: "public.down", Before: postgres.SequenceValue{Last: -2, Called: true}, After: postgres.SequenceValue{Last: -3, Called: true}})
	require.EqualValues(t, 1, want.Objects["policy"])
	require.EqualValues(t, 1, want.Objects["function"], "those of extensions are not counted")

	for _, format := range []postgres.DumpFormat{postgres.DumpSQL, postgres.DumpCustom} {
		var dump bytes.Buffer
		require.NoError(t, snapshot.Dump(t.Context(), c.BinDir, format, &dump))
		staging := "restoring " + string(format)
		_, err = postgres.CreateDatabase(t.Context(), c.login, staging, want)
		require.NoError(t, err)
		into := postgres.RestoreOptions{Login: c.login, Database: staging, BinDir: c.BinDir, As: c.owner, Jobs: 2}
		if format == postgres.DumpSQL {
			require.NoError(t, postgres.RestoreSQL(t.Context(), into, bytes.NewReader(dump.Bytes())))
		} else {
			into.Dir = t.TempDir()
			require.NoError(t, postgres.RestoreCustom(t.Context(), into, bytes.NewReader(dump.Bytes())))
		}
		got, err := postgres.ReadContents(t.Context(), c.login, staging)
		require.NoError(t, err)
		equal, err := postgres.CompareContents("frende", want, got, true)
		require.NoError(t, err, format)
		require.Equal(t, len(want.Tables)+len(want.Sequences), equal)
		properties := got.Properties
		properties.Name, properties.Connections = want.Properties.Name, want.Properties.Connections
		require.Equal(t, want.Properties, properties)
	}
	// What is compared first is changed last.
	for _, change := range [][2]string{
		{"DROP VIEW glad", "at view: "},
		{`SELECT lo_put(4711, 0, '\x01')`, "at large objects: "},
		{"SELECT setval('untouched', 9)", "at public.untouched: "},
		{"UPDATE parts SET t = 'y' WHERE id = 1", "at public.parts_1: "},
		{"INSERT INTO bare DEFAULT VALUES", "at public.bare: "},
		{"DROP TABLE app.people CASCADE", "at app.people: "},
	} {
		c.in(t, "restoring custom", change[0])
		got, err := postgres.ReadContents(t.Context(), c.login, "restoring custom")
		require.NoError(t, err)
		_, err = postgres.CompareContents("frende", want, got, true)
		require.True(t, fault.Has(err, fault.VerificationFailed), "%s: %v", change[0], err)
		require.ErrorContains(t, err, change[1])
	}
}

// of is the same cluster by another database.
func (c cluster) of(database string) cluster {
	pg := *c.Postgres
	pg.DSN = strings.Replace(c.DSN, "/postgres?", "/"+strings.ReplaceAll(database, " ", "%20")+"?", 1)
	c.Postgres = &pg
	return c
}

func (c cluster) in(t *testing.T, database, statement string) {
	t.Helper()
	c.of(database).exec(t, statement)
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("the store is away") }

func TestADumpThatCanNotBeStoredSaysWhy(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	snapshot, err := postgres.TakeSnapshot(t.Context(), c.login, "postgres")
	require.NoError(t, err)
	defer snapshot.Close(context.Background())
	require.ErrorContains(t, snapshot.Dump(t.Context(), c.BinDir, postgres.DumpSQL, broken{}), "the store is away")
}
