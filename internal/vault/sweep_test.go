package vault

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
)

// ahead is the same vault by a clock that is this much ahead.
func ahead(v *Vault, by time.Duration) *Vault {
	c := v.cfg
	c.Now = func() time.Time { return time.Now().Add(by) }
	return fresh(c, v.codecs, v.rate)
}

// later is the same vault when leases of now have been over for long.
func later(v *Vault) *Vault { return ahead(v, leaseFor+DefaultSweepAfter+time.Minute) }

// begun is a backup that has stored chunks and no manifest.
func begun(t *testing.T, v *Vault, minute int) *Writer {
	t.Helper()
	in := testIntent("zstd")
	in.At = in.At.Add(time.Duration(minute) * time.Minute)
	w, err := v.Begin(t.Context(), in)
	require.NoError(t, err)
	writeStream(t, w, "base.tar", content(uint64(minute), 20_000))
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return w
}

func under(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	var names []string
	for info, err := range s.List(t.Context(), prefix+"/", store.ListOptions{}) {
		require.NoError(t, err)
		names = append(names, strings.TrimPrefix(info.Key, prefix+"/"))
	}
	return names
}

func sweep(t *testing.T, v *Vault, o SweepOptions) []Swept {
	t.Helper()
	swept, err := v.Sweep(t.Context(), o)
	require.NoError(t, err)
	return swept
}

func TestASweepRemovesWhatADeadWriterLeftAndNothingElse(t *testing.T) {
	v := small(t, nil)
	complete := backUp(t, v, testIntent("zstd"), map[string][]byte{"base.tar": content(9, 20_000)})
	dead := begun(t, v, 1)

	// The lease is young, or over for less than a day; the run works, whatever the clocks say.
	kept := sweep(t, v, SweepOptions{})
	require.Len(t, kept, 1)
	require.False(t, kept[0].Removed)
	require.Contains(t, kept[0].Why, "it counts as abandoned from ")
	require.False(t, sweep(t, ahead(v, leaseFor+DefaultSweepAfter-time.Minute), SweepOptions{})[0].Removed)
	asked := ""
	kept = sweep(t, later(v), SweepOptions{Running: func(_ context.Context, runID string) (bool, error) { asked = runID; return true, nil }})
	require.Equal(t, "backup/frende/1", asked)
	require.False(t, kept[0].Removed)
	require.Contains(t, kept[0].Why, "still works on it")
	_, err := later(v).Sweep(t.Context(), SweepOptions{Running: func(context.Context, string) (bool, error) { return false, errors.New("no answer") }})
	require.ErrorContains(t, err, "no answer")
	require.Greater(t, len(under(t, v.Store(), dead.Key())), 5)

	// A dry run says what would go.
	before := under(t, v.Store(), dead.Key())
	gone := func(context.Context, string) (bool, error) { return false, nil }
	planned := sweep(t, later(v), SweepOptions{DryRun: true, Running: gone})
	require.True(t, planned[0].Removed)
	require.EqualValues(t, len(before)-1, planned[0].Objects)
	require.Positive(t, planned[0].Bytes)
	require.Equal(t, before, under(t, v.Store(), dead.Key()))

	var progress int64
	removed := sweep(t, later(v), SweepOptions{Running: gone, By: strings.Repeat("\x01", 300), Progress: func(done, _ int64) { progress = done }})
	require.True(t, removed[0].Removed)
	require.Equal(t, planned[0].Bytes, progress)
	require.Equal(t, []string{"intent", "manifest"}, under(t, v.Store(), dead.Key()))
	_, err = v.Open(t.Context(), dead.Key())
	requireFault(t, err, fault.BackupIncomplete, "it was given up")
	require.Empty(t, sweep(t, later(v), SweepOptions{}), "nothing is left to tell")

	// The writer wakes up: it can't finish, and what it stores is removed the next time.
	writeStream(t, dead, "late", content(7, 9_000))
	_, err = dead.Commit(t.Context(), nil)
	requireFault(t, err, fault.BackupConflict, "it was given up")
	again := sweep(t, later(v), SweepOptions{})
	require.Len(t, again, 1)
	require.True(t, again[0].Removed)
	require.Equal(t, []string{"intent", "manifest"}, under(t, v.Store(), dead.Key()))

	got, err := readStream(t.Context(), open(t, v, complete.Key), "base.tar")
	require.NoError(t, err)
	require.True(t, bytes.Equal(content(9, 20_000), got))
	latest, err := v.Latest(t.Context(), Filter{})
	require.NoError(t, err)
	require.Equal(t, complete.Key, latest.Key)
}

// TestOnlyOneOfWriterAndSweepWins is row 15's share of this: a writer that was
// given up for dead commits at the moment of the sweep.
func TestOnlyOneOfWriterAndSweepWins(t *testing.T) {
	finished, swept := 0, 0
	for i := range 300 {
		v := small(t, nil)
		w := begun(t, v, i)
		var commitErr error
		var result []Swept
		var both sync.WaitGroup
		start := make(chan struct{})
		both.Go(func() {
			<-start
			_, commitErr = w.Commit(t.Context(), nil)
		})
		both.Go(func() {
			<-start
			result = sweep(t, later(v), SweepOptions{})
		})
		close(start)
		both.Wait()
		if commitErr == nil {
			finished++
			got, err := readStream(t.Context(), open(t, v, w.Key()), "base.tar")
			require.NoError(t, err, "a backup that was finished is whole")
			require.True(t, bytes.Equal(content(uint64(i), 20_000), got))
			for _, one := range result {
				require.False(t, one.Removed)
			}
			continue
		}
		swept++
		requireFault(t, commitErr, fault.BackupConflict, "it was given up")
		require.True(t, result[0].Removed)
		require.Equal(t, []string{"intent", "manifest"}, under(t, v.Store(), w.Key()))
	}
	t.Logf("%d were finished, %d swept", finished, swept)
}

func TestAManifestThatComesBetweenTheLookAndTheTombstoneIsKept(t *testing.T) {
	s := faulty.New(t, mem.New("primary"))
	v := small(t, func(c *Config) { c.Store = s })
	w := begun(t, v, 1)
	hold := make(chan struct{})
	s.Queue(faulty.Fault{Op: faulty.Put, Key: "/manifest", Hold: hold}) // the tombstone waits
	swept := make(chan []Swept)
	sweeper := later(v)
	go func() { swept <- sweep(t, sweeper, SweepOptions{}) }()
	require.Eventually(t, func() bool { return len(s.Left()) == 0 }, time.Minute, time.Millisecond, "the sweep has decided")
	_, err := w.Commit(t.Context(), nil)
	require.NoError(t, err)
	close(hold)
	kept := <-swept
	require.False(t, kept[0].Removed)
	require.Equal(t, "its writer finished it meanwhile", kept[0].Why)
	got, err := readStream(t.Context(), open(t, v, w.Key()), "base.tar")
	require.NoError(t, err)
	require.True(t, bytes.Equal(content(1, 20_000), got))
}

func TestASweepThatWasCutOffIsFinishedByTheNext(t *testing.T) {
	s := faulty.New(t, mem.New("primary"))
	v := small(t, func(c *Config) { c.Store = s })
	w := begun(t, v, 1)
	s.Queue(faulty.Fault{Op: faulty.Delete, After: 2, Err: fault.New(fault.StorageUnavailable, "delete", "x", errCrash)})
	_, err := later(v).Sweep(t.Context(), SweepOptions{})
	requireFault(t, err, fault.StorageUnavailable, "killed")
	_, err = w.Commit(t.Context(), nil)
	requireFault(t, err, fault.BackupConflict, "it was given up")

	s.Queue(faulty.Fault{Op: faulty.Delete, Err: fault.Newf(fault.StorageDenied, "delete", "x", "locked")})
	denied := sweep(t, later(v), SweepOptions{})
	require.False(t, denied[0].Removed)
	require.Contains(t, denied[0].Why, "refuses to delete")

	require.True(t, sweep(t, later(v), SweepOptions{})[0].Removed)
	require.Equal(t, []string{"intent", "manifest"}, under(t, s, w.Key()))
}

func TestAnObjectThatWasPutTwiceIsGoneForGood(t *testing.T) {
	v := small(t, nil)
	w := begun(t, v, 1)
	key := w.Key() + "/chunk/x/000000"
	for range 2 {
		_, err := v.Store().Put(t.Context(), key, []byte("repeated"), store.PutOptions{})
		require.NoError(t, err)
	}
	require.True(t, sweep(t, later(v), SweepOptions{})[0].Removed)
	require.NoError(t, v.Store().Delete(t.Context(), key, "no such version"))
	_, err := v.Store().Head(t.Context(), key)
	requireFault(t, err, fault.ObjectMissing, key)
}

func TestWhatLifeboatDidNotBeginIsKept(t *testing.T) {
	v := small(t, nil)
	backUp(t, v, testIntent("zstd"), nil)
	foreign := "file-backups/2024/01/15/uploads_file_backup_20240115_020000.tree"
	_, err := v.Store().Put(t.Context(), foreign+"/chunk/1-00000000/000000", []byte("x"), store.PutOptions{})
	require.NoError(t, err)
	kept := sweep(t, later(v), SweepOptions{})
	require.Equal(t, "it has no intent: Lifeboat did not begin it", kept[0].Why)
	_, err = v.Store().Put(t.Context(), foreign+"/intent", []byte("{}"), store.PutOptions{})
	require.NoError(t, err)
	require.Equal(t, "its intent is not what this release of Lifeboat writes", sweep(t, later(v), SweepOptions{})[0].Why)
	require.Len(t, under(t, v.Store(), foreign), 2)
}
