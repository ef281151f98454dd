package postgres_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/internal/tree"
)

func TestBaseBackupUnderLoadComesBackWithItsTablespace(t *testing.T) {
	c := startCluster(t)
	space, err := c.lab.Folder("space")
	require.NoError(t, err)
	c.exec(t, "CREATE TABLESPACE big LOCATION '"+space+"'",
		"CREATE TABLE before (id int, t text) TABLESPACE big", "INSERT INTO before SELECT g, 'x' FROM generate_series(1, 5000) g",
		"CREATE TABLE during (id int, t text)")
	stop := c.load(t, "during")
	result, dir := c.backup(t)
	rows := stop()
	c.exec(t, "INSERT INTO before VALUES (0, 'after the backup')")
	last, lsn := c.archived(t)

	require.Equal(t, []string{fmt.Sprintf("%d.tar", result.Tablespaces[0].OID), postgres.StreamManifest, postgres.StreamBase}, sorted(result.Streams))
	require.Zero(t, result.Damaged)
	require.Less(t, result.StartLSN, result.StopLSN)
	for name, entries := range result.Tables {
		requireSameAsTar(t, filepath.Join(dir, name), entries)
	}

	r := c.restore(t, result, dir)
	verified, err := postgres.VerifyFiles(t.Context(), c.BinDir, r.dir, r.manifest, filepath.Join(r.run, "verify.log"))
	require.NoError(t, err)
	require.Greater(t, verified.Files, int64(500))

	require.NoError(t, postgres.Stage(postgres.StageConfig{DataDir: r.dir, Owner: c.owner, Tablespaces: r.links}))
	config, _ := c.instance(t, r, result, last)
	i, err := postgres.StartInstance(t.Context(), config)
	require.NoError(t, err)
	defer i.Close(t.Context())
	replayed, err := i.WaitReplayed(t.Context(), lsn, nil)
	require.NoError(t, err)
	require.Equal(t, last.End(postgres.DefaultSegmentSize), replayed.LSN)
	require.WithinDuration(t, time.Now(), *replayed.Committed, time.Minute)
	require.Equal(t, int64(5001), count(t, i, "before"))
	require.Equal(t, rows, count(t, i, "during"), "every row committed before the last switch")

	// The staged server took its tablespace beside, not the living one's.
	target, err := os.Readlink(filepath.Join(r.dir, "pg_tblspc", fmt.Sprint(result.Tablespaces[0].OID)))
	require.NoError(t, err)
	require.Equal(t, space+".staged", target)
	c.exec(t, "INSERT INTO before VALUES (-1, 'the living server goes on')")
}

func TestReplayGoesOnAfterRepinAndSalvageAndPromotes(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE TABLE t (id int)")
	result, dir := c.backup(t)
	c.exec(t, "INSERT INTO t VALUES (1)")
	first, lsn := c.archived(t)

	r := c.restore(t, result, dir)
	require.NoError(t, postgres.Stage(postgres.StageConfig{DataDir: r.dir, Owner: c.owner}))
	config, pin := c.instance(t, r, result, first)
	i, err := postgres.StartInstance(t.Context(), config)
	require.NoError(t, err)
	defer i.Close(t.Context())
	_, err = i.WaitReplayed(t.Context(), lsn, nil)
	require.NoError(t, err)
	require.Equal(t, int64(1), count(t, i, "t"))

	// A second process finds the server, and goes on to the new end of the archive.
	c.exec(t, "INSERT INTO t VALUES (2)")
	second, lsn := c.archived(t)
	c.pin(t, pin, second.Name(postgres.DefaultSegmentSize))
	config.Last = second
	found, err := postgres.StartInstance(t.Context(), config)
	require.NoError(t, err)
	defer found.Close(t.Context())
	_, err = found.WaitReplayed(t.Context(), lsn, nil)
	require.NoError(t, err)
	require.Equal(t, int64(2), count(t, found, "t"))

	// What the dead server never archived comes out of its pg_wal.
	c.exec(t, "INSERT INTO t VALUES (3)")
	_, err = c.Kill(t.Context())
	require.NoError(t, err)
	saved, err := postgres.Salvage(t.Context(), postgres.SalvageConfig{
		From: second.Number + 1, At: on(result.Timeline), SegmentSize: postgres.DefaultSegmentSize, SystemID: result.SystemID,
		DataDir: c.DataDir, Staged: r.dir, Owner: c.owner,
	})
	require.NoError(t, err)
	require.Equal(t, []string{second.Next().Name(postgres.DefaultSegmentSize)}, saved)
	final, err := found.WaitReplayed(t.Context(), lsn, nil)
	require.NoError(t, err)
	require.Greater(t, final.LSN, lsn)
	require.Equal(t, int64(3), count(t, found, "t"))

	// Cut over: the same directory under its own settings, still a standby.
	require.NoError(t, found.Stop(t.Context()))
	require.NoFileExists(t, config.SocketDir)
	control, err := postgres.ReadControl(t.Context(), c.BinDir, r.dir)
	require.NoError(t, err)
	require.NoError(t, postgres.Handover(r.dir, c.owner, control, result.Timeline, postgres.Goal{}, config.RestoreCommand))
	require.NoError(t, postgres.Handover(r.dir, c.owner, control, result.Timeline, postgres.Goal{}, config.RestoreCommand), "again")
	require.NoError(t, os.Rename(c.DataDir, c.DataDir+".old"))
	require.NoError(t, os.Rename(r.dir, c.DataDir))
	require.NoError(t, c.Start(t.Context()))
	facts, err := postgres.AwaitServer(t.Context(), c.login, time.Minute)
	require.NoError(t, err)
	require.True(t, facts.InRecovery)

	restored := postgres.Restored{SystemID: result.SystemID, DataDir: c.DataDir, Timeline: result.Timeline}
	promoted, err := postgres.Promote(t.Context(), c.login, restored)
	require.NoError(t, err)
	require.Equal(t, result.Timeline+1, promoted.Timeline)
	again, err := postgres.Promote(t.Context(), c.login, restored)
	require.NoError(t, err)
	require.Equal(t, promoted.Timeline, again.Timeline)
	c.exec(t, "INSERT INTO t VALUES (4)")
	settings, err := os.ReadFile(filepath.Join(c.DataDir, "postgresql.auto.conf"))
	require.NoError(t, err)
	require.NotContains(t, string(settings), "restore_command")
	require.NoFileExists(t, filepath.Join(c.DataDir, "standby.signal"))
}

func TestReplayNeverPromotesWhateverRestoreCommandSays(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE TABLE t (id int)")
	result, dir := c.backup(t)
	c.exec(t, "INSERT INTO t VALUES (1)")
	last, lsn := c.archived(t)
	r := c.restore(t, result, dir)
	require.NoError(t, postgres.Stage(postgres.StageConfig{DataDir: r.dir, Owner: c.owner}))
	config, pin := c.instance(t, r, result, last)
	broken := filepath.Join(filepath.Dir(pin), "broken")

	// 126 stops the server; it is started again, a bounded number of times.
	require.NoError(t, c.lab.Write(broken, nil, 0o644))
	i, err := postgres.StartInstance(t.Context(), config)
	require.NoError(t, err)
	_, err = i.WaitReplayed(t.Context(), lsn, nil)
	require.True(t, fault.Has(err, fault.ServerFailed), "%v", err)
	require.Contains(t, fault.HintOf(err), i.LogFile())
	require.FileExists(t, filepath.Join(r.dir, "standby.signal"))

	// The next attempt finds the fault gone and reaches the end.
	require.NoError(t, os.Remove(broken))
	i, err = postgres.StartInstance(t.Context(), config)
	require.NoError(t, err)
	defer i.Close(t.Context())
	_, err = i.WaitReplayed(t.Context(), lsn, nil)
	require.NoError(t, err)

	// A recovery point past the pinned end is named, and nothing is promoted.
	_, err = i.WaitReplayed(t.Context(), lsn+postgres.DefaultSegmentSize, nil)
	require.True(t, fault.Has(err, fault.WALShort), "%v", err)
	replayed, err := i.LastReplay(t.Context())
	require.NoError(t, err, "it still answers, in recovery")
	require.GreaterOrEqual(t, replayed.LSN, lsn)
}

// The archive gives the segment, and the server does not take it: it was
// damaged before it was archived.
func TestReplayNamesASegmentInTheMiddleThatIsNotValid(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE TABLE t (t text)")
	result, dir := c.backup(t)
	c.exec(t, "INSERT INTO t VALUES ('first')")
	c.archived(t)
	c.exec(t, "INSERT INTO t VALUES (repeat('lifeboat', 100))")
	middle, _ := c.archived(t)
	c.exec(t, "INSERT INTO t VALUES ('last')")
	last, _ := c.archived(t)
	path := filepath.Join(c.archive, middle.Name(postgres.DefaultSegmentSize))
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(body, []byte("lifeboatlifeboat"))
	require.Positive(t, at)
	body[at] ^= 1
	require.NoError(t, os.WriteFile(path, body, 0o600))

	r := c.restore(t, result, dir)
	require.NoError(t, postgres.Stage(postgres.StageConfig{DataDir: r.dir, Owner: c.owner}))
	config, _ := c.instance(t, r, result, last)
	i, err := postgres.StartInstance(t.Context(), config)
	require.NoError(t, err)
	defer i.Close(t.Context())
	_, err = i.WaitReplayed(t.Context(), result.StopLSN, nil)
	require.True(t, fault.Has(err, fault.WALShort), "%v", err)
	require.ErrorContains(t, err, middle.Name(postgres.DefaultSegmentSize)+" is not valid")
	require.FileExists(t, filepath.Join(r.dir, "standby.signal"))
}

func TestReplayNamesWALThatEndsBeforeTheBackupDoes(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE TABLE t (id int)")
	dir := t.TempDir()
	result, err := postgres.BaseBackup(t.Context(), c.login, postgres.BackupOptions{}, busy{t, c, files{dir}})
	require.NoError(t, err)
	first := postgres.SegmentAt(result.Timeline, result.StartLSN, postgres.DefaultSegmentSize)
	require.Greater(t, result.StopLSN, first.End(postgres.DefaultSegmentSize))
	c.archived(t)
	r := c.restore(t, result, dir)
	require.NoError(t, postgres.Stage(postgres.StageConfig{DataDir: r.dir, Owner: c.owner}))
	config, _ := c.instance(t, r, result, first)
	i, err := postgres.StartInstance(t.Context(), config)
	require.NoError(t, err)
	err = i.WaitConsistent(t.Context())
	require.True(t, fault.Has(err, fault.WALShort), "%v", err)
	require.FileExists(t, filepath.Join(r.dir, "standby.signal"))
}

// busy is a sink during whose streams the server goes on to the next segment.
type busy struct {
	t *testing.T
	c cluster
	files
}

func (b busy) Stream(ctx context.Context, name string) (io.WriteCloser, error) {
	b.c.exec(b.t, "INSERT INTO t VALUES (1)", "SELECT pg_switch_wal()")
	return b.files.Stream(ctx, name)
}

// Row 3 of the reliability table: the server that replays is killed, before and
// behind the end of its backup.
func TestKilledReplayIsTakenUpAgain(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE TABLE t (id int, t text)")
	result, dir := c.backup(t)
	for range 3 {
		c.exec(t, "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g")
		c.archived(t)
	}
	last, lsn := c.archived(t)
	torture.Row(t, 3, 2, 50, func(t *testing.T, _ int, random *rand.Rand) {
		r := c.restore(t, result, dir)
		defer c.discard(t, r)
		require.NoError(t, postgres.Stage(postgres.StageConfig{DataDir: r.dir, Owner: c.owner}))
		config, _ := c.instance(t, r, result, last)
		for range 1 + random.IntN(3) {
			i, err := postgres.StartInstance(t.Context(), config)
			require.NoError(t, err)
			if random.IntN(2) == 0 {
				require.NoError(t, i.WaitConsistent(t.Context()))
			}
			require.NoError(t, i.Kill())
			i.Close(t.Context())
			require.FileExists(t, filepath.Join(r.dir, "standby.signal"))
		}
		i, err := postgres.StartInstance(t.Context(), config)
		require.NoError(t, err)
		defer i.Close(t.Context())
		// Killed under the eyes of the one who waits, too.
		told, at := 0, random.IntN(4)
		_, err = i.WaitReplayed(t.Context(), lsn, func(reached postgres.LSN) {
			if told == at && reached < lsn { // from the end on, nobody waits for it any more
				require.NoError(t, i.Kill())
			}
			told++
		})
		require.NoError(t, err)
		require.Equal(t, int64(60000), count(t, i, "t"))
		require.NoError(t, i.Stop(t.Context()))
	})
}

// discard makes room for the next restore.
func (c cluster) discard(t *testing.T, r restored) {
	t.Helper()
	for _, path := range []string{r.dir, r.run, r.dir + ".journal", r.socket} {
		require.NoError(t, os.RemoveAll(path))
	}
}

func TestVerifyFilesFindsAChangedByte(t *testing.T) {
	c := startCluster(t)
	result, dir := c.backup(t)
	r := c.restore(t, result, dir)
	path := filepath.Join(r.dir, "global", "pg_filenode.map")
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	body[100] ^= 1
	require.NoError(t, os.WriteFile(path, body, 0o600))
	_, err = postgres.VerifyFiles(t.Context(), c.BinDir, r.dir, r.manifest, filepath.Join(r.run, "verify.log"))
	require.True(t, fault.Has(err, fault.VerificationFailed), "%v", err)
}

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }

// requireSameAsTar compares the index with what archive/tar reads.
func requireSameAsTar(t *testing.T, path string, entries []tree.Entry) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	reader := tar.NewReader(file)
	for _, entry := range entries {
		header, err := reader.Next()
		require.NoError(t, err)
		require.Equal(t, filepath.Clean(header.Name), entry.Path)
		require.Equal(t, header.Size, entry.Size, entry.Path)
		require.Equal(t, uint32(header.Mode), entry.Mode, entry.Path)
		if entry.Kind != tree.File || entry.Size == 0 {
			continue
		}
		want, err := io.ReadAll(reader)
		require.NoError(t, err)
		got := make([]byte, entry.Size)
		_, err = file.ReadAt(got, entry.Offset)
		require.NoError(t, err)
		require.True(t, string(want) == string(got), entry.Path)
	}
	_, err = reader.Next()
	require.True(t, errors.Is(err, io.EOF), "%v", err)
}
