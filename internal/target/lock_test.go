package target

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

func TestLockNamesItsHolderToAnotherRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	held, err := Lock(t.Context(), dir, "recover/a")
	require.NoError(t, err)
	_, err = Lock(t.Context(), dir, "recover/b")
	require.True(t, fault.Has(err, fault.TargetBusy), "%v", err)
	require.ErrorContains(t, err, "run recover/a holds it since "+time.Now().UTC().Format("2006-01-02T"))

	require.NoError(t, held.Release())
	held, err = Lock(t.Context(), dir, "recover/b")
	require.NoError(t, err)
	require.NoError(t, held.Release())
	left, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestLockOfACrashedAttemptIsEnteredAgainByItsRunAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	held, err := Lock(t.Context(), dir, "recover/a-with-a-rather-long-name")
	require.NoError(t, err)
	first, err := readHolder(held.file)
	require.NoError(t, err)
	require.NoError(t, held.Close()) // what the kernel does for a process that was killed

	_, err = Lock(t.Context(), dir, "recover/b")
	require.True(t, fault.Has(err, fault.TargetBusy), "%v", err)
	held, err = Lock(t.Context(), dir, "recover/a-with-a-rather-long-name")
	require.NoError(t, err)
	again, err := readHolder(held.file)
	require.NoError(t, err)
	require.Equal(t, first.Since, again.Since, "the run holds it since its first attempt")
	require.NoError(t, held.Release())
}

func TestLockWaitsForAnEarlierAttemptOfTheSameRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	earlier, err := Lock(t.Context(), dir, "recover/a")
	require.NoError(t, err)

	short, cancel := context.WithTimeout(t.Context(), 2*lockPoll)
	defer cancel()
	_, err = Lock(short, dir, "recover/a")
	require.True(t, fault.Has(err, fault.TargetBusy), "%v", err)
	require.ErrorContains(t, err, "an earlier attempt")

	cancelled, stop := context.WithCancel(t.Context())
	stop()
	_, err = Lock(cancelled, dir, "recover/a")
	require.ErrorIs(t, err, context.Canceled)

	got := make(chan error, 1)
	go func() {
		later, err := Lock(t.Context(), dir, "recover/a")
		if err == nil {
			err = later.Release()
		}
		got <- err
	}()
	require.NoError(t, earlier.Close())
	require.NoError(t, <-got)
}

func TestATornLockRecordIsNobodys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.WriteFile(lockPath(dir), []byte(`{"run":"recover/a","si`), 0o600))
	held, err := Lock(t.Context(), dir, "recover/b")
	require.NoError(t, err)
	body, err := os.ReadFile(lockPath(dir))
	require.NoError(t, err)
	require.True(t, json.Valid(body))
	require.NoError(t, held.Release())
}

func TestOnlyOneOfManyRunsHoldsTheLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var holders, most, wins atomic.Int32
	var racing sync.WaitGroup
	for i := range 8 {
		racing.Go(func() {
			name := "recover/" + string(rune('a'+i))
			for range 50 {
				held, err := Lock(t.Context(), dir, name)
				if fault.Has(err, fault.TargetBusy) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), holders.Add(1)))
				wins.Add(1)
				holders.Add(-1)
				if err := held.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	racing.Wait()
	require.Equal(t, int32(1), most.Load())
	require.Positive(t, wins.Load())
}

func TestLockNeedsARunAndAParent(t *testing.T) {
	_, err := Lock(t.Context(), filepath.Join(t.TempDir(), "data"), "")
	require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
	_, err = Lock(t.Context(), filepath.Join(t.TempDir(), "lost", "data"), "recover/a")
	require.True(t, fault.Has(err, fault.PathFailed), "%v", err)
	require.True(t, errors.Is(err, os.ErrNotExist))
}
