package target

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

// undoing is the run that takes back what run did.
const undoing = "undo/frende"

// swapped makes a directory that run has swapped: "new" is in place, "old" aside.
func swapped(t *testing.T) (current string) {
	t.Helper()
	current = fixture(t, false)
	_, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.NoError(t, err)
	return current
}

func refused(t *testing.T, err error, why string) {
	t.Helper()
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.ErrorContains(t, err, why)
}

func TestUndoPutsTheOldDirectoryBackAndKeepsTheOther(t *testing.T) {
	current := swapped(t)
	kept, err := Undoable(current, run)
	require.NoError(t, err)
	require.Equal(t, Aside(current, run), kept.Old)

	request := UndoRequest{Current: current, Of: run, Run: undoing}
	undone, err := Undo(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, Aside(current, undoing), undone.Old)
	again, err := Undo(t.Context(), request)
	require.NoError(t, err)
	require.True(t, again.Resumed)
	require.Equal(t, undone.At, again.At)
	holds(t, current, "old")
	holds(t, undone.Old, "new")
	require.NoDirExists(t, Aside(current, run))
	require.NoFileExists(t, journalPath(current, run))
	_, err = Undo(t.Context(), UndoRequest{Current: current, Of: run, Run: "undo/frende-2"})
	refused(t, err, "nothing is kept of run "+run)
}

func TestAnUndoCanBeUndone(t *testing.T) {
	current := swapped(t)
	for i, by := range []struct{ of, run, content string }{
		{run, "undo-1", "old"}, {"undo-1", "undo-2", "new"}, {"undo-2", "undo-3", "old"},
	} {
		_, err := Undo(t.Context(), UndoRequest{Current: current, Of: by.of, Run: by.run})
		require.NoError(t, err, "undo %d", i)
		holds(t, current, by.content)
	}
	left, err := Leftovers(current)
	require.NoError(t, err)
	require.Len(t, left, 2, "one directory, one journal")
	swaps, err := Swaps(current)
	require.NoError(t, err)
	require.Len(t, swaps, 1)
	require.NoError(t, Expire(t.Context(), current, "undo-3"))
	holds(t, current, "old")
	left, err = Leftovers(current)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestUndoCutOffAnywhereIsFinishedByTheNextAttempt(t *testing.T) {
	for at := 1; ; at++ {
		current, steps := swapped(t), 0
		request := UndoRequest{Current: current, Of: run, Run: undoing}
		_, err := crashAt(at, &steps).undo(t.Context(), request)
		if err == nil {
			require.Greater(t, at, 7, "every step was stopped at once")
			break
		}
		require.ErrorIs(t, err, errCrash)
		if j, found, err := readJournal(current, undoing); err == nil && found {
			if at, err := j.look(); err == nil && at.current != j.New {
				refused(t, Expire(t.Context(), current, undoing), "is not finished")
				refused(t, Discard(t.Context(), current, undoing), "has begun to put it in place")
				if at.old == j.Former {
					refused(t, Expire(t.Context(), current, run), "is not finished")
				}
			}
		}
		_, err = Undo(t.Context(), request)
		require.NoError(t, err, "after crash %d", at)
		holds(t, current, "old")
		holds(t, Aside(current, undoing), "new")
		require.NoDirExists(t, Aside(current, run))
		require.NoFileExists(t, journalPath(current, run))
	}
}

func TestUndoIsRefusedBeforeAnythingIsMoved(t *testing.T) {
	const later = "recover/frende/database/frende-2"
	undo := func(t *testing.T, current string) error {
		t.Helper()
		_, err := Undo(t.Context(), UndoRequest{Current: current, Of: run, Run: undoing})
		require.NoFileExists(t, journalPath(current, undoing))
		return err
	}
	t.Run("a run that is not known", func(t *testing.T) {
		current := fixture(t, false)
		refused(t, undo(t, current), "nothing is kept of run "+run)
		holds(t, current, "old")
	})
	t.Run("what a clean-up removed", func(t *testing.T) {
		current := swapped(t)
		require.NoError(t, Expire(t.Context(), current, run))
		refused(t, undo(t, current), "a clean-up has removed what it replaced")
		holds(t, current, "new")
	})
	t.Run("what somebody removed", func(t *testing.T) {
		current := swapped(t)
		require.NoError(t, os.RemoveAll(Aside(current, run)))
		refused(t, undo(t, current), "is not at "+Aside(current, run)+" any more")
		holds(t, current, "new")
	})
	t.Run("where there was nothing", func(t *testing.T) {
		current := fixture(t, true)
		_, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
		require.NoError(t, err)
		refused(t, undo(t, current), "there was nothing in its place before")
		holds(t, current, "new")
	})
	t.Run("a swap that is not finished", func(t *testing.T) {
		for _, last := range []string{"journal named", "former moved aside"} {
			current := fixture(t, false)
			_, err := crashAfter(last).swap(t.Context(), SwapRequest{Current: current, Run: run})
			require.ErrorIs(t, err, errCrash)
			refused(t, undo(t, current), "is not finished")
		}
	})
	t.Run("what another run has swapped since", func(t *testing.T) {
		current := swapped(t)
		fill(t, Staging(current, later), "newer")
		_, err := Swap(t.Context(), SwapRequest{Current: current, Run: later})
		require.NoError(t, err)
		refused(t, undo(t, current), "swapped once more")
		holds(t, current, "newer")

		_, err = Undo(t.Context(), UndoRequest{Current: current, Of: later, Run: "undo-later"})
		require.NoError(t, err)
		_, err = Undo(t.Context(), UndoRequest{Current: current, Of: run, Run: undoing})
		require.NoError(t, err, "that one taken back, it is in place again")
		holds(t, current, "old")
	})
	t.Run("a directory that somebody put there", func(t *testing.T) {
		current := swapped(t)
		require.NoError(t, os.Rename(Aside(current, run), current+"-elsewhere"))
		fill(t, Aside(current, run), "planted")
		refused(t, undo(t, current), "a directory is not where run "+run+" left it")
		holds(t, current, "new")
	})
	t.Run("a server that works in it", func(t *testing.T) {
		current := swapped(t)
		server := exec.CommandContext(t.Context(), "sleep", "300")
		server.Dir = current
		require.NoError(t, server.Start())
		_, err := Undo(t.Context(), UndoRequest{Current: current, Of: run, Run: undoing, Exclusive: true})
		refused(t, err, "works in it")
		require.NoError(t, server.Process.Kill())
		require.Error(t, server.Wait())
	})
	t.Run("by the run itself", func(t *testing.T) {
		_, err := Undo(t.Context(), UndoRequest{Current: swapped(t), Of: run, Run: run})
		require.Error(t, err)
	})
	t.Run("by a run that has swapped", func(t *testing.T) {
		current := swapped(t)
		fill(t, Staging(current, later), "newer")
		_, err := Swap(t.Context(), SwapRequest{Current: current, Run: later})
		require.NoError(t, err)
		_, err = Undo(t.Context(), UndoRequest{Current: current, Of: run, Run: later})
		refused(t, err, "for something else")
	})
}
