package hosts

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
)

// HoldKept finds what a recovery replaced in production and takes the locks of
// those directories for the run that undoes it, so that no clean-up and no other
// run removes or moves anything there. They are the run's until LetGo. It fails with
// TargetRefused, and holds nothing then, when nothing is kept, when the time for an
// undo is over, and when another run has swapped a directory since. What the
// recovery put where nothing was stays, and is noted.
func (a *Activities) HoldKept(ctx context.Context, in HoldKeptInput) (HoldKeptResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return none{} })
	defer stop()
	result, err := a.kept(in)
	if err != nil {
		return HoldKeptResult{}, err
	}
	for i, one := range result.Kept {
		held, err := target.Lock(ctx, one.Dir, in.Run)
		if err == nil {
			err = held.Close()
		}
		if err != nil {
			return HoldKeptResult{}, errors.Join(err, letGo(ctx, result.Kept[:i], in.Run))
		}
	}
	return result, nil
}

// LetGo gives up the locks of HoldKept. It may be called again.
func (a *Activities) LetGo(ctx context.Context, in LetGoInput) error {
	return letGo(ctx, in.Kept, in.Run)
}

func letGo(ctx context.Context, kept []Kept, run string) error {
	var failed error
	for _, one := range kept {
		if holder, held, err := target.Holder(one.Dir); err != nil || !held || holder.Run != run {
			failed = errors.Join(failed, err)
			continue
		}
		held, err := target.Lock(ctx, one.Dir, run)
		if err == nil {
			err = held.Release()
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

func (a *Activities) kept(in HoldKeptInput) (HoldKeptResult, error) {
	var result HoldKeptResult
	production, err := in.System.Target("")
	if err != nil {
		return result, err
	}
	for _, component := range in.System.Components() {
		dir, err := directory(in.System, component)
		if err != nil {
			return result, err
		}
		swap, found, err := swapOf(dir, in.Of)
		if err != nil {
			return result, err
		}
		if !found {
			if slices.Contains(in.Components, component.ID) {
				return result, fault.Newf(fault.TargetRefused, "undo recovery of", component.ID, "nothing is kept of run %s beside %s: it put nothing in place, was undone, or a clean-up has removed what it replaced", in.Of, dir).
					WithHint("recover it to a point before: lifeboat window %s", component.Kind)
			}
			continue
		}
		if until := swap.At.Add(production.Undo.Std()); !a.deps.Now().Before(until) {
			return result, fault.Newf(fault.TargetRefused, "undo recovery of", component.ID, "it could be undone until %s", until.UTC().Format(time.RFC3339)).
				WithHint("undo of target %s in lifeboat.yaml says for how long; nothing was touched", production.Name)
		}
		if swap.Nothing {
			result.Notes = append(result.Notes, fmt.Sprintf("%s: there was nothing in place of %s before, so what was recovered stays", component.ID, dir))
			continue
		}
		if _, err := target.Undoable(dir, swap.Run); err != nil {
			return result, err
		}
		result.Kept = append(result.Kept, Kept{Component: component, Dir: dir, Of: swap.Run, Old: swap.Old, At: swap.At})
	}
	if len(result.Kept) == 0 {
		return result, fault.Newf(fault.TargetRefused, "undo recovery of", in.System.Name, "run %s replaced nothing that is kept on this host", in.Of).
			WithHint("see what is kept with: lifeboat cleanup --dry-run")
	}
	// Settings come back before the servers that read them.
	slices.SortStableFunc(result.Kept, func(a, b Kept) int { return rank(a) - rank(b) })
	return result, nil
}

func rank(k Kept) int {
	if k.Component.Kind == system.KindConfiguration {
		return 0
	}
	return 1
}

// directory is the place that a recovery of the component replaces, without its tablespaces.
func directory(s system.System, c system.Component) (string, error) {
	if c.Kind == system.KindDatabase {
		d, err := s.Database(c.Name)
		return filepath.Clean(d.DataDir), err
	}
	dirs, err := directories(s, c)
	if err != nil {
		return "", err
	}
	return filepath.Clean(dirs[0]), nil
}

// swapOf finds the swap of a run, which is told by the end of its run ID: the name
// that stands in directories ends with it.
func swapOf(dir, runID string) (target.Kept, bool, error) {
	swaps, err := target.Swaps(dir)
	if err != nil {
		return target.Kept{}, false, err
	}
	for _, swap := range swaps {
		end := swap.Run[strings.LastIndex(swap.Run, "-")+1:]
		if len(end) >= shortRun && strings.HasSuffix(runID, end) {
			return swap, true, nil
		}
	}
	return target.Kept{}, false, nil
}

// shortRun is how many characters of a run ID stand in the names of directories.
const shortRun = 8
