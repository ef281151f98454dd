package postgres_test

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/plan"
)

// program runs one of the client programs against the lab's server.
func (h *house) program(t *testing.T, name string, args ...string) {
	t.Helper()
	bin, err := lab.PostgresBin()
	require.NoError(t, err)
	output, err := exec.CommandContext(t.Context(), filepath.Join(bin, name), args...).CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// dsnOf is the lab's server with another database.
func (h *house) dsnOf(t *testing.T, database string) string {
	t.Helper()
	dsn, err := url.Parse(h.DSN)
	require.NoError(t, err)
	dsn.Path = "/" + database
	return dsn.String()
}

func TestATableIsTakenOutOfABackupAsItWasAtAPoint(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (id serial PRIMARY KEY, name text)", "INSERT INTO users (name) SELECT 'user ' || g FROM generate_series(1, 300) g",
		`CREATE SCHEMA "Odd Names"`, `CREATE TABLE "Odd Names"."a*b?" (v int)`, `INSERT INTO "Odd Names"."a*b?" VALUES (7)`,
		"CREATE SCHEMA other", "CREATE TABLE other.matches (id int)", "CREATE TABLE matches (id int, at date) PARTITION BY RANGE (at)",
		"CREATE TABLE matches_2024 PARTITION OF matches FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')", "INSERT INTO matches VALUES (1, '2024-01-15'), (2, '2024-01-16')",
		"CREATE UNLOGGED TABLE scratch (v int)")
	made := must(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: h.ref("backup/1"), At: time.Now()})
	h.exec(t, "INSERT INTO users (name) VALUES ('after the backup')")
	at := h.one(t, `SELECT to_char(clock_timestamp() AT TIME ZONE 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)
	h.exec(t, "DROP TABLE matches", "DELETE FROM users WHERE id > 10", "INSERT INTO users (name) VALUES ('the mistake')")
	h.switched(t)
	before := h.users(t)

	_, err := do(t, h.activities.ScratchPreflight, activities.ScratchPreflightInput{Ref: h.scratch("extract/0"), To: plan.Point{Time: time.Date(2024, 1, 15, 9, 42, 0, 0, time.UTC)}})
	require.True(t, fault.Has(err, fault.PointUnreachable), "%v", err)

	point, err := plan.ParsePoint(at)
	require.NoError(t, err)
	ref := h.scratch("extract/1")
	found := must(t, h.activities.ScratchPreflight, activities.ScratchPreflightInput{Ref: ref, To: point})
	require.Equal(t, made.Key, found.Key)
	ref.Goal = found.Goal
	must(t, h.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})
	replayed := must(t, h.activities.Replay, activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts})
	require.True(t, replayed.Reached)

	folder := t.TempDir()
	extract := func(file string, tables ...string) activities.ExtractInput {
		return activities.ExtractInput{Ref: ref, Place: found.Place, Facts: found.Facts, File: filepath.Join(folder, file), Tables: tables}
	}
	in := extract("users.sql", "users", "matches_2024")
	got := must(t, h.activities.Extract, in)
	require.True(t, got.Plain)
	require.Equal(t, []string{"public.users", "public.matches_2024"}, []string{got.Tables[0].Name, got.Tables[1].Name})
	require.Equal(t, []int64{301, 2}, []int64{got.Tables[0].Rows, got.Tables[1].Rows})
	require.Equal(t, got, must(t, h.activities.Extract, in), "the step runs again")
	info, err := os.Stat(in.File)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Equal(t, info.Size(), got.Bytes)
	custom := extract("some.dump", "public.matches", "Odd Names.a*b?")
	got = must(t, h.activities.Extract, custom)
	require.False(t, got.Plain)
	require.Len(t, got.Tables, 3, "with its partition")
	whole := extract("all.dump")
	require.Len(t, must(t, h.activities.Extract, whole).Tables, 7)

	// What plain tools make of the files.
	h.exec(t, "CREATE DATABASE one", "CREATE DATABASE two", "CREATE DATABASE three")
	h.program(t, "psql", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-1", "-d", h.dsnOf(t, "one"), "-c", "CREATE TABLE matches (id int, at date) PARTITION BY RANGE (at)", "-f", in.File)
	h.program(t, "pg_restore", "-d", h.dsnOf(t, "two"), "-c", "--if-exists", "-n", "public", custom.File)
	h.program(t, "pg_restore", "-d", h.dsnOf(t, "three"), "-j", "2", whole.File)
	kept := h.DSN
	h.DSN = h.dsnOf(t, "one")
	require.Equal(t, "301", h.one(t, "SELECT count(*)::text FROM users"))
	require.Equal(t, "true", h.one(t, "SELECT (nextval('users_id_seq') > 301)::text"), "its sequence came along, ahead by what the WAL logs in advance")
	h.DSN = h.dsnOf(t, "two")
	require.Equal(t, "2", h.one(t, "SELECT count(*)::text FROM matches"))
	h.DSN = h.dsnOf(t, "three")
	require.Equal(t, "7", h.one(t, `SELECT v::text FROM "Odd Names"."a*b?"`))
	h.DSN = kept

	// What is refused, by name.
	for name, refused := range map[string]struct {
		in    activities.ExtractInput
		kind  fault.Kind
		hints string
	}{
		"a name that is near":   {extract("x.sql", "public.usres"), fault.NameUnknown, "did you mean public.users?"},
		"without its schema":    {extract("x.sql", "user"), fault.NameUnknown, "did you mean public.users?"},
		"one of two":            {extract("x.sql", "matches"), fault.InputInvalid, "other.matches, public.matches"},
		"no such database":      {activities.ExtractInput{Ref: ref, Place: found.Place, Facts: found.Facts, File: filepath.Join(folder, "x"), Database: "postgers"}, fault.NameUnknown, "did you mean postgres?"},
		"a file that was there": {extract("users.sql", "other.matches"), "", ""},
	} {
		if refused.kind == "" {
			_, err := do(t, h.check, activities.CheckFileInput{File: refused.in.File})
			require.True(t, fault.Has(err, fault.TargetRefused), "%s: %v", name, err)
			continue
		}
		_, err := do(t, h.activities.Extract, refused.in)
		require.True(t, fault.Has(err, refused.kind), "%s: %v", name, err)
		require.Contains(t, fault.HintOf(err), refused.hints, name)
	}
	_, err = do(t, h.check, activities.CheckFileInput{File: filepath.Join(folder, "missing", "x.sql")})
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	_, err = do(t, h.check, activities.CheckFileInput{File: "x.sql"})
	require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
	h.discardScratch(t, ref)
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, left, 3, "the files, and nothing beside them")
	require.Equal(t, before, h.users(t), "production is as it was")
}

// check is CheckFile as a step with an answer.
func (h *house) check(ctx context.Context, in activities.CheckFileInput) (struct{}, error) {
	return struct{}{}, h.activities.CheckFile(ctx, in)
}
