package postgres_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/vault"
)

// dumps is a house whose database "frende" holds a little of everything.
func dumps(t *testing.T) *house {
	t.Helper()
	h := build(t)
	h.system.Databases[0].Database = "frende"
	h.exec(t, "CREATE ROLE app LOGIN PASSWORD 'open sesame'", "CREATE DATABASE frende OWNER app", "ALTER DATABASE frende SET app.secret TO 'hidden'")
	h.inside(t, "frende", "CREATE EXTENSION hstore", "CREATE TABLE users (id serial PRIMARY KEY, name text, h hstore)", "ALTER TABLE users OWNER TO app",
		"INSERT INTO users (name, h) SELECT 'u' || g, hstore('a', g::text) FROM generate_series(1, 200) g", `SELECT lo_from_bytea(0, '\x0102')`)
	return h
}

// inside runs statements in another database.
func (h *house) inside(t *testing.T, database string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), strings.Replace(h.DSN, "/postgres?", "/"+database+"?", 1))
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	for _, statement := range statements {
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

func (h *house) dump(t *testing.T, run string, format postgres.DumpFormat, at time.Time) activities.DumpResult {
	t.Helper()
	must(t, h.activities.DumpPreflight, activities.DumpPreflightInput{Ref: h.ref(run), Format: format})
	return must(t, h.activities.Dump, activities.DumpInput{Ref: h.ref(run), Format: format, At: at})
}

func (h *house) open(t *testing.T, key string) *vault.Backup {
	t.Helper()
	opened, err := h.at.vault(t.Context(), nil)
	require.NoError(t, err)
	backup, err := opened.Open(t.Context(), key)
	require.NoError(t, err)
	return backup
}

func stream(t *testing.T, backup *vault.Backup, name string) string {
	t.Helper()
	from, err := backup.Open(t.Context(), name)
	require.NoError(t, err)
	defer from.Close()
	body, err := io.ReadAll(from)
	require.NoError(t, err)
	return string(body)
}

func TestADumpSaysWhatItHoldsAndNoSecretLeavesItsStreams(t *testing.T) {
	t.Parallel()
	h := dumps(t)
	at := time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)
	made := h.dump(t, "run", postgres.DumpSQL, at)
	require.Equal(t, "database-backups/2024/01/15/frende_db_backup_20240115_020000.sql.gz", made.Key, "as the plan names it")
	require.Equal(t, 1, made.Facts.Tables)
	require.EqualValues(t, 200, made.Facts.Rows)
	require.EqualValues(t, 1, made.Facts.LargeObjects)
	require.Equal(t, []string{"app", "postgres"}, made.Facts.Roles)
	require.Contains(t, made.Facts.Program, "pg_dump (PostgreSQL) ")
	require.Equal(t, made, must(t, h.activities.Dump, activities.DumpInput{Ref: h.ref("run"), Format: postgres.DumpSQL, At: at}), "an attempt behind the commit gives the same")

	backup := h.open(t, made.Key)
	require.Equal(t, "gzip", backup.Manifest().Codec, "so that the frames of it are members of a gzip file")
	require.Contains(t, stream(t, backup, postgres.StreamSQL), "COPY public.users")
	require.Contains(t, stream(t, backup, postgres.StreamGlobals), "PASSWORD 'SCRAM-SHA-256$")
	contents := stream(t, backup, postgres.StreamContents)
	require.Contains(t, contents, `"hidden"`)
	told, err := json.Marshal(made)
	require.NoError(t, err)
	require.NotContains(t, string(told), "hidden", "settings may be secrets, and results are stored by Temporal")
	require.NotContains(t, string(told), "SCRAM")

	opened, err := h.at.vault(t.Context(), nil)
	require.NoError(t, err)
	_, err = opened.Latest(t.Context(), vault.Filter{Folder: activities.Folder, Component: "frende"})
	require.True(t, fault.Has(err, fault.BackupUnknown), "a dump is nobody's newest backup: %v", err)
}

func TestADumpWithoutProgramsOrDatabaseIsRefusedByName(t *testing.T) {
	t.Parallel()
	h := dumps(t)
	h.system.Databases[0].BinDir = t.TempDir()
	_, err := do(t, h.activities.DumpPreflight, activities.DumpPreflightInput{Ref: h.ref("run")})
	require.True(t, fault.Has(err, fault.VersionMismatch), "%v", err)
	require.ErrorContains(t, err, "pg_dump with pg_dumpall, pg_restore and psql is not installed")
	require.Contains(t, fault.HintOf(err), "postgresql-client-15")

	older := h.lab.Path("programs", "older")
	require.NoError(t, os.MkdirAll(older, 0o755))
	for _, name := range []string{"pg_dump", "pg_dumpall", "pg_restore", "psql"} {
		require.NoError(t, os.WriteFile(filepath.Join(older, name), []byte("#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.9'\n"), 0o755))
	}
	h.system.Databases[0].BinDir = older
	_, err = do(t, h.activities.DumpPreflight, activities.DumpPreflightInput{Ref: h.ref("run")})
	require.True(t, fault.Has(err, fault.VersionMismatch), "%v", err)
	require.ErrorContains(t, err, "found only 14 in ")

	h.system.Databases[0].BinDir, h.system.Databases[0].Database = "", "nothing"
	_, err = do(t, h.activities.DumpPreflight, activities.DumpPreflightInput{Ref: h.ref("run")})
	require.True(t, fault.Has(err, fault.ServerRefused), "%v", err)
	require.ErrorContains(t, err, `database "nothing" does not exist`)
}
