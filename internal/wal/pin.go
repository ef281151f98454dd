package wal

import (
	"context"
	"fmt"
	"slices"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
)

// Pin finds the WAL from a point, the start of a base backup, to the end of what
// primary and replica hold together, along the newest timeline that was forked
// off behind the point, or along the one that the point is to go by. What only the replica holds of it is told as a fallback.
// A segment that is missing although later ones are there, no WAL at all, and a
// timeline without its history are a WALGap that names the file. In a store that is
// read alone, as its region is all that is left, and along a timeline that is
// named, as a point before its end is wanted, the pin ends before such a hole and says so.
func (a *Archive) Pin(ctx context.Context, from Point) (Pin, error) {
	from, err := from.checked("pin WAL")
	if err != nil {
		return Pin{}, err
	}
	both := a.both()
	list := both.list
	timelines, err := a.timelines(ctx, list, from.SystemID)
	if err != nil {
		return Pin{}, err
	}
	way, err := a.way(ctx, list, from, timelines)
	if err != nil {
		return Pin{}, err
	}
	if from.Along != 0 && way[len(way)-1].Timeline != from.Along {
		return Pin{}, fault.Newf(fault.WALGap, "pin WAL", a.key(from.SystemID, postgres.HistoryName(from.Along)), "timeline %d does not come from %s on timeline %d", from.Along, from.LSN, from.Timeline).
			WithHint("choose another backup: lifeboat window database")
	}
	start := from.segment()
	pin := Pin{
		Cluster: a.cfg.Cluster, SystemID: from.SystemID, SegmentSize: from.SegmentSize,
		History: way, Start: start.Name(from.SegmentSize), Newest: way[len(way)-1].Timeline,
	}
	if len(timelines) > 0 {
		pin.Newest = max(pin.Newest, timelines[len(timelines)-1])
	}
	numbers, err := a.numbers(ctx, list, pin, start)
	if err != nil {
		return Pin{}, err
	}
	next := start.Number
	for _, number := range numbers {
		if number != next {
			break
		}
		next++
	}
	if count := int(next - start.Number); count == 0 || count < len(numbers) {
		missing := a.key(from.SystemID, pin.At(next).Name(from.SegmentSize))
		if len(numbers) == 0 {
			return Pin{}, fault.Newf(fault.WALGap, "pin WAL", missing, "nothing from here on was archived")
		}
		pin.Hole = &Hole{Missing: missing, Later: len(numbers) - count}
		switch {
		case count == 0:
			return Pin{}, fault.Newf(fault.WALGap, "pin WAL", missing, "%d later segments are there", pin.Hole.Later)
		case a.cfg.Home == "" && from.Along == 0:
			unbroken := pin.At(next - 1)
			return Pin{}, fault.Newf(fault.WALGap, "pin WAL", missing, "the archive is unbroken to %s, and %d later segments are there", unbroken.End(from.SegmentSize), pin.Hole.Later).
				WithHint("look for the segment in pg_wal of a server of this cluster and push it; when it is lost, a recovery from one store alone goes as far as the hole: --from STORE")
		}
	}
	last := pin.At(next - 1)
	pin.End, pin.Timeline = last.Name(from.SegmentSize), last.Timeline
	pin.History = slices.DeleteFunc(way, func(b Branch) bool { return b.Timeline > last.Timeline })
	both.tell(pin, start.Number, last.Number)
	return pin, nil
}

// way is the history of the newest timeline that descends from the point.
func (a *Archive) way(ctx context.Context, list listing, from Point, timelines []uint32) ([]Branch, error) {
	for _, timeline := range slices.Backward(timelines) {
		if timeline < from.Timeline || timeline == 1 || from.Along != 0 && timeline != from.Along {
			continue
		}
		key := a.key(from.SystemID, postgres.HistoryName(timeline))
		body, err := a.cfg.Vault.GetSealed(ctx, key)
		if fault.Has(err, fault.ObjectMissing) {
			return nil, a.lostHistory(ctx, list, from.SystemID, timeline, key)
		}
		if err != nil {
			return nil, err
		}
		way, err := parseHistory(timeline, body)
		if err != nil {
			return nil, fault.New(fault.IntegrityError, "read timeline history", key, err)
		}
		if descends(way, from.Timeline, from.LSN) {
			return way, nil
		}
	}
	if from.Timeline != 1 {
		return nil, fault.Newf(fault.WALGap, "pin WAL", a.key(from.SystemID, postgres.HistoryName(from.Timeline)), "the timeline history of the backup is missing")
	}
	return []Branch{{Timeline: 1}}, nil
}

func (a *Archive) lostHistory(ctx context.Context, list listing, systemID string, timeline uint32, key string) error {
	infos, err := list(ctx, a.folder(systemID, timeline), store.ListOptions{})
	if err != nil {
		return err
	}
	return fault.Newf(fault.WALGap, "pin WAL", key, "%d files of this timeline are there, but not where it was forked off", len(infos)).
		WithHint("look for %s in pg_wal of a server of this cluster and push it: lifeboat wal-push pg_wal/%s", postgres.HistoryName(timeline), postgres.HistoryName(timeline))
}

// numbers lists, in order, which segments of the pin's way from start on are there.
func (a *Archive) numbers(ctx context.Context, list listing, pin Pin, start postgres.Segment) ([]uint64, error) {
	var found []uint64
	for _, branch := range pin.History {
		if branch.Timeline < pin.At(start.Number).Timeline {
			continue
		}
		options := store.ListOptions{}
		if start.Number > 0 { // history files sort before segments and are not wanted here
			options.StartAfter = postgres.Segment{Timeline: branch.Timeline, Number: start.Number - 1}.Name(pin.SegmentSize)
		}
		infos, err := list(ctx, a.folder(pin.SystemID, branch.Timeline), options)
		if err != nil {
			return nil, err
		}
		for _, info := range infos {
			if !postgres.IsSegment(info.Key) {
				continue
			}
			segment, err := postgres.ParseSegment(info.Key, pin.SegmentSize)
			if err != nil {
				return nil, fault.New(fault.IntegrityError, "list WAL archive", a.folder(pin.SystemID, branch.Timeline)+info.Key, fmt.Errorf("not a segment of %d bytes", pin.SegmentSize))
			}
			if segment.Number >= start.Number && pin.At(segment.Number) == segment {
				found = append(found, segment.Number)
			}
		}
	}
	slices.Sort(found)
	return found, nil
}
