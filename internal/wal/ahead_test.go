package wal_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

// completed writes segments as a server leaves them: complete, and marked so.
func completed(t *testing.T, dir string, numbers ...uint64) {
	t.Helper()
	for _, n := range numbers {
		write(t, dir, name(1, n), segment(name(1, n), system, byte(n)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "pg_wal/archive_status", name(1, n)+".ready"), nil, 0o600))
	}
}

func aheadOf(t *testing.T, a *wal.Archive, dir string) *wal.Ahead {
	t.Helper()
	h, err := a.Ahead(t.Context(), dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// stored lists the segments that a store holds.
func stored(t *testing.T, s store.Store) []string {
	t.Helper()
	var names []string
	for info, err := range s.List(t.Context(), "wal/frende/"+system+"/00000001/", store.ListOptions{}) {
		require.NoError(t, err)
		names = append(names, filepath.Base(info.Key))
	}
	return names
}

func names(numbers ...uint64) []string {
	var all []string
	for _, n := range numbers {
		all = append(all, name(1, n))
	}
	return all
}

func TestWhatIsCompleteIsPushedBesideTheSegmentThatIsAskedFor(t *testing.T) {
	s, dir := mem.New("memory"), dataDir(t, system)
	completed(t, dir, 3, 4, 5, 6, 7)
	write(t, dir, name(1, 8), segment(name(1, 8), system, 8)) // the server still writes it
	a := newArchive(t, s, nil)
	h := aheadOf(t, a, dir)
	require.NoError(t, h.Push(t.Context(), name(1, 3)))
	require.Eventually(t, func() bool { return len(stored(t, s)) == 5 }, 10*time.Second, time.Millisecond)
	require.Equal(t, names(3, 4, 5, 6, 7), stored(t, s))
	for _, n := range []uint64{4, 5, 5, 6, 7} { // PostgreSQL may ask twice
		require.NoError(t, h.Push(t.Context(), name(1, n)))
	}
	pin, err := a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	dst := filepath.Join(t.TempDir(), "RECOVERYXLOG")
	require.NoError(t, a.Fetch(t.Context(), pin, name(1, 6), dst))
	got, err := os.ReadFile(dst)
	require.NoError(t, err)
	require.Equal(t, segment(name(1, 6), system, 6), got)
}

func TestSegmentsPushedAheadLeaveNoHoleWhereverTheStoreFails(t *testing.T) {
	failure := fault.Newf(fault.StorageDenied, "put", "object", "on purpose")
	for failing := uint64(3); failing <= 8; failing++ {
		s, dir := faulty.New(t, mem.New("memory")), dataDir(t, system)
		completed(t, dir, 3, 4, 5, 6, 7, 8)
		a := newArchive(t, s, nil)
		h := aheadOf(t, a, dir)
		struck := make(chan struct{})
		s.Queue(faulty.Fault{Op: faulty.Put, Key: name(1, failing), Hold: struck, Err: failure})
		first := make(chan error, 1)
		go func() { first <- h.Push(t.Context(), name(1, 3)) }()
		require.Eventually(t, func() bool { return len(stored(t, s)) == int(failing-3) }, 10*time.Second, time.Millisecond)
		close(struck)
		err := <-first
		if failing == 3 {
			kindIs(t, fault.StorageDenied, err)
			require.Empty(t, stored(t, s))
		}
		for n := uint64(3); n <= 8; n++ { // the failure was of one try; PostgreSQL's own call goes on from there
			require.NoError(t, h.Push(t.Context(), name(1, n)))
			for i, found := range stored(t, s) {
				require.Equal(t, name(1, 3+uint64(i)), found, "nothing lies behind a hole")
			}
		}
		require.Equal(t, names(3, 4, 5, 6, 7, 8), stored(t, s))
	}
}

func TestFileThatWasChangedAfterItWasPushedAheadIsAConflict(t *testing.T) {
	s, dir := mem.New("memory"), dataDir(t, system)
	completed(t, dir, 3, 4)
	h := aheadOf(t, newArchive(t, s, nil), dir)
	require.NoError(t, h.Push(t.Context(), name(1, 3)))
	require.Eventually(t, func() bool { return len(stored(t, s)) == 2 }, 10*time.Second, time.Millisecond)
	write(t, dir, name(1, 4), segment(name(1, 4), system, 99))
	kindIs(t, fault.WALConflict, h.Push(t.Context(), name(1, 4)))
	write(t, dir, name(1, 4), segment(name(1, 9), system, 9)) // recycled
	kindIs(t, fault.IntegrityError, h.Push(t.Context(), name(1, 4)))
	write(t, dir, name(1, 4), segment(name(1, 4), system, 4))
	require.NoError(t, h.Push(t.Context(), name(1, 4)))
	require.NoError(t, os.Remove(filepath.Join(dir, "pg_wal", name(1, 4))))
	kindIs(t, fault.PathFailed, h.Push(t.Context(), name(1, 4)))
}

func TestDirectoryThatTookOverIsNotPushedFromUnderItsOldName(t *testing.T) {
	s, dir := mem.New("memory"), dataDir(t, system)
	completed(t, dir, 3)
	a := newArchive(t, s, nil)
	h := aheadOf(t, a, dir)
	require.NoError(t, h.Push(t.Context(), name(1, 3)))
	old := filepath.Join(t.TempDir(), "old")
	require.NoError(t, os.Rename(dir, old))
	restored := dataDir(t, system)
	require.NoError(t, a.Claim(t.Context(), system, restored))
	require.NoError(t, os.Rename(restored, dir))
	completed(t, dir, 4)
	completed(t, old, 4)
	kindIs(t, fault.WALHeld, h.Push(t.Context(), name(1, 4)))
	require.Equal(t, names(3), stored(t, s))
	require.NoError(t, aheadOf(t, a, dir).Push(t.Context(), name(1, 4)))
}

func TestCallerThatGoesAwayLeavesThePushToEndAndOthersToAsk(t *testing.T) {
	s, dir := faulty.New(t, mem.New("memory")), dataDir(t, system)
	completed(t, dir, 3)
	h := aheadOf(t, newArchive(t, s, nil), dir)
	hold := make(chan struct{})
	s.Queue(faulty.Fault{Op: faulty.Put, Key: name(1, 3), Hold: hold})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- h.Push(ctx, name(1, 3)) }()
	require.Eventually(t, func() bool { return len(s.Left()) == 0 }, 10*time.Second, time.Millisecond)
	cancel()
	require.Error(t, <-gone)
	close(hold)
	require.NoError(t, h.Push(t.Context(), name(1, 3)))
	kindIs(t, fault.InputInvalid, h.Push(t.Context(), "../global/pg_control"))
}

func TestLookingAheadTakesNoMemoryThatSomebodyWaitsFor(t *testing.T) {
	s, dir := mem.New("memory"), dataDir(t, system)
	completed(t, dir, 3, 4, 5, 6)
	ring, err := keys.NewRing(keys.Config{Secrets: []keys.Secret{keys.NewSecret(make([]byte, 32))}})
	require.NoError(t, err)
	budget := vault.NewBudget(4 << 20) // room for the one that is asked for, and none to spare
	v, err := vault.New(vault.Config{Store: s, Keys: ring, Budget: budget})
	require.NoError(t, err)
	a, err := wal.New(wal.Config{Vault: v, Cluster: "frende"})
	require.NoError(t, err)
	h := aheadOf(t, a, dir)
	for n := uint64(3); n <= 6; n++ {
		require.NoError(t, h.Push(t.Context(), name(1, n)))
	}
	require.Equal(t, names(3, 4, 5, 6), stored(t, s))
	require.Eventually(t, func() bool { return budget.Used() == 0 }, 10*time.Second, time.Millisecond)
}
