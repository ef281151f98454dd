package target

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

const run = "recover/frende/database/frende"

// fixture makes a current directory with "old" in it, unless absent, and a
// staged one with "new".
func fixture(t *testing.T, absent bool) string {
	t.Helper()
	current := filepath.Join(t.TempDir(), "data")
	if !absent {
		fill(t, current, "old")
	}
	fill(t, Staging(current, run), "new")
	return current
}

func fill(t *testing.T, dir, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "content"), []byte(content), 0o600))
}

func holds(t *testing.T, dir, content string) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(dir, "content"))
	require.NoError(t, err)
	require.Equal(t, content, string(body))
}

func TestSwapPutsTheStagedDirectoryInPlaceAndKeepsTheOld(t *testing.T) {
	current := fixture(t, false)
	swapped, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.NoError(t, err)
	require.Equal(t, Aside(current, run), swapped.Old)
	require.False(t, swapped.Resumed)
	holds(t, current, "new")
	holds(t, swapped.Old, "old")
	require.NoDirExists(t, Staging(current, run))

	again, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.NoError(t, err)
	require.Equal(t, swapped.Old, again.Old)
	require.Equal(t, swapped.At, again.At)
	require.True(t, again.Resumed)
	holds(t, current, "new")
}

func TestSwapNeedsNoFormerDirectory(t *testing.T) {
	current := fixture(t, true)
	swapped, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.NoError(t, err)
	require.Empty(t, swapped.Old)
	holds(t, current, "new")
}

// errCrash stands for a process that ends at this point.
var errCrash = errors.New("crash")

// crashAt is a mover whose process ends after the n-th change on disk. It
// counts the changes it was asked for.
func crashAt(n int, count *int) mover {
	return mover{after: func(step string) error {
		*count++
		if *count == n {
			return fmt.Errorf("%w after %q", errCrash, step)
		}
		return nil
	}}
}

// crashAfter is a mover whose process ends after the named change.
func crashAfter(last string) mover {
	return mover{after: func(step string) error {
		if step == last {
			return fmt.Errorf("%w after %q", errCrash, step)
		}
		return nil
	}}
}

func TestSwapCutOffAnywhereIsFinishedByTheNextAttempt(t *testing.T) {
	for _, absent := range []bool{false, true} {
		for at := 1; ; at++ {
			current, steps := fixture(t, absent), 0
			_, err := crashAt(at, &steps).swap(t.Context(), SwapRequest{Current: current, Run: run})
			if err == nil {
				require.Greater(t, at, 5, "every step was stopped at once")
				break
			}
			require.ErrorIs(t, err, errCrash)
			_, err = Swap(t.Context(), SwapRequest{Current: current, Run: run})
			require.NoError(t, err, "after crash %d", at)
			holds(t, current, "new")
			if !absent {
				holds(t, Aside(current, run), "old")
			}
			require.NoDirExists(t, Staging(current, run))
		}
	}
}

func TestSwapNeverReplacesWhatSomebodyMadeMeanwhile(t *testing.T) {
	current := fixture(t, false)
	_, err := crashAfter("former moved aside").swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.ErrorIs(t, err, errCrash)
	require.NoDirExists(t, current)
	fill(t, current, "somebody's")
	_, err = Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	holds(t, current, "somebody's")
	holds(t, Aside(current, run), "old")
	holds(t, Staging(current, run), "new")

	require.NoError(t, os.RemoveAll(current))
	_, err = Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.NoError(t, err, "it goes on when the way is free")
	holds(t, current, "new")
}

func TestRenameReplacesNotEvenAnEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	fill(t, filepath.Join(dir, "from"), "x")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "to"), 0o700))
	err := rename(filepath.Join(dir, "from"), filepath.Join(dir, "to"))
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
}

func TestARunSwapsOnce(t *testing.T) {
	current := fixture(t, false)
	_, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.NoError(t, err)
	fill(t, Staging(current, run), "newer")
	_, err = Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.True(t, fault.Has(err, fault.TargetRefused), "a second directory is not taken for the first: %v", err)
	holds(t, current, "new")
	holds(t, Staging(current, run), "newer")
}

func TestSwapWithNothingStagedTouchesNothing(t *testing.T) {
	current := filepath.Join(t.TempDir(), "data")
	fill(t, current, "old")
	_, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	holds(t, current, "old")
	left, err := Leftovers(current)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestSwapOfAServersDirectoryWaitsUntilNoProcessWorksInIt(t *testing.T) {
	current := fixture(t, false)
	inside := filepath.Join(current, "base")
	require.NoError(t, os.Mkdir(inside, 0o700))
	server := exec.CommandContext(t.Context(), "sleep", "300")
	server.Dir = inside
	require.NoError(t, server.Start())

	_, err := Swap(t.Context(), SwapRequest{Current: current, Run: run, Exclusive: true})
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.ErrorContains(t, err, fmt.Sprintf("process %d (sleep) works in it", server.Process.Pid))
	holds(t, current, "old")

	require.NoError(t, server.Process.Kill())
	require.Error(t, server.Wait())
	_, err = Swap(t.Context(), SwapRequest{Current: current, Run: run, Exclusive: true})
	require.NoError(t, err)
	holds(t, current, "new")
}

func TestDiscardAndExpireRemoveOnlyWhatIsNotNeeded(t *testing.T) {
	current := fixture(t, false)
	_, err := crashAfter("former moved aside").swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.ErrorIs(t, err, errCrash)
	require.NoDirExists(t, current, "it was stopped between the renames")
	err = Discard(t.Context(), current, run)
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	err = Expire(t.Context(), current, run)
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	holds(t, Staging(current, run), "new")
	holds(t, Aside(current, run), "old")

	_, err = Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, Expire(t.Context(), current, run))
	}
	holds(t, current, "new")
	left, err := Leftovers(current)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestLeftoversAreListedWithTheirRun(t *testing.T) {
	current := fixture(t, false)
	_, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.NoError(t, err)
	fill(t, Staging(current, "other"), "half")
	fill(t, current+"-of-another-database", "not ours")
	held, err := Lock(t.Context(), current, run)
	require.NoError(t, err)
	defer func() { require.NoError(t, held.Release()) }()

	left, err := Leftovers(current)
	require.NoError(t, err)
	runs := map[LeftoverKind]string{}
	for _, l := range left {
		runs[l.Kind] = l.Run
	}
	name := "recover-frende-database-frende"
	require.Equal(t, map[LeftoverKind]string{LeftoverOld: name, LeftoverJournal: name, LeftoverStaging: "other", LeftoverLock: ""}, runs)

	none, err := Leftovers(filepath.Join(t.TempDir(), "no", "such", "dir"))
	require.NoError(t, err)
	require.Empty(t, none)
}
