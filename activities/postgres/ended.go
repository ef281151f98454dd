package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/wal"
)

// ended is how the old server lay when its last WAL was taken. Whoever starts it
// after that changes one of these: a start from a clean end sets the state, one
// after a crash ends with a checkpoint.
type ended struct {
	State      string       `json:"state"`
	Checkpoint postgres.LSN `json:"checkpoint"`
	Timeline   uint32       `json:"timeline"`
}

// ended reads how the old server lies; found is false when it has no directory.
func (j *job) ended(ctx context.Context, place Place, systemID string) (e ended, found bool, err error) {
	found, err = postgres.CheckDirectory(ctx, place.BinDir, place.Live, systemID)
	if err != nil || !found {
		return ended{}, false, err
	}
	control, err := postgres.ReadControl(ctx, place.BinDir, place.Live)
	return ended{State: control.State, Checkpoint: control.Checkpoint, Timeline: control.Timeline}, true, err
}

func (e ended) remember(place Place) error { return writeRun(place, place.ended(), e) }

// moved says whether the old server has run since its last WAL was taken. A
// sandbox has none: what lies there is of an earlier drill, and no WAL of it may
// get anywhere.
func (j *job) moved(ctx context.Context, in CutOverInput) (bool, error) {
	if j.sandboxed() {
		return false, nil
	}
	now, found, err := j.ended(ctx, in.Place, in.Facts.SystemID)
	if err != nil || !found {
		return false, err
	}
	var then ended
	known, err := readRun(in.Place.ended(), &then)
	return !known || now != then, err
}

// catchUp brings over what the old server wrote since its last WAL was taken. It
// fails with TargetRefused when that is not possible, before anything is renamed.
func (j *job) catchUp(ctx context.Context, archive *wal.Archive, in CutOverInput) error {
	now, _, err := j.ended(ctx, in.Place, in.Facts.SystemID)
	if err != nil {
		return err
	}
	if _, err := j.salvage(ctx, archive, SalvageWALInput{Ref: in.Ref, Place: in.Place, Facts: in.Facts}); err != nil {
		return err
	}
	if j.ref.Goal != nil {
		return now.remember(in.Place) // what it wrote comes after the point
	}
	replayed, err := j.replayTo(ctx, archive, ReplayInput{Ref: in.Ref, Place: in.Place, Facts: in.Facts})
	if err != nil {
		return err
	}
	if now.Timeline != replayed.Timeline || now.Checkpoint > replayed.LSN {
		return fault.Newf(fault.TargetRefused, "cut over", in.Place.Live, "the old server was started again and wrote to %s on timeline %d, which could be replayed to %s on timeline %d only",
			now.Checkpoint, now.Timeline, replayed.LSN, replayed.Timeline).
			WithHint("look at what it holds; to give that up, move %s away, and the recovery goes on by itself", in.Place.Live)
	}
	replayed.Fallbacks = j.fellBack()
	if err := writeRun(in.Place, in.Place.caughtUp(), replayed); err != nil {
		return err
	}
	return now.remember(in.Place)
}

// readCaughtUp gives what catchUp of this or an earlier attempt replayed; nil: there was nothing.
func (p Place) readCaughtUp() (*ReplayResult, error) {
	var replayed ReplayResult
	found, err := readRun(p.caughtUp(), &replayed)
	if err != nil || !found {
		return nil, err
	}
	return &replayed, nil
}

// writeRun keeps a fact of the run for its later steps and attempts.
func writeRun(place Place, path string, fact any) error {
	owner, err := place.owner()
	if err != nil {
		return err
	}
	body, err := json.Marshal(fact)
	if err != nil {
		return fault.New(fault.PathFailed, "write", path, err)
	}
	return owner.PlaceFile(path, body)
}

func readRun(path string, fact any) (found bool, err error) {
	body, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(body, fact)
	}
	if err != nil {
		return false, fault.New(fault.PathFailed, "read", path, err)
	}
	return true, nil
}
