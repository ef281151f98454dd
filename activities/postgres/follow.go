package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/wal"
)

// way is the WAL that a recovery replays.
type way struct {
	wal.Pin
	until postgres.LSN // that the old server has reached on a timeline which the archive does not hold; 0: it holds it
}

// way finds the WAL of a recovery: what is archived and, where the old server was
// promoted in a failover and its WAL never archived, the way to its timeline. A
// recovery to a point ends in the archive: what the old server holds comes after it.
// It fails with TargetRefused when the old server has gone another way.
func (j *job) way(ctx context.Context, archive *wal.Archive, place Place, facts Facts) (way, error) {
	pinned, err := pin(ctx, archive, facts, j.ref)
	if err != nil || j.sandboxed() || j.ref.Until != "" || j.ref.Goal != nil {
		return way{Pin: pinned}, err
	}
	found, err := postgres.CheckDirectory(ctx, place.BinDir, place.Live, facts.SystemID)
	if err != nil || !found {
		return way{Pin: pinned}, err
	}
	control, err := postgres.ReadControl(ctx, place.BinDir, place.Live)
	if err != nil {
		return way{}, err
	}
	timeline, at := control.Reached()
	followed, err := archive.Follow(ctx, pinned, wal.Point{SystemID: facts.SystemID, Timeline: facts.Timeline, LSN: facts.StopLSN}, wal.Old{
		DataDir: place.Live, Timeline: timeline, At: at, Standby: control.Standby(), Clean: control.State == "shut down",
	})
	if err != nil {
		return way{}, err
	}
	w := way{Pin: followed}
	if followed.Timeline != pinned.Timeline {
		w.until = at
	}
	return w, nil
}

// bring copies what the archive lacks out of the old data directory to where the
// staged server finds it. On a timeline that the archive does not hold, a segment
// that is missing here is missing for good: it fails with WALGap.
func (w way) bring(ctx context.Context, place Place, facts Facts) ([]string, error) {
	last, err := w.Last()
	if err != nil {
		return nil, err
	}
	owner, err := place.owner()
	if err != nil {
		return nil, err
	}
	saved, err := postgres.Salvage(ctx, postgres.SalvageConfig{
		From: last.Number + 1, At: w.At, Histories: w.Salvaged, SegmentSize: facts.SegmentSize, SystemID: facts.SystemID,
		DataDir: place.Live, Staged: place.Staging, Owner: owner,
	})
	if err != nil || w.until == 0 {
		return saved, err
	}
	next := w.At(last.Number + 1 + uint64(len(saved)))
	if end := postgres.SegmentBefore(w.Timeline, w.until, facts.SegmentSize); next.Number <= end.Number {
		return saved, fault.Newf(fault.WALGap, "salvage WAL of", filepath.Join(place.Live, "pg_wal"),
			"%s is neither there nor in the archive, and the old server has written to %s on timeline %d", next.Name(facts.SegmentSize), w.until, w.Timeline).
			WithHint("look for it in pg_wal of the server that was primary before, and put it there; to give up what was written since, move %s away", place.Live)
	}
	return saved, nil
}

// checkStaged fails with TargetRefused when the staged server, which is ended to
// be given another timeline, has replayed more of an older one than the way has
// of it: the old server was promoted after the replay began.
func (w way) checkStaged(ctx context.Context, place Place) error {
	if _, err := os.Stat(place.pin()); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was replayed
	}
	before, err := wal.ReadPin(place.pin())
	if err != nil || before.Timeline == w.Timeline {
		return err
	}
	if err := postgres.StopInstance(ctx, place.Staging, place.Socket); err != nil {
		return err
	}
	control, err := postgres.ReadControl(ctx, place.BinDir, place.Staging)
	if err != nil {
		return err
	}
	timeline, at := control.Reached()
	for i, branch := range w.History[:len(w.History)-1] {
		if left := w.History[i+1].Begin; branch.Timeline == timeline && left < at {
			return fault.Newf(fault.TargetRefused, "replay in", place.Staging, "it was replayed to %s on timeline %d, and the old server is on timeline %d since %s",
				at, timeline, w.Timeline, left).
				WithHint("a failover came after the replay began: abort this recovery, and start it again")
		}
	}
	return nil
}

// archiveSalvaged has the archive hold what was salvaged, now that it is the
// restored directory's: the next recovery from the same backup goes the same
// way. The segment of lsn is archived by the timeline that begins in it.
func archiveSalvaged(ctx context.Context, archive *wal.Archive, place Place, facts Facts, lsn postgres.LSN) error {
	if swapped(place) {
		return nil
	}
	pinned, err := wal.ReadPin(place.pin())
	if err != nil {
		return err
	}
	last, err := pinned.Last()
	if err != nil {
		return err
	}
	var names []string
	for _, timeline := range pinned.Salvaged {
		names = append(names, postgres.HistoryName(timeline))
	}
	for number := last.Number + 1; number < postgres.SegmentAt(pinned.Timeline, lsn, facts.SegmentSize).Number; number++ {
		names = append(names, pinned.At(number).Name(facts.SegmentSize))
	}
	for _, name := range names {
		if err := archiveFrom(ctx, archive, name, place.Staging, place.Live, place.Staging); err != nil {
			return err
		}
	}
	return nil
}

// archiveFrom pushes a file of the first directory's pg_wal that has it, for the
// one that holds the archive.
func archiveFrom(ctx context.Context, archive *wal.Archive, name, holder string, dirs ...string) error {
	for _, dir := range dirs {
		path := filepath.Join(dir, "pg_wal", name)
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fault.New(fault.PathFailed, "look at", path, err)
		}
		return archive.Push(ctx, path, wal.PushOptions{DataDir: holder})
	}
	// Somebody took the old directory away since. The hole is named by whatever needs it.
	return nil
}
