package target

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSwapsAreListedUntilTheyExpire(t *testing.T) {
	current := fixture(t, false)
	none, err := Swaps(current)
	require.NoError(t, err)
	require.Empty(t, none)
	swapped, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(journalPath(current, "foreign"), []byte("{}"), 0o600))
	require.NoError(t, os.WriteFile(journalPath(current, run)+".tmp", []byte("{"), 0o600))

	all, err := Swaps(current)
	require.NoError(t, err)
	require.Equal(t, []Kept{{Run: run, Old: swapped.Old, At: swapped.At, Journal: journalPath(current, run)}}, all)
	require.NoError(t, Expire(t.Context(), current, run))
	all, err = Swaps(current)
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestHolderLooksAndTakesNothing(t *testing.T) {
	current := fixture(t, false)
	_, held, err := Holder(current)
	require.NoError(t, err)
	require.False(t, held)
	require.NoFileExists(t, lockPath(current))

	lock, err := Lock(t.Context(), current, run)
	require.NoError(t, err)
	found, held, err := Holder(current)
	require.NoError(t, err)
	require.True(t, held)
	require.Equal(t, run, found.Run)
	require.True(t, found.Working)
	require.WithinDuration(t, time.Now(), found.Since, time.Minute)

	require.NoError(t, lock.Close())
	found, held, err = Holder(current)
	require.NoError(t, err)
	require.True(t, held, "the run keeps it")
	require.False(t, found.Working)
	again, err := Lock(t.Context(), current, run)
	require.NoError(t, err, "nothing was taken")
	require.NoError(t, again.Release())
	_, held, err = Holder(current)
	require.NoError(t, err)
	require.False(t, held)
}
