package postgres_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
)

func TestFenceKeepsOthersOutAndComesDownAgain(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE ROLE app LOGIN SUPERUSER PASSWORD 'app'", "CREATE TABLE t (id int)")
	app := strings.Replace(c.DSN, "postgres:"+c.Password, "app:app", 1)
	session, err := pgx.Connect(t.Context(), app)
	require.NoError(t, err)
	defer func() { _ = session.Close(context.Background()) }()

	hba := filepath.Join(c.DataDir, "pg_hba.conf")
	original, err := os.ReadFile(hba)
	require.NoError(t, err)
	info, err := os.Stat(hba)
	require.NoError(t, err)
	journal := filepath.Join(filepath.Dir(c.DataDir), "fence.json")

	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	require.NoError(t, postgres.RaiseFence(t.Context(), server, journal))
	_, err = pgx.Connect(t.Context(), app)
	require.ErrorContains(t, err, "pg_hba.conf")
	_, err = session.Exec(t.Context(), "INSERT INTO t VALUES (1)")
	require.NoError(t, err, "a session that exists goes on until it is terminated")

	// A later process comes in, and finds the fence raised.
	again, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	require.NoError(t, postgres.RaiseFence(t.Context(), again, journal))
	ended, err := again.Terminate(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, ended, 1)
	_, err = session.Exec(t.Context(), "INSERT INTO t VALUES (2)")
	require.Error(t, err)
	again.Close(t.Context())

	lowered, err := postgres.LowerFence(t.Context(), journal)
	require.NoError(t, err)
	require.True(t, lowered)
	restored, err := os.ReadFile(hba)
	require.NoError(t, err)
	require.Equal(t, string(original), string(restored))
	now, err := os.Stat(hba)
	require.NoError(t, err)
	require.Equal(t, info.Mode(), now.Mode())
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), app)
		if err != nil {
			return false
		}
		return conn.Close(t.Context()) == nil
	}, time.Minute, 20*time.Millisecond)
	lowered, err = postgres.LowerFence(t.Context(), journal)
	require.NoError(t, err)
	require.False(t, lowered, "there is no fence any more")
	require.NoFileExists(t, hba+".lifeboat-original")
}

func TestFenceComesDownWhenItsServerIsDead(t *testing.T) {
	c := startCluster(t)
	journal := filepath.Join(filepath.Dir(c.DataDir), "fence.json")
	hba := filepath.Join(c.DataDir, "pg_hba.conf")
	original, err := os.ReadFile(hba)
	require.NoError(t, err)
	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	require.NoError(t, postgres.RaiseFence(t.Context(), server, journal))
	server.Close(t.Context())
	require.NoError(t, c.Stop(t.Context()))
	lowered, err := postgres.LowerFence(t.Context(), journal)
	require.NoError(t, err)
	require.True(t, lowered)
	restored, err := os.ReadFile(hba)
	require.NoError(t, err)
	require.Equal(t, string(original), string(restored))
}

func TestADeadServerIsKeptFromStarting(t *testing.T) {
	c := startCluster(t)
	hba := filepath.Join(c.DataDir, "pg_hba.conf")
	original, err := os.ReadFile(hba)
	require.NoError(t, err)
	_, err = c.Kill(t.Context())
	require.NoError(t, err)
	dead := postgres.DeadFence{DataDir: c.DataDir, BinDir: c.BinDir, Owner: c.owner, Journal: filepath.Join(filepath.Dir(c.DataDir), "fence.json")}
	require.NoError(t, postgres.RaiseDeadFence(t.Context(), dead))
	require.NoError(t, postgres.RaiseDeadFence(t.Context(), dead), "again")

	log := filepath.Join(c.DataDir, "pg_ctl.log")
	said, err := c.lab.Command(t.Context(), filepath.Join(c.BinDir, "pg_ctl"), "-D", c.DataDir, "-w", "-l", log, "start").CombinedOutput()
	require.Error(t, err, "%s", said)
	reason, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Contains(t, string(reason), hba+"\" contains no entries", "whoever reads it finds the first line of that file")
	require.False(t, postgres.Running(c.DataDir))

	lowered, err := postgres.LowerFence(t.Context(), dead.Journal)
	require.NoError(t, err)
	require.True(t, lowered)
	restored, err := os.ReadFile(hba)
	require.NoError(t, err)
	require.Equal(t, string(original), string(restored))
	require.NoError(t, c.Start(t.Context()))
	c.exec(t, "CREATE TABLE t (id int)")
}

// A server that hangs, or is still on its way up, keeps what it read at its start
// unless it is told.
func TestAServerThatDoesNotAnswerLetsNobodyInOnceItDoes(t *testing.T) {
	c := startCluster(t)
	silent := postgres.DeadFence{DataDir: c.DataDir, BinDir: c.BinDir, Owner: c.owner, Journal: filepath.Join(filepath.Dir(c.DataDir), "fence.json")}
	require.NoError(t, postgres.RaiseDeadFence(t.Context(), silent))
	require.Eventually(t, func() bool {
		server, err := postgres.Connect(t.Context(), c.login)
		if err == nil {
			server.Close(t.Context())
		}
		return fault.Has(err, fault.ServerRefused)
	}, time.Minute, 20*time.Millisecond)
	lowered, err := postgres.LowerFence(t.Context(), silent.Journal)
	require.NoError(t, err)
	require.True(t, lowered)
	require.Eventually(t, func() bool {
		server, err := postgres.Connect(t.Context(), c.login)
		if err == nil {
			server.Close(t.Context())
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond)
}

// The account of the server writes its settings. They must not choose which file
// a worker that is root replaces.
func TestADeadServersSettingsChooseNoFileOfOthers(t *testing.T) {
	c := startCluster(t)
	_, err := c.Kill(t.Context())
	require.NoError(t, err)
	hba := filepath.Join(c.DataDir, "pg_hba.conf")
	dead := postgres.DeadFence{DataDir: c.DataDir, BinDir: c.BinDir, Owner: c.owner, Journal: filepath.Join(filepath.Dir(c.DataDir), "fence.json")}
	victim := filepath.Join(t.TempDir(), "passwd")
	require.NoError(t, os.WriteFile(victim, []byte("root:x:0:0\n"), 0o644))
	kept := func(kind fault.Kind) {
		t.Helper()
		err := postgres.RaiseDeadFence(t.Context(), dead)
		require.True(t, fault.Has(err, kind), "%v", err)
		body, err := os.ReadFile(victim)
		require.NoError(t, err)
		require.Equal(t, "root:x:0:0\n", string(body))
		require.NoFileExists(t, dead.Journal)
	}
	require.NoError(t, os.Remove(hba))
	kept(fault.PathFailed)
	require.NoError(t, os.Symlink(victim, hba))
	kept(fault.TargetRefused)
	if os.Geteuid() == 0 { // any file is the worker's own otherwise
		conf, err := os.OpenFile(filepath.Join(c.DataDir, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = conf.WriteString("hba_file = '" + victim + "'\n")
		require.NoError(t, err)
		require.NoError(t, conf.Close())
		kept(fault.TargetRefused)
	}
}

func TestFenceThatAnotherRunLeftIsTakenOver(t *testing.T) {
	c := startCluster(t)
	dir := filepath.Dir(c.DataDir)
	hba := filepath.Join(c.DataDir, "pg_hba.conf")
	elsewhere := filepath.Join(dir, "clients.conf")
	require.NoError(t, os.Rename(hba, elsewhere))
	require.NoError(t, os.Symlink(elsewhere, hba))
	original, err := os.ReadFile(hba)
	require.NoError(t, err)
	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())

	// The first run was terminated behind its fence, and is never heard of again.
	require.NoError(t, postgres.RaiseFence(t.Context(), server, filepath.Join(dir, "gone.json")))
	journal := filepath.Join(dir, "fence.json")
	require.NoError(t, postgres.RaiseFence(t.Context(), server, journal))
	lowered, err := postgres.LowerFence(t.Context(), journal)
	require.NoError(t, err)
	require.True(t, lowered)
	restored, err := os.ReadFile(hba)
	require.NoError(t, err)
	require.Equal(t, string(original), string(restored))
	target, err := os.Readlink(hba)
	require.NoError(t, err, "a link is still one")
	require.Equal(t, elsewhere, target)

	// What can't be lowered is said, and the journal kept.
	require.NoError(t, postgres.RaiseFence(t.Context(), server, journal))
	require.NoError(t, os.Remove(elsewhere+".lifeboat-original"))
	_, err = postgres.LowerFence(t.Context(), journal)
	require.True(t, fault.Has(err, fault.PathFailed), "%v", err)
	require.FileExists(t, journal)
}

// The directory of a run is the server account's. Whoever has that account must
// not choose what a worker that is root writes, and where.
func TestJournalOfAFenceIsBelievedOnlyFromItsOwnWriter(t *testing.T) {
	dir := t.TempDir()
	journal, planted, wanted := filepath.Join(dir, "fence.json"), filepath.Join(dir, "planted"), filepath.Join(dir, "wanted")
	require.NoError(t, os.WriteFile(planted, []byte("evil"), 0o600))
	require.NoError(t, os.WriteFile(journal+".real", []byte(`{"hba":"`+wanted+`","aside":"`+planted+`","data_dir":"`+dir+`"}`), 0o600))
	require.NoError(t, os.Symlink(journal+".real", journal))
	_, err := postgres.LowerFence(t.Context(), journal)
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.NoFileExists(t, wanted)
	if os.Geteuid() != 0 {
		return // another user's worker can do no more than that user
	}
	require.NoError(t, os.Rename(journal+".real", journal))
	require.NoError(t, os.Chown(journal, 65534, 65534))
	_, err = postgres.LowerFence(t.Context(), journal)
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.NoFileExists(t, wanted)
}

func TestSwitchedWALIsArchivedAndAStalledArchiverIsTold(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE TABLE t (id int)")
	segment, lsn := c.archived(t)
	require.FileExists(t, filepath.Join(c.archive, segment.Name(postgres.DefaultSegmentSize)))
	require.LessOrEqual(t, lsn, segment.End(postgres.DefaultSegmentSize))
	same, _ := c.archived(t)
	require.Equal(t, segment, same, "nothing was written since")

	c.exec(t, "ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()", "INSERT INTO t VALUES (1)")
	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	next, _, err := server.SwitchWAL(t.Context())
	require.NoError(t, err)
	done, err := server.AwaitArchived(t.Context(), next, 200*time.Millisecond)
	require.NoError(t, err)
	require.False(t, done)
}

func TestSalvageTakesNothingThatIsNotOfThisCluster(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE TABLE t (id int)")
	segment, _ := c.archived(t)
	facts := factsOf(t, c)
	require.NoError(t, c.Stop(t.Context()))
	staged := filepath.Join(filepath.Dir(c.DataDir), "staged")
	require.NoError(t, os.MkdirAll(filepath.Join(staged, "pg_wal"), 0o700))
	config := postgres.SalvageConfig{
		From: segment.Number + 1, At: on(1), SegmentSize: postgres.DefaultSegmentSize, SystemID: facts.SystemID,
		DataDir: c.DataDir, Staged: staged, Owner: c.owner,
	}
	outside := filepath.Join(staged, "outside")
	require.NoError(t, os.WriteFile(outside, []byte("kept"), 0o600))
	planted := filepath.Join(staged, "pg_wal", segment.Next().Name(config.SegmentSize)+".lifeboat")
	require.NoError(t, os.Symlink(outside, planted))
	saved, err := postgres.Salvage(t.Context(), config)
	require.NoError(t, err)
	require.NotEmpty(t, saved)
	kept, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "kept", string(kept), "a planted link leads nowhere")
	for _, name := range saved {
		require.FileExists(t, filepath.Join(staged, "pg_wal", name))
	}
	foreign, other, recycled := config, config, config
	foreign.SystemID = "1"
	other.At = on(2)
	recycled.From = segment.Number + 2
	for _, config := range []postgres.SalvageConfig{foreign, other, recycled} {
		saved, err := postgres.Salvage(t.Context(), config)
		require.NoError(t, err)
		require.Empty(t, saved)
	}
	gone := config
	gone.DataDir = filepath.Join(staged, "gone")
	saved, err = postgres.Salvage(t.Context(), gone)
	require.NoError(t, err)
	require.Empty(t, saved)
}

// on is a way that keeps to one timeline.
func on(timeline uint32) func(uint64) postgres.Segment {
	return func(number uint64) postgres.Segment { return postgres.Segment{Timeline: timeline, Number: number} }
}

func factsOf(t *testing.T, c cluster) postgres.Facts {
	t.Helper()
	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	require.True(t, fault.Has(server.Facts().CheckSystem("1", "here"), fault.ForeignCluster))
	return server.Facts()
}
