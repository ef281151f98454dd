package postgres_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
)

// What ALTER SYSTEM changed is in no WAL; that a limit was raised is.
func TestSettingRaisedAfterTheBackupIsFollowed(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	h.exec(t, "ALTER SYSTEM SET max_connections = 130", "ALTER SYSTEM SET max_prepared_transactions = 5")
	require.NoError(t, h.Stop(t.Context()))
	require.NoError(t, h.Start(t.Context()))
	h.exec(t, "INSERT INTO users VALUES ('b')", "BEGIN; INSERT INTO users VALUES ('c'); PREPARE TRANSACTION 'left'")
	h.switched(t)
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(h.DataDir))
	p := h.prepare(t, "recover/1")
	h.fence(t, &p)
	h.cutOver(t, &p)
	require.Equal(t, "a b", h.users(t))
	settings, err := os.ReadFile(filepath.Join(h.DataDir, "postgresql.auto.conf"))
	require.NoError(t, err)
	require.Contains(t, string(settings), "max_connections = '130'", "no other file has it as high")
	require.Contains(t, string(settings), "max_prepared_transactions = '5'")
	require.NotContains(t, string(settings), "max_worker_processes", "the default is as high")
	require.NotContains(t, string(settings), "restore_command")

	// It starts with them again: a prepared transaction needs its place.
	require.NoError(t, h.Stop(t.Context()))
	require.NoError(t, h.Start(t.Context()))
	h.exec(t, "COMMIT PREPARED 'left'")
	require.Equal(t, "a b c", h.users(t))
}

// A standby takes no serializable transaction.
func TestClusterOfSerializableTransactionsIsRecovered(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')",
		"ALTER SYSTEM SET default_transaction_isolation = 'serializable'", "SELECT pg_reload_conf()")
	h.backup(t, "backup/1", time.Now())
	h.exec(t, "INSERT INTO users VALUES ('b')")
	h.switched(t)
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(h.DataDir))
	p := h.prepare(t, "recover/1")
	h.fence(t, &p)
	h.cutOver(t, &p)
	require.Equal(t, "a b", h.users(t))
}

func TestSegmentsTooLargeToBeArchivedAreToldBeforeTheBackup(t *testing.T) {
	t.Parallel()
	h := build(t)
	large, err := h.lab.Postgres(t.Context(), lab.PostgresOptions{Name: "large", SegmentMiB: 64, ArchiveCommand: "false"})
	require.NoError(t, err)
	h.DSN = large.DSN
	_, err = do(t, h.activities.BackupPreflight, activities.BackupPreflightInput{Ref: h.ref("backup/1")})
	require.True(t, fault.Has(err, fault.Unsupported), "%v", err)
	require.ErrorContains(t, err, "at most")
	_, err = do(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: h.ref("backup/1"), At: time.Now()})
	require.True(t, fault.Has(err, fault.Unsupported), "%v", err)
}
