package files

import (
	"context"
	"errors"

	"github.com/frende/lifeboat/internal/files"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
)

// UndoCutOver puts the directory back that a recovery replaced, by rename, and
// keeps the one that it had put in place. What that one holds beyond the set's
// patterns, and the old one does not, appears in the old one, too: no backup has
// it. One that an earlier attempt began is finished.
func (a *Activities) UndoCutOver(ctx context.Context, in UndoCutOverInput) (UndoCutOverResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	held, err := target.Lock(ctx, in.Set.Root, in.RunID)
	if err != nil {
		return UndoCutOverResult{}, err
	}
	result, err := undoCutOver(ctx, in)
	if err != nil {
		return result, errors.Join(err, held.Close())
	}
	return result, held.Release()
}

func undoCutOver(ctx context.Context, in UndoCutOverInput) (UndoCutOverResult, error) {
	result := UndoCutOverResult{Live: in.Set.Root}
	if kept := target.Aside(in.Set.Root, in.Of); !missing(kept) { // else an earlier attempt had moved it
		if _, err := target.Undoable(in.Set.Root, in.Of); err == nil { // else Undo goes on, or says why not
			carried, err := files.Carry(ctx, in.Set, in.Set.Root, kept)
			result.Carried, result.Left = carried.Entries, carried.Left
			if err != nil {
				return result, err
			}
		}
	}
	undone, err := target.Undo(ctx, target.UndoRequest{Current: in.Set.Root, Of: in.Of, Run: in.RunID})
	result.Kept = undone.Old
	return result, err
}
