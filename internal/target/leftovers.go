package target

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// LeftoverKind says what a leftover is.
type LeftoverKind string

// Kinds of leftovers.
const (
	LeftoverStaging LeftoverKind = "staging" // restored, not put in place
	LeftoverOld     LeftoverKind = "old"     // was in place before a recovery
	LeftoverJournal LeftoverKind = "journal" // of a swap, kept for its undo
	LeftoverLock    LeftoverKind = "lock"
	LeftoverScratch LeftoverKind = "scratch" // restored to be looked at
)

// Leftover is something that a run left beside a directory.
type Leftover struct {
	Path     string       `json:"path"`
	Kind     LeftoverKind `json:"kind"`
	Run      string       `json:"run,omitempty"` // as it stands in the name
	Modified time.Time    `json:"modified"`
}

// Leftovers lists what runs have left beside dir, oldest first.
func Leftovers(dir string) ([]Leftover, error) {
	parent, base := filepath.Split(filepath.Clean(dir))
	entries, err := os.ReadDir(parent)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, failed("list", parent, err)
	}
	var found []Leftover
	for _, entry := range entries {
		rest, ours := strings.CutPrefix(entry.Name(), base)
		kind, run := classify(rest)
		if !ours || kind == "" {
			continue
		}
		info, err := entry.Info()
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, failed("look at", filepath.Join(parent, entry.Name()), err)
		}
		found = append(found, Leftover{Path: filepath.Join(parent, entry.Name()), Kind: kind, Run: run, Modified: info.ModTime()})
	}
	slices.SortFunc(found, func(a, b Leftover) int {
		return cmp.Or(a.Modified.Compare(b.Modified), cmp.Compare(a.Path, b.Path))
	})
	return found, nil
}

func classify(suffix string) (LeftoverKind, string) {
	if suffix == lockSuffix {
		return LeftoverLock, ""
	}
	if run, ok := strings.CutPrefix(suffix, stagingPrefix); ok {
		return LeftoverStaging, run
	}
	if run, ok := strings.CutPrefix(suffix, asidePrefix); ok {
		return LeftoverOld, run
	}
	if run, ok := strings.CutPrefix(suffix, scratchPrefix); ok {
		return LeftoverScratch, run
	}
	if run, ok := strings.CutPrefix(suffix, journalPrefix); ok {
		return LeftoverJournal, run
	}
	return "", ""
}

// Discard removes the staging directory of a run that was not cut over. A run
// that has begun to swap, and has not finished that, is refused with TargetRefused.
func Discard(ctx context.Context, dir, run string) error {
	dir = filepath.Clean(dir)
	if err := ctx.Err(); err != nil {
		return err
	}
	j, found, err := readJournal(dir, run)
	if err != nil {
		return err
	}
	if found {
		if at, err := j.look(); err != nil {
			return err
		} else if at.current != j.New {
			return fault.Newf(fault.TargetRefused, "discard staging of", dir, "run %s has begun to put it in place", run).
				WithHint("let the run finish")
		}
	}
	return removeTree(Staging(dir, run))
}

// Expire ends the time in which a run can be undone: it removes the old
// directory and the journal. It refuses with TargetRefused while the run's
// directory is not in place.
func Expire(ctx context.Context, dir, run string) error {
	dir = filepath.Clean(dir)
	if err := ctx.Err(); err != nil {
		return err
	}
	j, found, err := readJournal(dir, run)
	if err != nil {
		return err
	}
	if found {
		at, err := j.look()
		if err != nil {
			return err
		}
		if at.current == (inode{}) || at.current == j.Former || at.staged == j.New {
			return fault.Newf(fault.TargetRefused, "expire undo of", dir, "the swap of run %s is not finished", run)
		}
	}
	if err := removeTree(Aside(dir, run)); err != nil {
		return err
	}
	return removeDurably(journalPath(dir, run))
}
