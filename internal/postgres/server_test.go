package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
)

func TestConnectSaysWhatTheServerIs(t *testing.T) {
	c := startCluster(t)
	f := factsOf(t, c)
	control, err := postgres.ReadControl(t.Context(), c.BinDir, c.DataDir)
	require.NoError(t, err)
	require.Equal(t, control.SystemID, f.SystemID)
	require.Equal(t, uint32(1), f.Timeline)
	require.Equal(t, uint32(1), control.Timeline)
	require.False(t, f.InRecovery)
	require.True(t, f.Checksums)
	require.True(t, control.Checksums)
	require.True(t, f.Archiving)
	require.Equal(t, "postgres", f.Superuser)
	require.Equal(t, int64(postgres.DefaultSegmentSize), f.SegmentSize)
	require.Equal(t, c.DataDir, f.DataDir)
	require.Equal(t, 15, postgres.Major(f.Version))
	require.Positive(t, f.LSN)
	require.Positive(t, f.Bytes)
	require.NotEmpty(t, f.Collations)
	require.NoError(t, f.CheckArchiving("here"))
	require.Equal(t, 100, control.MaxConnections)
}

func TestConnectNamesWhatIsWrong(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE ROLE plain LOGIN PASSWORD 'plain'")
	connect := func(dsn string) error {
		login, err := postgres.NewLogin(dsn, postgres.LoginOptions{})
		require.NoError(t, err)
		_, err = postgres.Connect(t.Context(), login)
		return err
	}
	for _, one := range []struct {
		dsn  string
		kind fault.Kind
	}{
		{strings.Replace(c.DSN, c.Password, "wrong-"+c.Password, 1), fault.ServerRefused},
		{strings.Replace(c.DSN, "postgres:"+c.Password, "plain:plain", 1), fault.ServerRefused},
		{strings.Replace(c.DSN, "/postgres?", "/nowhere?", 1), fault.ServerRefused},
		{strings.Replace(c.DSN, fmt.Sprint(":", c.Port), ":1", 1), fault.ServerUnavailable},
	} {
		err := connect(one.dsn)
		require.Equal(t, one.kind, fault.KindOf(err), "%v", err)
		require.NotEmpty(t, fault.HintOf(err))
		require.NotContains(t, err.Error(), c.Password)
	}
	_, err := postgres.BaseBackup(t.Context(), loginFor(t, strings.Replace(c.DSN, "postgres:"+c.Password, "plain:plain", 1)), postgres.BackupOptions{}, files{t.TempDir()})
	require.True(t, fault.Has(err, fault.ServerRefused), "%v", err)
	_, err = postgres.BaseBackup(t.Context(), c.login, postgres.BackupOptions{SystemID: "7"}, files{t.TempDir()})
	require.True(t, fault.Has(err, fault.ForeignCluster), "%v", err)
}

func TestTheArchiverAndReplicationAreToldAsTheyAre(t *testing.T) {
	c := startCluster(t)
	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	a, err := server.Archiver(t.Context())
	require.NoError(t, err)
	require.Equal(t, 10, a.Senders)
	require.Zero(t, a.Sending)
	require.WithinDuration(t, time.Now(), a.Now, time.Minute)
	require.Empty(t, a.Archived)
	c.exec(t, "SELECT txid_current(), pg_switch_wal()")
	require.Eventually(t, func() bool {
		a, err = server.Archiver(t.Context())
		return err == nil && a.Waiting == 0 && postgres.IsSegment(a.Archived) && !a.ArchivedAt.IsZero()
	}, time.Minute, 20*time.Millisecond)

	require.NoError(t, postgres.CheckReplication(t.Context(), c.login))
	c.exec(t, "CREATE ROLE plain LOGIN PASSWORD 'plain'")
	err = postgres.CheckReplication(t.Context(), loginFor(t, strings.Replace(c.DSN, "postgres:"+c.Password, "plain:plain", 1)))
	require.True(t, fault.Has(err, fault.ServerRefused), "%v", err)
}

func TestServerThatDoesNotArchiveIsRefused(t *testing.T) {
	server := lab.StartPostgres(t, lab.PostgresOptions{Settings: map[string]string{"wal_level": "minimal", "max_wal_senders": "0"}})
	conn, err := postgres.Connect(t.Context(), loginFor(t, server.DSN))
	require.NoError(t, err)
	defer conn.Close(t.Context())
	facts := conn.Facts()
	err = facts.CheckArchiving("here")
	require.True(t, fault.Has(err, fault.ServerSettings), "%v", err)
	require.Contains(t, fault.HintOf(err), "wal_level")
	facts.WALLevel = "replica"
	require.Contains(t, fault.HintOf(facts.CheckArchiving("here")), "archive_mode")
	facts.ArchiveMode = "on"
	require.Contains(t, fault.HintOf(facts.CheckArchiving("here")), "wal-push %p")
	_, err = postgres.BaseBackup(t.Context(), loginFor(t, server.DSN), postgres.BackupOptions{}, files{t.TempDir()})
	require.Error(t, err)
	require.NotEmpty(t, fault.KindOf(err), "%v", err)
}

func TestBaseBackupThatLosesItsServerIsNamed(t *testing.T) {
	c := startCluster(t)
	_, err := postgres.BaseBackup(t.Context(), c.login, postgres.BackupOptions{}, lethal{t, c, files{t.TempDir()}})
	require.True(t, fault.Has(err, fault.ServerUnavailable), "%v", err)
	require.True(t, fault.Retryable(err))
}

// lethal is a sink that kills the server when the first stream begins.
type lethal struct {
	t *testing.T
	c cluster
	files
}

func (l lethal) Stream(ctx context.Context, name string) (io.WriteCloser, error) {
	if _, err := l.c.Kill(l.t.Context()); err != nil {
		return nil, err
	}
	return l.files.Stream(ctx, name)
}

func TestLoginShowsNoPassword(t *testing.T) {
	login := loginFor(t, "postgres://someone:s3cret@db.example:5433/app")
	encoded, err := json.Marshal(map[string]any{"login": login})
	require.NoError(t, err)
	for _, shown := range []string{string(encoded), fmt.Sprint(login), fmt.Sprintf("%+v %#v %s", login, login, login)} {
		require.NotContains(t, shown, "s3cret")
		require.Contains(t, shown, "db.example:5433")
	}
	_, err = postgres.NewLogin("postgres://u:s3cret@host:port:port/x?%%", postgres.LoginOptions{})
	require.True(t, fault.Has(err, fault.ConfigInvalid))
	require.NotContains(t, err.Error(), "s3cret")
}

func TestChecksAnswer(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE TABLE t AS SELECT g FROM generate_series(1, 7) g", `CREATE SCHEMA "Odd"`, `CREATE TABLE "Odd"."Table" ()`)
	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	counts, err := server.CountRows(t.Context(), []string{"t", "public.t", `"Odd"."Table"`})
	require.NoError(t, err)
	require.Equal(t, []int64{7, 7, 0}, counts)
	_, err = server.CountRows(t.Context(), []string{"missing"})
	require.True(t, fault.Has(err, fault.VerificationFailed))

	// What can't be counted or answered in time ends at once, and a count stops nothing.
	busy, err := pgx.Connect(t.Context(), c.DSN)
	require.NoError(t, err)
	defer func() { _ = busy.Close(context.Background()) }()
	_, err = busy.Exec(t.Context(), "BEGIN; LOCK TABLE t")
	require.NoError(t, err)
	server.LimitStatements(50 * time.Millisecond)
	counts, err = server.CountRows(t.Context(), []string{"t", `"Odd"."Table"`})
	require.NoError(t, err)
	require.Equal(t, []int64{postgres.NotCounted, 0}, counts)
	_, err = server.Check(t.Context(), "SELECT count(*) > 0 FROM t", nil)
	require.True(t, fault.Has(err, fault.VerificationFailed), "%v", err)
	_, err = busy.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	server.LimitStatements(time.Minute)

	seven, eight := int64(7), int64(8)
	answer, err := server.Check(t.Context(), "SELECT count(*) FROM t", &seven)
	require.NoError(t, err)
	require.Equal(t, "7", answer)
	_, err = server.Check(t.Context(), "SELECT count(*) = 7 FROM t", nil)
	require.NoError(t, err)
	for sql, minimum := range map[string]*int64{
		"SELECT count(*) FROM t": &eight, "SELECT false": nil, "SELECT 1, 2": nil, "SELECT g FROM t": &seven,
		"SELECT nothing": nil, "SELEC": nil, "SELECT true WHERE false": nil,
	} {
		_, err = server.Check(t.Context(), sql, minimum)
		require.True(t, fault.Has(err, fault.VerificationFailed), "%s: %v", sql, err)
	}
	_, err = server.Check(t.Context(), "DELETE FROM t RETURNING true", nil)
	require.Error(t, err, "a check writes nothing")
	changed, err := server.CollationChanges(t.Context())
	require.NoError(t, err)
	require.Empty(t, changed)
}

func TestProgramsAreFoundByMajorVersion(t *testing.T) {
	bin, err := lab.PostgresBin()
	require.NoError(t, err)
	found, err := postgres.FindBin(t.Context(), "", 15)
	require.NoError(t, err)
	require.Equal(t, bin, found)
	_, err = postgres.FindBin(t.Context(), "", 16)
	require.True(t, fault.Has(err, fault.VersionMismatch), "%v", err)
	_, err = postgres.FindBin(t.Context(), bin, 16)
	require.True(t, fault.Has(err, fault.VersionMismatch), "%v", err)
	require.Contains(t, err.Error(), "15 in "+bin)
}

func TestDirectoryOfAnotherClusterIsRefused(t *testing.T) {
	c := startCluster(t)
	found, err := postgres.CheckDirectory(t.Context(), c.BinDir, c.DataDir, factsOf(t, c).SystemID)
	require.NoError(t, err)
	require.True(t, found)
	found, err = postgres.CheckDirectory(t.Context(), c.BinDir, c.DataDir, "42")
	require.True(t, found)
	require.True(t, fault.Has(err, fault.ForeignCluster), "%v", err)

	for _, dir := range []string{filepath.Join(t.TempDir(), "missing"), t.TempDir()} {
		found, err = postgres.CheckDirectory(t.Context(), c.BinDir, dir, "42")
		require.NoError(t, err)
		require.False(t, found)
	}
	strange := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(strange, "photo.jpg"), nil, 0o600))
	_, err = postgres.CheckDirectory(t.Context(), c.BinDir, strange, "42")
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	major, err := postgres.DirMajor(c.DataDir)
	require.NoError(t, err)
	require.Equal(t, 15, major)
}

func loginFor(t *testing.T, dsn string) postgres.Login {
	t.Helper()
	login, err := postgres.NewLogin(dsn, postgres.LoginOptions{})
	require.NoError(t, err)
	return login
}
