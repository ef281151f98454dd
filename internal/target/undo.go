package target

import (
	"context"
	"path/filepath"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// Undo puts the directory back that a finished Swap, or an Undo, of another run
// keeps aside, by the same renames and with a journal of its own. What had taken
// its place is kept aside in turn, for this run: an undo can be undone. The caller
// holds the lock of Current. It fails with TargetRefused, before anything is
// moved, when nothing is kept, and when another run has swapped the directory since.
func Undo(ctx context.Context, request UndoRequest) (Swapped, error) {
	return steady().undo(ctx, request)
}

func (m mover) undo(ctx context.Context, request UndoRequest) (Swapped, error) {
	current := filepath.Clean(request.Current)
	if err := ctx.Err(); err != nil {
		return Swapped{}, err
	}
	j, resumed, err := readJournal(current, request.Run)
	if err != nil {
		return Swapped{}, err
	}
	if !resumed {
		if j, err = m.beginUndo(current, request); err != nil {
			return Swapped{}, err
		}
	}
	if j.Undoes != request.Of {
		return Swapped{}, fault.Newf(fault.TargetRefused, "undo", current, "run %s has swapped it for something else than to take back run %s", j.Run, request.Of)
	}
	if err := m.forward(j); err != nil {
		return Swapped{}, err
	}
	// What that run had kept is in place: its journal has nothing left to tell.
	if err := removeDurably(journalPath(current, request.Of)); err != nil {
		return Swapped{}, err
	}
	return j.swapped(resumed), m.after("undone journal removed")
}

// UndoBegun says whether an undo by this run has begun to move a directory: from
// then on the directory may be missing, and calling Undo again goes on.
func UndoBegun(dir, run string) (bool, error) {
	j, found, err := readJournal(filepath.Clean(dir), run)
	return found && j.Undoes != "", err
}

// beginUndo checks, and writes the journal.
func (m mover) beginUndo(current string, request UndoRequest) (journal, error) {
	if request.Run == "" || request.Run == request.Of {
		return journal{}, fault.Newf(fault.InputInvalid, "undo", current, "it needs a run of its own")
	}
	of, err := undoable(current, request.Of)
	if err != nil {
		return journal{}, err
	}
	j := journal{
		Run: request.Run, Direction: forward, Undoes: request.Of, Current: current,
		Staged: of.Old, Old: Aside(current, request.Run), Former: of.New, New: of.Former,
		At: time.Now().UTC().Truncate(time.Millisecond),
	}
	return j, m.commit(j, request.Exclusive)
}

// Undoable looks whether the swap of a run can be taken back, and moves nothing.
// It fails with TargetRefused as Undo does.
func Undoable(dir, of string) (Kept, error) {
	dir = filepath.Clean(dir)
	j, err := undoable(dir, of)
	if err != nil {
		return Kept{}, err
	}
	return Kept{Run: j.Run, Old: j.Old, At: j.At, Journal: journalPath(dir, of)}, nil
}

// undoable gives the journal of a swap that is finished, and whose former
// directory is still aside.
func undoable(current, of string) (journal, error) {
	refused := func(format string, args ...any) (journal, error) {
		return journal{}, fault.Newf(fault.TargetRefused, "undo", current, format, args...)
	}
	j, found, err := readJournal(current, of)
	if err != nil {
		return journal{}, err
	}
	if !found {
		return refused("nothing is kept of run %s: it never put anything in place, was taken back, or a clean-up has removed what it replaced", of)
	}
	at, err := j.look()
	if err != nil {
		return journal{}, err
	}
	switch {
	case j.Former == (inode{}):
		return refused("there was nothing in its place before run %s", of)
	case at.staged == j.New:
		return refused("the swap of run %s is not finished", of)
	case at.old == (inode{}):
		return refused("what run %s replaced is not at %s any more", of, j.Old)
	case at.current != j.New && at.current != (inode{}):
		return refused("it has been swapped once more since run %s", of)
	case at.current != j.New || at.old != j.Former:
		return journal{}, j.disturbed("undo")
	}
	return j, nil
}
