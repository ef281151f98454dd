package wal

import (
	"context"
	"slices"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/wal/local"
)

// Believed is what a server says of its archive. It has to be asked before the
// archive is looked at: what it completes meanwhile is no finding.
type Believed struct {
	Point                    // of the newest base backup: WAL before it is not asked for; LSN 0: there is none
	Timeline uint32          // that the server is on
	Archived string          // file that it believes it archived last (pg_stat_archiver); "": none
	Marks    []postgres.Mark // of what is still in its pg_wal
	Now      time.Time       // by its clock
}

// Examined is where an archive and a server disagree. All are names of segments, in order.
type Examined struct {
	Newest string   // in the archive, of the server's timeline; "": none
	Late   []string // complete for longer than they may be, and not there; the server has them, and goes on trying
	Denied []string // not there although the server believes so; they still are in its pg_wal
	Lost   []string // not there and no longer in pg_wal, although WAL behind them is, or the server believes so
}

// Examine holds the archive's primary store against what the server believes.
func (a *Archive) Examine(ctx context.Context, b Believed, late time.Duration) (Examined, error) {
	const op = "examine WAL archive"
	if err := local.CheckSystemID(op, b.SystemID); err != nil {
		return Examined{}, err
	}
	if !postgres.ValidSegmentSize(b.SegmentSize) || b.Timeline == 0 {
		return Examined{}, fault.Newf(fault.InputInvalid, op, b.SystemID, "timeline %d, segments of %d bytes", b.Timeline, b.SegmentSize)
	}
	first := uint64(b.LSN) / uint64(b.SegmentSize)
	marks := map[string]postgres.Mark{}
	for _, mark := range b.Marks {
		marks[mark.Name] = mark
	}
	var found Examined
	there := map[string]bool{}
	missing := map[string]bool{}
	timelines, err := a.timelines(ctx, a.primary, b.SystemID)
	if err != nil {
		return Examined{}, err
	}
	for _, timeline := range timelines {
		if timeline < b.Point.Timeline || timeline > b.Timeline {
			continue // before the backup, or of a recovery that was abandoned
		}
		numbers, err := a.held(ctx, b, timeline, first)
		if err != nil {
			return Examined{}, err
		}
		next := first
		if timeline != b.Point.Timeline && len(numbers) > 0 {
			next = numbers[0] // where it was forked off is in its history
		}
		for _, number := range numbers {
			for ; next < number && b.LSN > 0; next++ {
				missing[postgres.Segment{Timeline: timeline, Number: next}.Name(b.SegmentSize)] = true
			}
			next = number + 1
			name := postgres.Segment{Timeline: timeline, Number: number}.Name(b.SegmentSize)
			there[name] = true
			if timeline == b.Timeline {
				found.Newest = name
			}
		}
	}
	if err := b.claims(first, found.Newest, there, missing); err != nil {
		return Examined{}, err
	}
	for name := range missing {
		mark, kept := marks[name]
		switch {
		case !kept:
			found.Lost = append(found.Lost, name)
		case mark.Done:
			found.Denied = append(found.Denied, name)
		}
	}
	for _, mark := range b.Marks {
		if postgres.IsSegment(mark.Name) && !mark.Done && !there[mark.Name] && b.Now.Sub(mark.At) > late {
			found.Late = append(found.Late, mark.Name)
		}
	}
	slices.Sort(found.Late)
	slices.Sort(found.Denied)
	slices.Sort(found.Lost)
	return found, nil
}

// primary is a listing of the primary store alone.
func (a *Archive) primary(ctx context.Context, prefix string, o store.ListOptions) ([]store.Info, error) {
	return listIn(ctx, a.cfg.Vault.Store(), prefix, o)
}

// held lists which segments of a timeline, from a number on, are in the primary store.
func (a *Archive) held(ctx context.Context, b Believed, timeline uint32, first uint64) ([]uint64, error) {
	options := store.ListOptions{}
	if first > 0 {
		options.StartAfter = postgres.Segment{Timeline: timeline, Number: first - 1}.Name(b.SegmentSize)
	}
	infos, err := a.primary(ctx, a.folder(b.SystemID, timeline), options)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, info := range infos {
		if !postgres.IsSegment(info.Key) {
			continue
		}
		segment, err := postgres.ParseSegment(info.Key, b.SegmentSize)
		if err != nil {
			return nil, err
		}
		if segment.Number >= first {
			numbers = append(numbers, segment.Number)
		}
	}
	return numbers, nil
}

// claims adds to missing what the server believes to be archived and is not there:
// what is marked so, and all from behind the newest to the one it archived last.
func (b Believed) claims(first uint64, newest string, there, missing map[string]bool) error {
	for _, mark := range b.Marks {
		if !mark.Done || !postgres.IsSegment(mark.Name) || there[mark.Name] {
			continue
		}
		segment, err := postgres.ParseSegment(mark.Name, b.SegmentSize)
		if err != nil {
			return err
		}
		if segment.Number >= first && segment.Timeline >= b.Point.Timeline {
			missing[mark.Name] = true
		}
	}
	if !postgres.IsSegment(b.Archived) {
		return nil
	}
	last, err := postgres.ParseSegment(b.Archived, b.SegmentSize)
	if err != nil || last.Timeline != b.Timeline || last.Number < first {
		return err
	}
	next := last // without a backup or anything there, that one alone is believed
	if newest != "" {
		if next, err = postgres.ParseSegment(newest, b.SegmentSize); err != nil {
			return err
		}
		next = next.Next()
	} else if b.LSN > 0 && b.Point.Timeline == b.Timeline {
		next.Number = first
	}
	for ; next.Number <= last.Number; next = next.Next() {
		missing[next.Name(b.SegmentSize)] = true
	}
	return nil
}
