package postgres_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
)

func reached(t *testing.T, server *lab.Postgres) *postgres.Server {
	t.Helper()
	login, err := postgres.NewLogin(server.DSN, postgres.LoginOptions{})
	require.NoError(t, err)
	connected, err := postgres.Connect(t.Context(), login)
	require.NoError(t, err)
	t.Cleanup(func() { connected.Close(t.Context()) })
	return connected
}

func TestAStandbyOfASecondPrimaryOfTheSameClusterIsToldApart(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	standby, err := c.lab.Standby(t.Context(), c.Postgres, lab.StandbyOptions{})
	require.NoError(t, err)
	// A copy that was started as a primary by mistake: same identifier, same timeline.
	twin, err := c.lab.Standby(t.Context(), c.Postgres, lab.StandbyOptions{Name: "twin", Settings: map[string]string{"archive_mode": "off"}})
	require.NoError(t, err)
	require.NoError(t, twin.Stop(t.Context()))
	require.NoError(t, os.Remove(filepath.Join(twin.DataDir, "standby.signal")))
	require.NoError(t, twin.Start(t.Context()))
	behind, err := c.lab.Standby(t.Context(), twin, lab.StandbyOptions{Name: "behind-twin"})
	require.NoError(t, err)

	primary, second := reached(t, c.Postgres), reached(t, twin)
	require.Equal(t, primary.Facts().SystemID, second.Facts().SystemID)
	require.Equal(t, primary.Facts().Timeline, second.Facts().Timeline)
	ahead, err := second.Flushed(t.Context())
	require.NoError(t, err)
	var mark postgres.RestorePoint
	for mark.LSN <= ahead {
		_, _, err = primary.SwitchWAL(t.Context())
		require.NoError(t, err)
		mark, err = primary.CreateRestorePoint(t.Context(), "the primary's")
		require.NoError(t, err)
	}
	for ahead < mark.LSN { // as busy as the primary
		_, _, err = second.SwitchWAL(t.Context())
		require.NoError(t, err)
		point, err := second.CreateRestorePoint(t.Context(), "the twin's")
		require.NoError(t, err)
		ahead = point.LSN
	}
	require.NoError(t, reached(t, standby).AwaitFollowed(t.Context(), primary, mark.LSN, time.Minute))
	err = reached(t, behind).AwaitFollowed(t.Context(), primary, mark.LSN, time.Minute)
	require.True(t, fault.Has(err, fault.ForeignCluster), "%v", err)
	require.ErrorContains(t, err, "it is not that of postgresql at")

	conn, err := pgx.Connect(t.Context(), twin.DSN)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "CREATE TABLE far AS SELECT g FROM generate_series(1, 100000) g")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	flushed, err := second.Flushed(t.Context())
	require.NoError(t, err)
	require.NoError(t, reached(t, behind).AwaitFollowed(t.Context(), second, flushed, time.Minute))
	err = reached(t, behind).CheckFollows(t.Context(), primary)
	require.True(t, fault.Has(err, fault.ForeignCluster), "%v", err)
	require.ErrorContains(t, err, "it has replayed")
}

func TestWhatIsCopiedAsAStandbyIsOne(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	_, err := postgres.BaseBackup(t.Context(), c.login, postgres.BackupOptions{Label: "x", Standby: true}, files{t.TempDir()})
	require.True(t, fault.Has(err, fault.StandbyUnfit), "%v", err)
	require.ErrorContains(t, err, "leads to another server")
}

func TestSettingsThatLieInTheDataDirectoryGoWithABackup(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	require.NoError(t, c.owner.MakeParents(filepath.Join(c.DataDir, "conf.d", "more.conf")))
	require.NoError(t, c.lab.Write(filepath.Join(c.DataDir, "conf.d", "more.conf"), []byte("work_mem = '5MB'\n"), 0o600))
	require.NoError(t, c.lab.Write(filepath.Join(filepath.Dir(c.DataDir), "outside.conf"), []byte("work_mem = '6MB'\n"), 0o600))
	c.exec(t, "ALTER SYSTEM SET maintenance_work_mem = '7MB'")
	conf, err := os.OpenFile(filepath.Join(c.DataDir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = conf.WriteString("include_dir 'conf.d'\ninclude '../outside.conf'\n")
	require.NoError(t, err)
	require.NoError(t, conf.Close())
	c.exec(t, "SELECT pg_reload_conf()")
	found, err := reached(t, c.Postgres).SettingsFiles(t.Context())
	require.NoError(t, err)
	var names []string
	for _, file := range found {
		names = append(names, file.Path)
		want, err := os.ReadFile(filepath.Join(c.DataDir, file.Path))
		require.NoError(t, err)
		require.Equal(t, string(want), string(file.Content), file.Path)
	}
	require.Equal(t, []string{"conf.d/more.conf", "pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf", "postgresql.conf"}, names)

	dir, err := c.lab.Folder("restored")
	require.NoError(t, err)
	require.NoError(t, postgres.PlaceSettings(dir, c.owner, found))
	for _, file := range found {
		require.FileExists(t, filepath.Join(dir, file.Path))
	}
	err = postgres.PlaceSettings(dir, c.owner, []postgres.SettingsFile{{Path: "../outside.conf"}})
	require.True(t, fault.Has(err, fault.HostileArchive), "%v", err)
}
