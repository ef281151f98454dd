package wal_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/internal/wal"
)

// Row 13 of the reliability table, for the spool: the disk of a recovery is full. What
// does not fit is named and ends the server, never the recovery; with room it goes on.
func TestAFullDiskEndsAFetchAndNotTheRecovery(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root mounts a disk that is small enough
	}
	const first, last = 3, 13
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
	l := lab.New(t)
	torture.Row(t, 13, 3, 30, func(t *testing.T, _ int, random *rand.Rand) {
		r, run := newReplay(t, a), t.TempDir()
		disk := l.NewSmallDisk(t, run, int64(1+random.IntN((last-first)*size)))
		r.spool, r.dir, r.dst = wal.SpoolOf(filepath.Join(run, "pin.json")), filepath.Join(run, "wal-spool"), filepath.Join(run, "RECOVERYXLOG")
		full := false
		for n := uint64(first); n <= last; n++ {
			_, err := r.ask(t, name(1, n))
			if err != nil {
				require.True(t, fault.Has(err, fault.NoSpace), "%v", err)
				require.ErrorContains(t, err, r.dst)
				require.Equal(t, 126, wal.ExitCode(err), "the server stops, and does not take it for the end")
				full = true
				disk.Grow(64 << 20)
				r.gets(t, n, false)
			}
			kept := filepath.Join(run, name(1, n)) // it lies in pg_wal meanwhile
			require.NoError(t, os.Rename(r.dst, kept))
			got, err := os.ReadFile(kept)
			require.NoError(t, err)
			require.Equal(t, segment(name(1, n), system, byte(n)), got)
		}
		require.True(t, full, "ten segments need more")
		_, err := r.ask(t, name(1, last+1))
		require.Equal(t, 1, wal.ExitCode(err), "the end is the end")
	})
}

// The archive itself is full: the server goes on and keeps its WAL, what fails is
// named in its log, and when there is room again everything comes, in order.
func TestAFullArchiveIsNamedAndLosesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root mounts a disk that is small enough
	}
	l := lab.New(t)
	data, err := l.Folder("s3", "data")
	require.NoError(t, err)
	disk := l.NewSmallDisk(t, data, 20<<20)
	s := newSiteIn(t, l)
	_, from := s.backup(t, "unused")
	conn := s.connect(t, s.source.DSN)
	fill := func() {
		_, err := conn.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS noise (v text)")
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), "INSERT INTO noise SELECT md5(random()::text) || md5(random()::text) || md5(random()::text) FROM generate_series(1, 100000)")
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), "SELECT pg_switch_wal()")
		require.NoError(t, err)
	}
	failed := func() (segment string) {
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT coalesce(CASE WHEN last_failed_time > coalesce(last_archived_time, '-infinity') THEN last_failed_wal END, '') FROM pg_stat_archiver").Scan(&segment))
		return segment
	}
	var stuck string
	for range 6 {
		fill()
	}
	require.Eventually(t, func() bool { stuck = failed(); return stuck != "" }, time.Minute, 50*time.Millisecond)
	fill() // the server goes on
	ready, err := os.Stat(filepath.Join(s.source.DataDir, "pg_wal", stuck))
	require.NoError(t, err, "what is not archived is kept")
	require.NotZero(t, ready.Size())
	log, err := os.ReadFile(s.source.LogFile())
	require.NoError(t, err)
	require.Regexp(t, `wal-push: pg_wal/[0-9A-F]{24} .*store can't be reached or answers with errors: .*No space left on device`, string(log))

	disk.Grow(512 << 20)
	var end string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_walfile_name(pg_current_wal_lsn() - 1)").Scan(&end))
	require.Eventually(t, func() bool {
		var archived string
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver").Scan(&archived))
		return archived >= end
	}, time.Minute, 50*time.Millisecond)
	pin, err := s.archive.Pin(t.Context(), from)
	require.NoError(t, err)
	require.Nil(t, pin.Hole, "none was lost, and in order")
	require.GreaterOrEqual(t, pin.End, end)
	_, err = os.Stat(filepath.Join(s.source.DataDir, "pg_wal", "archive_status", stuck+".ready"))
	require.True(t, errors.Is(err, fs.ErrNotExist), "%v", err)
}
