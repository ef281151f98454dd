package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/wal"
)

// UndoPreflight checks all that can be known before the server of a recovery is
// stopped: that what the recovery replaced is still kept, whole and of the same
// cluster, that its programs are there, that it was no standby, and that the store
// can be written and has a timeline free for it. The directories are the run's
// already. It changes no production.
func (a *Activities) UndoPreflight(ctx context.Context, in UndoPreflightInput) (UndoPreflightResult, error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return UndoPreflightResult{}, err
	}
	if j.sandboxed() {
		return UndoPreflightResult{}, fault.Newf(fault.InputInvalid, "undo recovery of", j.database.Name, "target %q is a sandbox", in.Target)
	}
	if err := j.checkService(); err != nil {
		return UndoPreflightResult{}, err
	}
	opened, err := j.vault(ctx)
	if err != nil {
		return UndoPreflightResult{}, err
	}
	if err := opened.Writable(ctx); err != nil {
		return UndoPreflightResult{}, err
	}
	archive, err := j.archive(ctx)
	if err != nil {
		return UndoPreflightResult{}, err
	}
	result := UndoPreflightResult{}
	if result.Place, err = j.keptPlace(ctx, in.Of); err != nil {
		return result, err
	}
	control, err := j.kept(ctx, result.Place)
	if err != nil {
		return result, err
	}
	result.SystemID, result.SegmentSize = control.SystemID, control.SegmentSize
	result.Timeline, result.LSN = control.Reached()
	if result.Live, err = j.look(ctx, result.Place, result.SystemID); err != nil {
		return result, err
	}
	if _, err := j.newest(ctx, archive, result.Place, result.SystemID, result.Timeline); err != nil {
		return result, err
	}
	owner, err := result.Place.owner()
	if err != nil {
		return result, err
	}
	return result, owner.MakeRunDir(result.Place.Run)
}

// keptPlace finds what a recovery replaced: Staging, and that of the tablespaces, is
// where it is kept aside.
func (j *job) keptPlace(ctx context.Context, of string) (Place, error) {
	dir := filepath.Clean(j.database.DataDir)
	kept, err := target.Undoable(dir, of)
	if err != nil {
		return Place{}, err
	}
	major, err := postgres.DirMajor(kept.Old)
	if err != nil {
		return Place{}, err
	}
	bin, err := postgres.FindBin(ctx, j.database.BinDir, major)
	if err != nil {
		return Place{}, err
	}
	owner, err := j.owner()
	if err != nil {
		return Place{}, err
	}
	staging := target.Staging(dir, j.ref.RunID)
	place := Place{Live: dir, Staging: kept.Old, Run: staging + ".run", Socket: socketDir(staging), BinDir: bin, OSUser: owner.Name}
	was, err := postgres.TablespaceLinks(kept.Old)
	if err != nil {
		return Place{}, err
	}
	now, err := postgres.TablespaceLinks(dir)
	if err != nil {
		return Place{}, err
	}
	recovered := map[string]bool{}
	for _, link := range now {
		recovered[filepath.Clean(link.Location)] = true
	}
	for _, link := range was {
		location := filepath.Clean(link.Location)
		if !recovered[location] {
			continue // the recovery did not know it, and left it where it was
		}
		space, err := target.Undoable(location, of)
		if err != nil {
			return Place{}, err
		}
		place.Tablespaces = append(place.Tablespaces, TablespacePlace{OID: link.OID, Live: location, Staging: space.Old})
	}
	return place, nil
}

// kept looks at the directory that the recovery replaced, as it lies aside.
func (j *job) kept(ctx context.Context, place Place) (postgres.Control, error) {
	control, err := postgres.ReadControl(ctx, place.BinDir, place.Staging)
	if err != nil {
		return control, err
	}
	found, err := postgres.CheckDirectory(ctx, place.BinDir, place.Live, control.SystemID)
	if err != nil {
		return control, err
	}
	refused := func(why string) error {
		return fault.Newf(fault.TargetRefused, "undo recovery of", j.database.Name, "%s %s", place.Staging, why)
	}
	switch {
	case !found:
		return control, fault.Newf(fault.TargetRefused, "undo recovery of", j.database.Name, "%s holds no cluster any more", place.Live).
			WithHint("what is lost since the recovery comes back by another one: lifeboat recover database %s", j.database.Name)
	case control.Standby():
		return control, refused("is that of a standby, which has written nothing of its own")
	case postgres.Running(place.Staging):
		return control, refused("has a server running in it")
	}
	return control, postgres.CheckUnfenced(place.Staging)
}

// newest is the newest timeline of all: the archive's, or that of the server which
// the recovery has put in place. It fails with TargetRefused when a number between
// is free, which a promotion would take: the archive would go on with another.
func (j *job) newest(ctx context.Context, archive *wal.Archive, place Place, systemID string, from uint32) (uint32, error) {
	leading, _, err := archive.Leading(ctx, systemID)
	if err != nil {
		return 0, err
	}
	control, err := postgres.ReadControl(ctx, place.BinDir, place.Live)
	if err != nil {
		return 0, err
	}
	now, _ := control.Reached()
	newest := max(leading.Timeline, now, from)
	for timeline := from + 1; timeline <= newest; timeline++ {
		name := postgres.HistoryName(timeline)
		if _, err := os.Stat(filepath.Join(place.Live, "pg_wal", name)); err == nil {
			continue
		}
		held, err := archive.Holds(ctx, systemID, name)
		if err != nil {
			return 0, err
		}
		if !held {
			return 0, fault.Newf(fault.TargetRefused, "undo recovery of", j.database.Name, "nothing tells of timeline %d, and the newest is %d", timeline, newest).
				WithHint("look for %s in pg_wal of a server of this cluster and push it: lifeboat wal-push pg_wal/%s", name, name)
		}
	}
	return newest, nil
}

// UndoCutOver puts the directories back that a recovery replaced, keeps those that
// it had put in place, lets the old server archive again, and starts it through its
// service: as a standby that has all its own WAL, for Promote to give it a timeline
// that is newer than any of the archive. So the next recovery follows it, and not
// what was undone. From its first rename on the only way is forward; calling it
// again goes on.
func (a *Activities) UndoCutOver(ctx context.Context, in UndoCutOverInput) (result UndoCutOverResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return UndoCutOverResult{}, err
	}
	archive, err := j.archive(ctx)
	if err != nil {
		return UndoCutOverResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
		defer stop()
		result, err = j.undoCutOver(ctx, archive, in)
		return err
	})
	return result, err
}

func (j *job) undoCutOver(ctx context.Context, archive *wal.Archive, in UndoCutOverInput) (UndoCutOverResult, error) {
	service, err := j.service()
	if err != nil {
		return UndoCutOverResult{}, err
	}
	result := UndoCutOverResult{Live: in.Place.Live}
	begun, err := target.UndoBegun(in.Place.Live, j.ref.RunID)
	if err != nil {
		return result, err
	}
	if !begun && !swapped(in.Place) { // once it has begun, all of this was done, and the directory may be at neither place
		if result.Note, err = j.prepareUndo(ctx, archive, in); err != nil {
			return result, err
		}
	}
	// The recovered server is held from here on, whoever starts it.
	if err := archive.Claim(ctx, in.SystemID, in.Place.now()); err != nil {
		return result, err
	}

	// ---- Below this line production changes. ----
	for _, space := range in.Place.Tablespaces {
		moved, err := target.Undo(ctx, target.UndoRequest{Current: space.Live, Of: in.Of, Run: j.ref.RunID})
		if err != nil {
			return result, err
		}
		result.Kept = append(result.Kept, moved.Old)
	}
	moved, err := target.Undo(ctx, target.UndoRequest{Current: in.Place.Live, Of: in.Of, Run: j.ref.RunID, Exclusive: true})
	if err != nil {
		return result, err
	}
	result.Kept = append(result.Kept, moved.Old)
	// Outside of the data directory, client authentication is the old server's too.
	if _, err := postgres.LowerFence(ctx, in.Place.fence()); err != nil {
		return result, err
	}
	return result, j.open(ctx, service, CutOverInput{
		Ref: in.Ref, Place: in.Place, Facts: Facts{SystemID: in.SystemID, SegmentSize: in.SegmentSize}, LSN: in.LSN, Timeline: in.Timeline,
	})
}

// prepareUndo is all that comes before the first rename of the data directory.
func (j *job) prepareUndo(ctx context.Context, archive *wal.Archive, in UndoCutOverInput) (note string, err error) {
	if _, err := j.stop(ctx, in.Place); err != nil {
		return "", err
	}
	if note, err = j.farewell(ctx, archive, in); err != nil {
		return note, err
	}
	if err := j.revive(ctx, archive, in); err != nil {
		return note, err
	}
	// A clean-up may have come since the preflight: a tablespace that is gone stops it here.
	for _, space := range in.Place.Tablespaces {
		begun, err := target.UndoBegun(space.Live, j.ref.RunID)
		if err != nil {
			return note, err
		}
		if begun {
			continue
		}
		if _, err := target.Undoable(space.Live, in.Of); err != nil {
			return note, err
		}
	}
	_, err = target.Undoable(in.Place.Live, in.Of)
	return note, err
}

// farewell archives what the recovered server has completed and not archived: its
// timeline can be gone back to. What can't be is told; the directory is kept.
func (j *job) farewell(ctx context.Context, archive *wal.Archive, in UndoCutOverInput) (note string, err error) {
	if _, err := archive.Salvage(ctx, in.Place.Live); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "not all WAL of the recovered server could be archived, it is kept with its directory: " + string(fault.KindOf(err)), nil
	}
	return "", nil
}

// revive makes the directory that lies aside ready for its service: client
// authentication as it was, recovery along its own timeline, and every timeline's
// history, so that its promotion takes a number that no timeline has.
func (j *job) revive(ctx context.Context, archive *wal.Archive, in UndoCutOverInput) error {
	place := in.Place
	owner, err := place.owner()
	if err != nil {
		return err
	}
	control, err := j.kept(ctx, place)
	if err != nil {
		return err
	}
	if _, err := postgres.LowerKeptFence(place.Staging, owner); err != nil {
		return err
	}
	newest, err := j.newest(ctx, archive, place, in.SystemID, in.Timeline)
	if err != nil {
		return err
	}
	known := wal.Pin{Cluster: j.database.Cluster, SystemID: in.SystemID, SegmentSize: in.SegmentSize, Newest: newest}
	for timeline := uint32(2); timeline <= newest; timeline++ {
		if err := j.carryHistory(ctx, archive, known, place, timeline, owner); err != nil {
			return err
		}
	}
	return postgres.Handover(place.Staging, owner, control, in.Timeline, postgres.Goal{}, "")
}

// carryHistory puts a timeline's history into the kept pg_wal: the recovered
// server's, or else the archive's. A number that was never used has none.
func (j *job) carryHistory(ctx context.Context, archive *wal.Archive, known wal.Pin, place Place, timeline uint32, owner postgres.Account) error {
	name := postgres.HistoryName(timeline)
	path := filepath.Join(place.Staging, "pg_wal", name)
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	body, err := os.ReadFile(filepath.Join(place.Live, "pg_wal", name))
	if err == nil {
		return owner.PlaceFile(path, body)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.PathFailed, "read", filepath.Join(place.Live, "pg_wal", name), err)
	}
	if err := archive.Fetch(ctx, known, name, path); fault.Has(err, fault.WALEnd) {
		return nil
	} else if err != nil {
		return err
	}
	return owner.Own(path)
}
