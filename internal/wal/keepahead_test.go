package wal_test

import (
	"context"
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

// keepAhead runs a keeper until stop or the end of the test.
func (r *replay) keepAhead(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.archive.KeepAhead(ctx, r.pin, r.spool, func(*os.File) error { return nil }) }()
	require.Eventually(t, func() bool { return len(r.spooled(t)) > 0 }, 10*time.Second, time.Millisecond)
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-ended)
		}
	}
	t.Cleanup(stop)
	return stop
}

// await asks as wal-fetch does.
func (r *replay) await(t *testing.T, file string) (taken, kept bool, err error) {
	t.Helper()
	if err := os.Remove(r.dst); err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	taken, kept, err = r.spool.Await(t.Context(), r.pin, file, r.dst)
	switch {
	case err != nil || taken:
	case kept:
		err = r.archive.Fetch(t.Context(), r.pin, file, r.dst)
	default:
		err = r.archive.FetchAhead(t.Context(), r.pin, file, r.dst, r.spool)
	}
	if err != nil {
		require.NoFileExists(t, r.dst)
		return taken, kept, err
	}
	got, err := os.ReadFile(r.dst)
	require.NoError(t, err)
	var n uint64
	for n = 3; name(1, n) != file; n++ {
		require.Less(t, n, uint64(100), file)
	}
	require.Equal(t, segment(file, system, byte(n)), got)
	return taken, kept, nil
}

func TestAKeeperFetchesWhileTheServerReplays(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	numbers := []uint64{3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}
	push(t, a, dir, 1, numbers...)
	r := newReplay(t, a)
	stop := r.keepAhead(t)
	segments := func() int {
		found, err := filepath.Glob(filepath.Join(r.dir, "0000*"))
		require.NoError(t, err)
		return len(found)
	}
	for _, n := range numbers {
		taken, _, err := r.await(t, name(1, n))
		require.NoError(t, err)
		require.True(t, taken, n)
		require.LessOrEqual(t, segments(), 7+4, "what is kept, and what is being written")
	}
	_, _, err := r.await(t, name(1, 21))
	require.Equal(t, 1, wal.ExitCode(err))
	require.NoError(t, a.KeepAhead(t.Context(), r.pin, r.spool, nil), "another one has it")

	// The server was started again and goes back, then its keeper dies.
	for _, n := range []uint64{5, 6, 7} {
		taken, _, err := r.await(t, name(1, n))
		require.NoError(t, err)
		require.True(t, taken, n)
	}
	require.Eventually(t, func() bool { return segments() == 7 }, 10*time.Second, time.Millisecond)
	stop()
	for n := uint64(8); n <= 20; n++ {
		_, kept, err := r.await(t, name(1, n))
		require.NoError(t, err)
		require.False(t, kept)
	}
	_, _, err = r.await(t, name(1, 21))
	require.Equal(t, 1, wal.ExitCode(err))
}

func TestAKeeperDecidesNothingThatTheServerIsTold(t *testing.T) {
	s, dir := mem.New("memory"), dataDir(t, system)
	broken := faulty.New(t, s)
	a := newArchive(t, broken, nil)
	push(t, a, dir, 1, 3, 4, 5, 6, 7, 8)
	r := newReplay(t, a)
	require.NoError(t, s.Delete(t.Context(), objectOf(name(1, 5)), ""))
	r.keepAhead(t)
	for n := uint64(3); n < 5; n++ {
		_, _, err := r.await(t, name(1, n))
		require.NoError(t, err)
	}
	for range 2 {
		began := time.Now()
		taken, kept, err := r.await(t, name(1, 5))
		require.False(t, taken)
		require.True(t, kept)
		kindIs(t, fault.WALGap, err)
		require.Equal(t, 126, wal.ExitCode(err))
		require.Less(t, time.Since(began), 4*time.Second, "it is known that it does not come")
	}
	push(t, a, dir, 1, 5)
	_, _, err := r.await(t, name(1, 5))
	require.NoError(t, err)

	// What a crash, or anybody, left half written is never served.
	require.Eventually(t, func() bool {
		found, err := filepath.Glob(filepath.Join(r.dir, name(1, 6)+".*"))
		return err == nil && len(found) == 1 && os.Truncate(found[0], 4096) == nil
	}, 10*time.Second, time.Millisecond)
	_, _, err = r.await(t, name(1, 6))
	require.NoError(t, err)

	// A pin of another system gets nothing of it.
	r.pin.SystemID = "7000000000000000000"
	_, _, err = r.await(t, name(1, 7))
	require.Equal(t, 126, wal.ExitCode(err))
}

func TestAKeeperWritesNothingBesideItsFolder(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4)
	r := newReplay(t, a)
	outside := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(outside, []byte("kept"), 0o600))
	require.NoError(t, os.Mkdir(r.dir, 0o700))
	require.NoError(t, os.Symlink(outside, filepath.Join(r.dir, "ahead.lock")))
	require.Error(t, a.KeepAhead(t.Context(), r.pin, r.spool, nil))
	require.NoError(t, os.Remove(filepath.Join(r.dir, "ahead.lock")))
	require.NoError(t, os.Symlink(outside, filepath.Join(r.dir, "asked")))
	r.keepAhead(t)
	_, _, err := r.await(t, name(1, 3))
	require.NoError(t, err)
	text, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "kept", string(text))
}
