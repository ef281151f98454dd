package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
)

// tablespacesSuffix is behind the name of a copy: beside it, its tablespaces lie by OID.
const tablespacesSuffix = ".tablespaces"

// CheckCopyInput names where a copy goes: Ref.Dir.
type CheckCopyInput struct{ Ref }

// CheckCopy refuses a directory that a copy can't be put at, before anything is
// restored for it: see target.Vacant. Nothing of production may lie in or over it.
func (a *Activities) CheckCopy(_ context.Context, in CheckCopyInput) error {
	production := productionPaths(in.System)
	if in.Delta {
		if err := errors.Join(target.Apart(in.Dir, production...), target.Apart(in.Dir+tablespacesSuffix, production...)); err != nil {
			return err
		}
		return errors.Join(checkOlder(in.Dir), (&job{ref: in.Ref}).alone())
	}
	if err := target.Vacant(in.Dir, production...); err != nil {
		return err
	}
	return target.Vacant(in.Dir+tablespacesSuffix, production...)
}

// productionPaths are the places that production, and its rehearsals, are made of.
func productionPaths(s system.System) []string {
	var paths []string
	add := func(path string) {
		if path != "" {
			paths = append(paths, path)
		}
	}
	for _, d := range s.Databases {
		add(d.DataDir)
		add(d.ConfigDir)
		links, err := postgres.TablespaceLinks(d.DataDir)
		if err != nil {
			continue // a server that is gone has none that could be written over
		}
		for _, link := range links {
			add(link.Location)
		}
	}
	for _, c := range s.Caches {
		add(c.DataDir)
	}
	for _, set := range append(append([]system.FileSet{}, s.Files...), s.Configurations...) {
		add(set.Root)
	}
	for _, t := range s.Targets {
		add(t.Root)
	}
	return paths
}

// PutCopyInput puts a replayed scratch recovery at Ref.Dir.
type PutCopyInput struct {
	Ref
	Place Place `json:"place"`
	Facts Facts `json:"facts"`
}

// PutCopyResult is a data directory that a person can start.
type PutCopyResult struct {
	Dir         string   `json:"dir"`
	Timeline    uint32   `json:"timeline"` // of its own: no archive knows it
	Tablespaces []string `json:"tablespaces,omitempty"`
	Start       string   `json:"start"` // the command
}

// PutCopy promotes the replayed server, alone and archiving nothing, shuts it down,
// makes all of it durable and renames it to where the copy goes: whole, or not at
// all. It may be called again.
func (a *Activities) PutCopy(ctx context.Context, in PutCopyInput) (result PutCopyResult, err error) {
	j, err := a.scratch(in.Ref)
	if err != nil {
		return PutCopyResult{}, err
	}
	if in.Dir == "" {
		return PutCopyResult{}, fault.Newf(fault.InputInvalid, "put copy of", j.database.Name, "no directory is named for it")
	}
	err = j.locked(ctx, in.Place, func() error {
		stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
		defer stop()
		result, err = j.putCopy(ctx, in)
		return err
	})
	return result, err
}

// copied tells the directory that was put in place from any other.
type copied struct {
	Dev    uint64        `json:"dev"`
	Ino    uint64        `json:"ino"`
	Result PutCopyResult `json:"result"`
}

func (p Place) copied() string { return filepath.Join(p.Run, "copied.json") }

// came says whether what lies at dir is the copy that the run has made.
func (p Place) came(dir string) (bool, error) {
	var made copied
	if known, err := readRun(p.copied(), &made); err != nil || !known {
		return false, err
	}
	var stat unix.Stat_t
	if err := unix.Lstat(dir, &stat); errors.Is(err, unix.ENOENT) {
		return false, nil
	} else if err != nil {
		return false, fault.New(fault.PathFailed, "look at", dir, err)
	}
	return stat.Dev == made.Dev && stat.Ino == made.Ino, nil
}

func (j *job) putCopy(ctx context.Context, in PutCopyInput) (PutCopyResult, error) {
	place := in.Place
	var before copied
	known, err := readRun(place.copied(), &before)
	if err != nil {
		return PutCopyResult{}, err
	}
	if known && swapped(place) { // an earlier attempt has put it there
		if came, err := place.came(in.Dir); err != nil {
			return PutCopyResult{}, err
		} else if !came {
			return PutCopyResult{}, fault.Newf(fault.TargetRefused, "put copy at", in.Dir, "it was put there, and somebody has moved it").WithHint("look for the directory; nothing is left to do")
		}
		return before.Result, discardOlder(in)
	}
	control, err := j.finished(ctx, in)
	if err != nil {
		return PutCopyResult{}, err
	}
	owner, err := place.owner()
	if err != nil {
		return PutCopyResult{}, err
	}
	result := PutCopyResult{Dir: in.Dir, Timeline: control.Timeline, Start: j.startCommand(place, in.Dir)}
	var links []postgres.Link
	for _, space := range place.Tablespaces {
		location := copiedTablespace(in.Dir, space.OID)
		links = append(links, postgres.Link{OID: space.OID, Location: location})
		result.Tablespaces = append(result.Tablespaces, location)
	}
	if err := postgres.LinkTablespaces(place.Staging, owner, links); err != nil {
		return PutCopyResult{}, err
	}
	if err := durable(j.scratchRoot()); err != nil {
		return PutCopyResult{}, err
	}
	var stat unix.Stat_t
	if err := unix.Lstat(place.Staging, &stat); err != nil {
		return PutCopyResult{}, fault.New(fault.PathFailed, "look at", place.Staging, err)
	}
	if err := writeRun(place, place.copied(), copied{Dev: stat.Dev, Ino: stat.Ino, Result: result}); err != nil {
		return PutCopyResult{}, err
	}
	if in.Delta {
		if err := j.moveOlder(ctx, in); err != nil {
			return PutCopyResult{}, err
		}
	}
	if err := putTablespaces(place, in.Dir, links, owner); err != nil {
		return PutCopyResult{}, err
	}
	if err := target.PutDirectory(place.Staging, in.Dir); err != nil {
		return PutCopyResult{}, err
	}
	return result, discardOlder(in)
}

// moveOlder moves the older copy aside, its tablespaces first. It stays there until
// the new one is in place.
func (j *job) moveOlder(ctx context.Context, in PutCopyInput) error {
	if _, err := os.Lstat(in.Dir); os.IsNotExist(err) {
		return nil // an earlier attempt has moved it, and its tablespaces before it: what lies there now is new
	}
	if _, err := j.mayRestoreOver(ctx, in.Place, in.Facts); err != nil {
		return err
	}
	return errors.Join(target.MoveAside(in.Dir+tablespacesSuffix, in.RunID), target.MoveAside(in.Dir, in.RunID))
}

// takeBackOlder puts the older copy back, which was moved aside for one that never
// came: its tablespaces first, so that it is complete where it is found.
func takeBackOlder(ref Ref) (back bool, err error) {
	if _, err := os.Lstat(ref.Dir); !os.IsNotExist(err) { // the older one was not moved, or the new one has come
		return false, nil
	}
	if err := target.MoveBack(ref.Dir+tablespacesSuffix, ref.RunID); err != nil {
		return false, err
	}
	if err := target.MoveBack(ref.Dir, ref.RunID); err != nil {
		return false, err
	}
	_, err = os.Lstat(ref.Dir)
	return err == nil, nil
}

// discardOlder removes the older copy, which was moved aside.
func discardOlder(in PutCopyInput) error {
	if !in.Delta {
		return nil
	}
	return errors.Join(target.DiscardAside(in.Dir, in.RunID), target.DiscardAside(in.Dir+tablespacesSuffix, in.RunID))
}

// copiedTablespace is where a tablespace of a copy lies.
func copiedTablespace(dir string, oid uint32) string {
	return filepath.Join(dir+tablespacesSuffix, strconv.FormatUint(uint64(oid), 10))
}

// finished promotes the replayed server and shuts it down.
func (j *job) finished(ctx context.Context, in PutCopyInput) (postgres.Control, error) {
	control, err := postgres.ReadControl(ctx, in.Place.BinDir, in.Place.Staging)
	if err != nil || control.State == "shut down" && !postgres.Running(in.Place.Staging) {
		return control, err
	}
	instance, err := j.started(ctx, in.Place, in.Facts)
	if err != nil {
		return control, err
	}
	defer instance.Close(ctx)
	if _, err := instance.PromoteCopy(ctx, in.Facts.StopLSN); err != nil {
		return control, err
	}
	if err := instance.Stop(ctx); err != nil {
		return control, err
	}
	if control, err = postgres.ReadControl(ctx, in.Place.BinDir, in.Place.Staging); err != nil {
		return control, err
	}
	if control.State != "shut down" {
		return control, fault.Newf(fault.ServerFailed, "shut down", in.Place.Staging, "its control file says %q", control.State)
	}
	if err := os.Remove(filepath.Join(in.Place.Staging, "postmaster.opts")); err != nil && !os.IsNotExist(err) { // those of a hidden server
		return control, fault.New(fault.PathFailed, "remove", filepath.Join(in.Place.Staging, "postmaster.opts"), err)
	}
	return control, nil
}

// putTablespaces puts the tablespaces beside the copy, before it.
func putTablespaces(place Place, dir string, links []postgres.Link, owner postgres.Account) error {
	if len(links) == 0 {
		return nil
	}
	if err := owner.MakeRunDir(dir + tablespacesSuffix); err != nil {
		return err
	}
	for i, space := range place.Tablespaces {
		if _, err := os.Lstat(space.Staging); os.IsNotExist(err) {
			continue // an earlier attempt has moved it
		}
		if err := target.PutInPlace(space.Staging, links[i].Location); err != nil {
			return err
		}
	}
	return nil
}

// startCommand starts the copy beside production: on another port, and archiving nothing.
func (j *job) startCommand(place Place, dir string) string {
	options := "-p 5433 -c archive_mode=off"
	if _, err := os.Stat(filepath.Join(place.Staging, "postgresql.conf")); err != nil && j.database.ConfigDir != "" {
		options += fmt.Sprintf(" -c config_file=%s -c data_directory=%s", filepath.Join(j.database.ConfigDir, "postgresql.conf"), dir)
	}
	return strings.Join([]string{filepath.Join(place.BinDir, "pg_ctl"), "-D", shellWord(dir), "-o", shellWord(options), "start"}, " ")
}

func shellWord(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// durable writes everything of the file system that a directory lies on to its disk.
func durable(dir string) error {
	opened, err := os.Open(dir)
	if err != nil {
		return fault.New(fault.PathFailed, "sync", dir, err)
	}
	defer opened.Close()
	if err := unix.Syncfs(int(opened.Fd())); err != nil {
		return fault.New(fault.PathFailed, "sync", dir, err)
	}
	return nil
}
