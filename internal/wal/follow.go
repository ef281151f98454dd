package wal

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
)

// Old is the data directory that a recovery is going to replace.
type Old struct {
	DataDir  string
	Timeline uint32       // that it is on
	At       postgres.LSN // a position that it has reached there
	Standby  bool         // it has written nothing of its own
	Clean    bool         // it was shut down: nothing follows At
}

// Follow leads a pin on to the timeline of the old data directory, when that was
// promoted and its WAL never archived, as that of a standby is after a failover.
// The pin then ends before the fork: what follows is not in the archive, and must
// be salvaged. A pin that reaches the old timeline already is given back as it is.
//
// It fails with TargetRefused when the old directory has gone another way than
// the archive, or than the backup whose end is at stop: the recovery would
// lose what it holds.
func (a *Archive) Follow(ctx context.Context, pin Pin, stop Point, old Old) (Pin, error) {
	way, err := old.way(pin)
	if err != nil {
		return Pin{}, err
	}
	shared := min(len(way), len(pin.History))
	switch {
	case !slices.Equal(way[:shared], pin.History[:shared]):
		return Pin{}, old.refused("its timeline %d was forked off at %s, the archive goes on with timeline %d from %s",
			old.Timeline, way[len(way)-1].Begin, pin.Timeline, pin.History[len(pin.History)-1].Begin)
	case len(way) == len(pin.History):
		return pin, nil
	case len(way) < len(pin.History):
		left := pin.History[len(way)]
		if old.Standby || old.Clean && old.At < left.Begin {
			return pin, nil
		}
		return Pin{}, old.refused("it is on timeline %d, which the archive left for timeline %d at %s: it was replaced then, and may have been written to since",
			old.Timeline, left.Timeline, left.Begin)
	case !descends(way, stop.Timeline, stop.LSN):
		return Pin{}, old.refused("its timeline %d was forked off at %s, before the backup's end at %s on timeline %d",
			old.Timeline, way[len(way)-1].Begin, stop.LSN, stop.Timeline)
	}
	for _, branch := range way[shared:] {
		if err := a.unclaimed(ctx, pin, old, way, branch.Timeline); err != nil {
			return Pin{}, err
		}
		pin.Salvaged = append(pin.Salvaged, branch.Timeline)
	}
	last, err := pin.Last()
	if err != nil {
		return Pin{}, err
	}
	fork := uint64(way[shared].Begin) / uint64(pin.SegmentSize)
	pin.History, pin.Timeline, pin.Newest = way, old.Timeline, max(pin.Newest, old.Timeline)
	// The segment of the fork is the new timeline's, even where the archive holds it of the old one.
	pin.End = pin.At(min(last.Number, fork-1)).Name(pin.SegmentSize)
	return pin, nil
}

// way is how the old directory came to its timeline, by its own history file.
func (o Old) way(pin Pin) ([]Branch, error) {
	if o.Timeline == 1 {
		return []Branch{{Timeline: 1}}, nil
	}
	path := filepath.Join(o.DataDir, "pg_wal", postgres.HistoryName(o.Timeline))
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		for i, branch := range pin.History {
			if branch.Timeline == o.Timeline {
				return pin.History[:i+1], nil
			}
		}
		return nil, o.refused("it is on timeline %d, and neither %s nor the archive tells where that was forked off", o.Timeline, path)
	}
	if err != nil {
		return nil, fault.New(fault.PathFailed, "read timeline history", path, err)
	}
	way, err := parseHistory(o.Timeline, body)
	if err != nil {
		return nil, o.refused("%s can't be read: %w", path, err)
	}
	return way, nil
}

// unclaimed refuses a timeline whose number stands for another one in the archive.
func (a *Archive) unclaimed(ctx context.Context, pin Pin, old Old, way []Branch, timeline uint32) error {
	if timeline > pin.Newest {
		return nil
	}
	key := a.key(pin.SystemID, postgres.HistoryName(timeline))
	body, err := a.cfg.Vault.GetSealed(ctx, key)
	if fault.Has(err, fault.ObjectMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	archived, err := parseHistory(timeline, body)
	if err != nil {
		return fault.New(fault.IntegrityError, "read timeline history", key, err)
	}
	if len(archived) > len(way) || !slices.Equal(archived, way[:len(archived)]) {
		return old.refused("its timeline %d is not the one that the archive holds under this number", timeline)
	}
	return nil
}

func (o Old) refused(format string, args ...any) error {
	return fault.Newf(fault.TargetRefused, "take over what was written to", o.DataDir, format, args...).
		WithHint("look at what it holds, and take a dump of it if you need that; to give it up, stop its server, move %s away, and start the recovery again", o.DataDir)
}
