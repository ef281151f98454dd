package hosts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// Deps are what the activities need of their host.
type Deps struct {
	// Ended says whether the recovery of this name has ended for certain, and no
	// other works on the component; else why says what is known.
	Ended func(ctx context.Context, s system.System, c system.Component, run string) (ended bool, why string, err error)

	// RunEnded says whether a run that only looked at a backup has ended for certain.
	RunEnded func(ctx context.Context, run string) (ended bool, why string, err error)

	Now func() time.Time // nil: time.Now
}

// Activities look after what recoveries leave.
type Activities struct{ deps Deps }

// New returns the activities.
func New(deps Deps) *Activities {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	return &Activities{deps: deps}
}

// none is the heartbeat of steps that count nothing.
type none struct{}

// Leftovers looks beside the production directories of all components and decides
// what nobody needs. It changes nothing.
func (a *Activities) Leftovers(ctx context.Context, in LeftoversInput) (LeftoversResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return none{} })
	defer stop()
	var result LeftoversResult
	production, err := in.System.Target("")
	if err != nil {
		return result, err
	}
	for _, component := range in.System.Components() {
		dirs, err := directories(in.System, component)
		if err != nil {
			return result, err
		}
		for i, dir := range dirs {
			l := looking{Activities: a, component: component, dir: dir, locked: dirs[0], result: &result}
			if err := l.old(production.Undo.Std()); err != nil {
				return result, err
			}
			if i > 0 {
				continue // the staging of a tablespace goes with that of its data directory
			}
			if err := l.staging(ctx, in.System); err != nil {
				return result, err
			}
			if err := l.scratch(ctx); err != nil {
				return result, err
			}
		}
	}
	return result, nil
}

// directories are the places that a recovery of the component replaces.
func directories(s system.System, c system.Component) ([]string, error) {
	switch c.Kind {
	case system.KindDatabase:
		d, err := s.Database(c.Name)
		if err != nil {
			return nil, err
		}
		spaces, err := postgres.TablespaceLinks(d.DataDir)
		dirs := []string{d.DataDir}
		for _, space := range spaces {
			dirs = append(dirs, space.Location)
		}
		return dirs, err
	case system.KindCache:
		cache, err := s.Cache(c.Name)
		return []string{cache.DataDir}, err
	case system.KindConfiguration:
		set, err := s.Configuration(c.Name)
		return []string{set.Root}, err
	default:
		set, err := s.FileSet(c.Name)
		return []string{set.Root}, err
	}
}

// looking is a look beside one directory.
type looking struct {
	*Activities
	component system.Component
	dir       string
	locked    string // the directory whose lock is the component's: a tablespace has that of its data directory
	result    *LeftoversResult
}

func (l looking) keep(what api.CleanedKind, path, format string, args ...any) {
	l.result.Kept = append(l.result.Kept, api.Cleaned{What: what, Component: l.component.ID, Subject: path, Why: fmt.Sprintf(format, args...)})
}

// old sorts the directories that recoveries replaced.
func (l looking) old(undo time.Duration) error {
	swaps, err := target.Swaps(l.dir)
	if err != nil {
		return err
	}
	left, err := target.Leftovers(l.dir)
	if err != nil {
		return err
	}
	holder, held, err := target.Holder(l.locked)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, swap := range swaps {
		known[swap.Old] = true
		until := swap.At.Add(undo)
		what, path := api.OldDirectory, swap.Old
		if _, err := os.Lstat(swap.Old); errors.Is(err, fs.ErrNotExist) {
			what, path = api.RecoveryJournal, swap.Journal // nothing was replaced, as after a disaster
		}
		switch {
		case held:
			l.keep(what, path, "recovery %s holds %s", holder.Run, l.locked)
		case l.deps.Now().Before(until):
			l.keep(what, path, "kept for undo until %s", until.UTC().Format(time.RFC3339))
		default:
			l.result.Old = append(l.result.Old, Old{What: what, Component: l.component.ID, Dir: l.dir, Run: swap.Run, Path: path, At: swap.At})
		}
	}
	for _, one := range left {
		if one.Kind == target.LeftoverOld && !known[one.Path] {
			l.keep(api.OldDirectory, one.Path, "it has no journal that says when it was replaced: when nobody misses anything, remove it by hand")
		}
	}
	return nil
}

// staging sorts the directories that recoveries filled, one for each run.
func (l looking) staging(ctx context.Context, s system.System) error {
	left, err := target.Leftovers(l.dir)
	if err != nil {
		return err
	}
	holder, held, err := target.Holder(l.dir)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, one := range left {
		// Beside the staging directory lie the journal of its restore, and the files of a database's recovery.
		run := strings.TrimSuffix(strings.TrimSuffix(one.Run, ".run"), ".journal")
		if one.Kind != target.LeftoverStaging || seen[run] {
			continue
		}
		seen[run] = true
		path := target.Staging(l.dir, run)
		if held && (holder.Run != run || holder.Working) {
			l.keep(api.StagingDirectory, path, "recovery %s holds %s", holder.Run, l.dir)
			continue
		}
		ended, why, err := l.deps.Ended(ctx, s, l.component, run)
		if err != nil {
			return err
		}
		if !ended {
			l.keep(api.StagingDirectory, path, "%s", why)
			continue
		}
		l.result.Staging = append(l.result.Staging, Staging{Component: l.component, Run: run, Path: path})
	}
	return nil
}

// scratch sorts the directories in which backups were restored to be looked at.
func (l looking) scratch(ctx context.Context) error {
	left, err := target.Leftovers(l.dir)
	if err != nil {
		return err
	}
	for _, one := range left {
		if one.Kind != target.LeftoverScratch {
			continue
		}
		ended, why, err := l.deps.RunEnded(ctx, one.Run)
		if err != nil {
			return err
		}
		if !ended {
			l.keep(api.ScratchDirectory, one.Path, "%s", why)
			continue
		}
		l.result.Scratch = append(l.result.Scratch, Staging{Component: l.component, Run: one.Run, Path: one.Path})
	}
	return nil
}

// Expire ends the time in which a recovery can be undone: it removes the old
// directory, if there is one, and the journal. It refuses with TargetRefused while that recovery's
// directory is not in place.
func (a *Activities) Expire(ctx context.Context, in ExpireInput) error {
	stop := temporal.Heartbeats(ctx, func() any { return none{} })
	defer stop()
	return target.Expire(ctx, in.Dir, in.Run)
}
