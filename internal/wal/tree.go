package wal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/wal/local"
)

// Line is a timeline of the archive and what it holds of it.
type Line struct {
	Timeline uint32    `json:"timeline"`
	Way      []Branch  `json:"way"`             // to it, oldest first
	Begun    time.Time `json:"begun,omitzero"`  // when it was promoted; zero: it is the first
	Bound    bool      `json:"bound,omitempty"` // Begun is no later than this: when its history was stored, by the store's clock
	Ranges   []Range   `json:"ranges,omitempty"`
}

// Fork is where the timeline begins; 0 for the first.
func (l Line) Fork() postgres.LSN { return l.Way[len(l.Way)-1].Begin }

// Passes says whether the timeline leads through a position of another, or is that one.
func (l Line) Passes(timeline uint32, at postgres.LSN) bool { return descends(l.Way, timeline, at) }

// Range is an unbroken row of segments of one timeline. What lies between two is missing.
type Range struct {
	First  string       `json:"first"` // names of segments
	Last   string       `json:"last"`
	Begin  postgres.LSN `json:"begin"`
	End    postgres.LSN `json:"end"`
	Stored time.Time    `json:"stored"` // when the last was stored, by the store's clock: no commit in it is later
}

// Tree gives the timelines of the archive, oldest first. One whose history is
// missing is a WALGap that names it: nobody knows where it was forked off.
func (a *Archive) Tree(ctx context.Context, systemID string, segmentSize int64) ([]Line, error) {
	if err := local.CheckSystemID("read timelines of", systemID); err != nil {
		return nil, err
	}
	list := a.both().list
	timelines, err := a.timelines(ctx, list, systemID)
	if err != nil {
		return nil, err
	}
	var lines []Line
	for _, timeline := range timelines {
		infos, err := list(ctx, a.folder(systemID, timeline), store.ListOptions{})
		if err != nil {
			return nil, err
		}
		line := Line{Timeline: timeline, Way: []Branch{{Timeline: 1}}}
		if line.Ranges, err = ranges(infos, segmentSize); err != nil {
			return nil, fault.New(fault.IntegrityError, "list WAL archive", a.folder(systemID, timeline), err)
		}
		if timeline > 1 {
			if err := a.ancestry(ctx, list, systemID, infos, &line, segmentSize); err != nil {
				return nil, err
			}
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// ancestry reads where a timeline comes from, and since when it is there: its
// first segment tells the time of the promotion, or else its history was stored
// soon after.
func (a *Archive) ancestry(ctx context.Context, list listing, systemID string, infos []store.Info, line *Line, segmentSize int64) error {
	name := postgres.HistoryName(line.Timeline)
	key := a.key(systemID, name)
	body, err := a.cfg.Vault.GetSealed(ctx, key)
	if fault.Has(err, fault.ObjectMissing) {
		return a.lostHistory(ctx, list, systemID, line.Timeline, key)
	}
	if err != nil {
		return err
	}
	if line.Way, err = parseHistory(line.Timeline, body); err != nil {
		return fault.New(fault.IntegrityError, "read timeline history", key, err)
	}
	at := slices.IndexFunc(infos, func(i store.Info) bool { return i.Key == name })
	if at >= 0 {
		line.Begun, line.Bound = infos[at].Modified.UTC(), true
	}
	first := postgres.SegmentName(line.Timeline, line.Fork(), segmentSize)
	if !slices.ContainsFunc(infos, func(i store.Info) bool { return i.Key == first }) {
		return nil
	}
	segment, err := a.stored(ctx, systemID, first)
	if err != nil {
		return err
	}
	if begun := postgres.ReadMoments(segment, line.Timeline).Begun; !begun.IsZero() {
		line.Begun, line.Bound = begun, false
	}
	return nil
}

// stored reads one segment and holds it against its name.
func (a *Archive) stored(ctx context.Context, systemID, name string) ([]byte, error) {
	key := a.key(systemID, name)
	body, err := a.cfg.Vault.GetSealed(ctx, key)
	if err != nil {
		return nil, err
	}
	if _, err := inspect(name, body); err != nil {
		return nil, fault.New(fault.IntegrityError, "read WAL", key, err)
	}
	return body, nil
}

// ranges are the unbroken rows among the segments of a timeline, in order.
func ranges(infos []store.Info, size int64) ([]Range, error) {
	var found []Range
	for _, info := range infos {
		if !postgres.IsSegment(info.Key) {
			continue
		}
		segment, err := postgres.ParseSegment(info.Key, size)
		if err != nil {
			return nil, fmt.Errorf("%s is not a segment of %d bytes", info.Key, size)
		}
		if n := len(found); n > 0 && found[n-1].End == segment.Start(size) {
			found[n-1].Last, found[n-1].End, found[n-1].Stored = info.Key, segment.End(size), info.Modified.UTC()
			continue
		}
		found = append(found, Range{First: info.Key, Last: info.Key, Begin: segment.Start(size), End: segment.End(size), Stored: info.Modified.UTC()})
	}
	return found, nil
}

// quiet is how many segments in which no transaction ended Last looks back over.
const quiet = 16

// Last gives when the last transaction of a pin ended: a recovery can stop at any
// time before it, and at none after it. Zero: none ended in the pin's last segments.
func (a *Archive) Last(ctx context.Context, pin Pin) (time.Time, error) {
	first, err := postgres.ParseSegment(pin.Start, pin.SegmentSize)
	if err != nil {
		return time.Time{}, err
	}
	last, err := pin.Last()
	if err != nil {
		return time.Time{}, err
	}
	for number, seen := last.Number, 0; number >= first.Number && seen < quiet; number, seen = number-1, seen+1 {
		body, err := a.stored(ctx, pin.SystemID, pin.At(number).Name(pin.SegmentSize))
		if err != nil {
			return time.Time{}, err
		}
		if m := postgres.ReadMoments(body, 0); !m.Last.IsZero() {
			return m.Last, nil
		}
		if number == 0 {
			break
		}
	}
	return time.Time{}, nil
}

// LineAt gives the timeline that was the cluster's at a time: the newest that had
// been begun by then. What an older one wrote after that is nobody's way.
func LineAt(lines []Line, at time.Time) Line {
	for _, line := range slices.Backward(lines) {
		if !line.Begun.After(at) {
			return line
		}
	}
	return lines[0]
}

// NewestLine gives the timeline that the archive goes on with.
func NewestLine(lines []Line) Line { return lines[len(lines)-1] }

// Describe tells a way: "1, from 0/5000148 on 2".
func (l Line) Describe() string {
	told := make([]string, 0, len(l.Way))
	for i, branch := range l.Way {
		if i == 0 {
			told = append(told, fmt.Sprint(branch.Timeline))
			continue
		}
		told = append(told, fmt.Sprintf("from %s on %d", branch.Begin, branch.Timeline))
	}
	return strings.Join(told, ", ")
}

// Leading gives the timeline that the archive goes on with, without what it holds
// of it; found is false when it holds none.
func (a *Archive) Leading(ctx context.Context, systemID string) (line Line, found bool, err error) {
	if err := local.CheckSystemID("find newest timeline of", systemID); err != nil {
		return Line{}, false, err
	}
	list := a.both().list
	timelines, err := a.timelines(ctx, list, systemID)
	if err != nil || len(timelines) == 0 {
		return Line{}, false, err
	}
	line = Line{Timeline: timelines[len(timelines)-1], Way: []Branch{{Timeline: 1}}}
	if line.Timeline > 1 {
		key := a.key(systemID, postgres.HistoryName(line.Timeline))
		body, err := a.cfg.Vault.GetSealed(ctx, key)
		if fault.Has(err, fault.ObjectMissing) {
			return Line{}, false, a.lostHistory(ctx, list, systemID, line.Timeline, key)
		}
		if err != nil {
			return Line{}, false, err
		}
		if line.Way, err = parseHistory(line.Timeline, body); err != nil {
			return Line{}, false, fault.New(fault.IntegrityError, "read timeline history", key, err)
		}
	}
	return line, true, nil
}
