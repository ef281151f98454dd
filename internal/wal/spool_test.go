package wal_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/wal"
)

// replay is a recovery that asks for segments as wal-fetch does.
type replay struct {
	archive *wal.Archive
	pin     wal.Pin
	spool   wal.Spool
	dir     string // of the spool
	dst     string
}

func newReplay(t *testing.T, a *wal.Archive) *replay {
	t.Helper()
	pin, err := a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	run := t.TempDir()
	return &replay{archive: a, pin: pin, spool: wal.SpoolOf(filepath.Join(run, "pin.json")), dir: filepath.Join(run, "wal-spool"), dst: filepath.Join(run, "RECOVERYXLOG")}
}

// ask gives what wal-fetch ends with, and whether the spool had it.
func (r *replay) ask(t *testing.T, file string) (taken bool, err error) {
	t.Helper()
	if err := os.Remove(r.dst); err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	taken, err = r.spool.Take(r.pin, file, r.dst)
	if err == nil && !taken {
		err = r.archive.FetchAhead(t.Context(), r.pin, file, r.dst, r.spool)
	}
	if err != nil {
		require.NoFileExists(t, r.dst)
	}
	return taken, err
}

// gets wants the n-th segment, whole.
func (r *replay) gets(t *testing.T, n uint64, fromSpool bool) {
	t.Helper()
	taken, err := r.ask(t, name(1, n))
	require.NoError(t, err)
	require.Equal(t, fromSpool, taken, name(1, n))
	got, err := os.ReadFile(r.dst)
	require.NoError(t, err)
	require.Equal(t, segment(name(1, n), system, byte(n)), got)
}

func (r *replay) spooled(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(r.dir, "*"))
	require.NoError(t, err)
	return found
}

func TestSegmentsThatComeNextAreInTheSpoolAndNoMore(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
	r := newReplay(t, a)
	r.gets(t, 3, false)
	require.Len(t, r.spooled(t), 7)
	for n := uint64(4); n <= 10; n++ {
		r.gets(t, n, true)
	}
	require.Empty(t, r.spooled(t))
	r.gets(t, 11, false)
	require.Len(t, r.spooled(t), 2)
	r.gets(t, 12, true)
	r.gets(t, 13, true)
	_, err := r.ask(t, name(1, 14))
	require.Equal(t, 1, wal.ExitCode(err))

	r.gets(t, 5, false) // the server was started again, and goes back
	require.Len(t, r.spooled(t), 7)
	r.gets(t, 3, false)
	require.Len(t, r.spooled(t), 7)
	_, err = r.ask(t, "00000002.history")
	require.Equal(t, 1, wal.ExitCode(err))
}

func TestSpoolNeverServesWhatIsHalfForeignOrPastThePin(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4, 5, 6, 7, 8)
	r := newReplay(t, a)
	file := func(n uint64) string {
		found, err := filepath.Glob(filepath.Join(r.dir, name(1, n)+".*"))
		require.NoError(t, err)
		require.Len(t, found, 1)
		return found[0]
	}
	r.gets(t, 3, false)
	require.NoError(t, os.Truncate(file(4), 4096)) // a crash of the host
	require.NoError(t, os.Truncate(file(4), size))
	r.gets(t, 4, false)
	body, err := os.ReadFile(file(5))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file(6), body, 0o600))
	require.NoError(t, os.WriteFile(file(7)+".lifeboat", body, 0o600)) // of an attempt that was killed
	r.gets(t, 5, true)
	r.gets(t, 6, false)
	require.NoFileExists(t, file(7)+".lifeboat")

	// A pin that ends earlier, and one of another system, get nothing of it.
	whole := r.pin
	r.pin, err = whole.Upto(name(1, 6))
	require.NoError(t, err)
	_, err = r.ask(t, name(1, 7))
	require.Equal(t, 1, wal.ExitCode(err))
	r.pin = whole
	r.pin.SystemID = "7000000000000000000"
	taken, err := r.ask(t, name(1, 7))
	require.False(t, taken)
	require.Equal(t, 126, wal.ExitCode(err))
}

func TestOnlyTheSegmentThatIsAskedForDecidesWhatTheServerIsTold(t *testing.T) {
	for missing := uint64(3); missing <= 8; missing++ {
		s, dir := mem.New("memory"), dataDir(t, system)
		a := newArchive(t, s, nil)
		push(t, a, dir, 1, 3, 4, 5, 6, 7, 8)
		r := newReplay(t, a)
		require.NoError(t, s.Delete(t.Context(), objectOf(name(1, missing)), ""))
		for n := uint64(3); n < missing; n++ {
			r.gets(t, n, n > 3)
		}
		for range 2 {
			taken, err := r.ask(t, name(1, missing))
			require.False(t, taken)
			kindIs(t, fault.WALGap, err)
			require.Equal(t, 126, wal.ExitCode(err))
		}
		push(t, a, dir, 1, missing)
		for n := missing; n <= 8; n++ {
			_, err := r.ask(t, name(1, n))
			require.NoError(t, err)
		}
	}
}

func TestStoreThatHangsAheadDoesNotHoldTheServerUp(t *testing.T) {
	s, dir := faulty.New(t, mem.New("memory")), dataDir(t, system)
	a := newArchive(t, s, nil)
	push(t, a, dir, 1, 3, 4, 5)
	r := newReplay(t, a)
	s.Queue(faulty.Fault{Op: faulty.Get, Key: name(1, 5), Hold: make(chan struct{})})
	begun := time.Now()
	r.gets(t, 3, false)
	require.Less(t, time.Since(begun), 10*time.Second)
	r.gets(t, 4, true)
	r.gets(t, 5, false)
}

func TestRecoveryWhoseSpoolCanNotBeMadeFetchesWithoutOne(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4)
	r := newReplay(t, a)
	outside := t.TempDir()
	kept := filepath.Join(outside, "kept")
	require.NoError(t, os.WriteFile(kept, nil, 0o600))
	require.NoError(t, os.Symlink(outside, r.dir))
	r.gets(t, 3, false)
	r.gets(t, 4, false)
	require.FileExists(t, kept)
}
