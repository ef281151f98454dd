package postgres_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
)

// stored lists what lies in the bucket of base backups and dumps.
func (h *house) stored(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(h.s3.Dir, "backups", "database-backups", "*", "*", "*", "*"))
	require.NoError(t, err)
	return found
}

func TestABackupThatTheServerDoesNotPermitIsRefusedBeforeItBegins(t *testing.T) {
	t.Parallel()
	h := build(t)
	refused := func(t *testing.T, kind fault.Kind, said, hint string) {
		t.Helper()
		_, err := do(t, h.activities.BackupPreflight, activities.BackupPreflightInput{Ref: h.ref("backup/1")})
		require.True(t, fault.Has(err, kind), "%v", err)
		require.ErrorContains(t, err, said)
		require.Contains(t, fault.HintOf(err), hint)
		require.False(t, fault.Retryable(err))
		require.Empty(t, h.stored(t))
	}
	t.Run("replication not permitted", func(t *testing.T) {
		path := filepath.Join(h.DataDir, "pg_hba.conf")
		original, err := os.ReadFile(path)
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append([]byte("host replication all all reject\n"), original...), info.Mode()))
		h.exec(t, "SELECT pg_reload_conf()")
		require.Eventually(t, func() bool {
			return h.one(t, "SELECT count(*)::text FROM pg_hba_file_rules WHERE auth_method = 'reject'") == "1"
		}, time.Minute, 20*time.Millisecond)
		refused(t, fault.ServerRefused, "replication", "pg_hba.conf of the server, for replication connections too")
		require.NoError(t, os.WriteFile(path, original, info.Mode()))
		h.exec(t, "SELECT pg_reload_conf()")
		require.Eventually(t, func() bool {
			_, err := do(t, h.activities.BackupPreflight, activities.BackupPreflightInput{Ref: h.ref("backup/1")})
			return err == nil
		}, time.Minute, 20*time.Millisecond)
	})
	t.Run("wal_level minimal", func(t *testing.T) {
		minimal, err := h.lab.Postgres(t.Context(), lab.PostgresOptions{Name: "minimal", Settings: map[string]string{"wal_level": "minimal", "max_wal_senders": "0"}})
		require.NoError(t, err)
		dsn := h.DSN
		h.DSN = minimal.DSN
		defer func() { h.DSN = dsn }()
		refused(t, fault.ServerSettings, "wal_level", "wal_level")
	})
}

// A base backup goes where the source's locales and libraries may be missing. What a
// server can't do without them is named by the hidden one, beside production.
func TestWhatAHostLacksOfItsSourceIsNamedBesideProduction(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.system.Databases[0].Database = "frende"
	h.exec(t, "CREATE DATABASE frende", "CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C.UTF-8'")
	h.inside(t, "frende", "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.exec(t, "UPDATE pg_database SET datcollversion = '0.1' WHERE datname = 'sorted'")
	h.backup(t, "backup/1", time.Now())
	alive := func(t *testing.T) {
		t.Helper()
		running, err := h.Running()
		require.NoError(t, err)
		require.True(t, running)
		require.Equal(t, "a", h.answer(t, "frende", "SELECT name FROM users"))
		require.Empty(t, h.beside(t))
	}
	discard := func(t *testing.T, p prepared) {
		t.Helper()
		must(t, h.activities.Discard, activities.DiscardInput{Ref: p.ref, Place: p.found.Place})
		alive(t)
	}
	t.Run("another version of a collation", func(t *testing.T) {
		p := h.prepare(t, "recover/1")
		verified := must(t, h.activities.Verify, activities.VerifyInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
		require.Equal(t, []string{"sorted"}, verified.Collations, "its indexes may have to be made anew")
		discard(t, p)
	})
	t.Run("the library of an extension", func(t *testing.T) {
		p := prepared{ref: h.ref("recover/2")}
		p.found = must(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: p.ref})
		must(t, h.activities.Restore, activities.RestoreInput{Ref: p.ref, Key: p.found.Key, Place: p.found.Place, Facts: p.found.Facts})
		p.found.Facts.Preload = "timetravel" // as where the source has it, and this host does not
		_, err := do(t, h.activities.Replay, activities.ReplayInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
		require.True(t, fault.Has(err, fault.PrerequisiteMissing), "%v", err)
		require.ErrorContains(t, err, `could not access file "timetravel"`)
		require.Contains(t, fault.HintOf(err), "install the extension's package")
		discard(t, p)
	})
	t.Run("a locale", func(t *testing.T) {
		h.exec(t, "UPDATE pg_database SET datcollate = 'xx_XX.UTF-8', datctype = 'xx_XX.UTF-8' WHERE datname = 'frende'")
		h.backup(t, "backup/2", time.Now().Add(time.Second))
		h.exec(t, "UPDATE pg_database SET datcollate = 'C.UTF-8', datctype = 'C.UTF-8' WHERE datname = 'frende'")
		p := prepared{ref: h.ref("recover/3")}
		point := strings.TrimSpace(h.newestKey(t))
		p.found = must(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: p.ref, Key: point})
		must(t, h.activities.Restore, activities.RestoreInput{Ref: p.ref, Key: p.found.Key, Place: p.found.Place, Facts: p.found.Facts})
		must(t, h.activities.Replay, activities.ReplayInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
		_, err := do(t, h.activities.Verify, activities.VerifyInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
		require.True(t, fault.Has(err, fault.LocaleMismatch), "%v", err)
		require.ErrorContains(t, err, "xx_XX.UTF-8")
		require.Contains(t, fault.HintOf(err), "locale-gen")
		discard(t, p)
	})
}

// newestKey is the key of the newest backup in the bucket.
func (h *house) newestKey(t *testing.T) string {
	t.Helper()
	found := h.stored(t)
	require.NotEmpty(t, found)
	key, err := filepath.Rel(filepath.Join(h.s3.Dir, "backups"), found[len(found)-1])
	require.NoError(t, err)
	return key
}
