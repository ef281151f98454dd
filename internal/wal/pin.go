package wal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
)

// Pin says which WAL a recovery replays: every segment from Start to End was in
// the archive when it was made. It is written beside the staged data directory,
// where restore_command reads it.
type Pin struct {
	Cluster     string   `json:"cluster"`
	SystemID    string   `json:"system_id"`
	Timeline    uint32   `json:"timeline"` // recovery_target_timeline
	Newest      uint32   `json:"newest"`   // newest timeline in the archive; a promotion makes one after it
	SegmentSize int64    `json:"segment_size"`
	History     []Branch `json:"history"`            // the way to Timeline, oldest first
	Salvaged    []uint32 `json:"salvaged,omitempty"` // timelines on the way that Follow added: their histories lie in pg_wal
	Start       string   `json:"start"`              // names of segments
	End         string   `json:"end"`
	Hole        *Hole    `json:"hole,omitempty"` // why it ends where it does; nil: there is no more
}

// Hole is a segment that is missing although later ones are there.
type Hole struct {
	Missing string `json:"missing"` // key
	Later   int    `json:"later"`   // segments behind it, of no use without it
}

// Last is the segment that ends the pin.
func (p Pin) Last() (postgres.Segment, error) { return postgres.ParseSegment(p.End, p.SegmentSize) }

// EndLSN is the position after the pin's last byte.
func (p Pin) EndLSN() (postgres.LSN, error) {
	last, err := p.Last()
	return last.End(p.SegmentSize), err
}

// Reaches says, with WALShort, when the pin ends before a position, such as the
// end of the base backup without which its copy is not consistent.
func (p Pin) Reaches(lsn postgres.LSN) error {
	end, err := p.EndLSN()
	if err != nil {
		return err
	}
	if end < lsn {
		return fault.Newf(fault.WALShort, "pin WAL", p.End, "the archive ends at %s, and %s is needed", end, lsn).
			WithHint("the WAL up to the end of the backup was never archived: recover from an older backup")
	}
	return nil
}

// Segments is how many segments the pin has.
func (p Pin) Segments() (int, error) {
	first, err := postgres.ParseSegment(p.Start, p.SegmentSize)
	if err != nil {
		return 0, err
	}
	last, err := p.Last()
	return int(last.Number-first.Number) + 1, err
}

// Names lists the pin's segments from the one that holds a position to the last.
func (p Pin) Names(from postgres.LSN) ([]string, error) {
	last, err := p.Last()
	if err != nil {
		return nil, err
	}
	var names []string
	for number := uint64(from) / uint64(p.SegmentSize); number <= last.Number; number++ {
		names = append(names, p.At(number).Name(p.SegmentSize))
	}
	return names, nil
}

// At is the segment with this number on the pin's way: of the newest timeline
// that begins in or before it, as PostgreSQL looks (XLogFileReadAnyTLI).
func (p Pin) At(number uint64) postgres.Segment {
	for _, branch := range slices.Backward(p.History) {
		if uint64(branch.Begin)/uint64(p.SegmentSize) <= number {
			return postgres.Segment{Timeline: branch.Timeline, Number: number}
		}
	}
	return postgres.Segment{Number: number}
}

// Write puts the pin into a file, whole or not at all.
func (p Pin) Write(path string) error {
	body, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fault.New(fault.InputInvalid, "write pin", path, err)
	}
	return writeFile("write pin", path, append(body, '\n'), 0o644)
}

// ReadPin reads what Write wrote.
func ReadPin(path string) (Pin, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return Pin{}, fault.New(fault.PathFailed, "read pin", path, err)
	}
	var p Pin
	if err := json.Unmarshal(body, &p); err != nil {
		return Pin{}, fault.New(fault.PathFailed, "read pin", path, err)
	}
	if !postgres.ValidSegmentSize(p.SegmentSize) || len(p.History) == 0 || p.Timeline == 0 {
		return Pin{}, fault.Newf(fault.PathFailed, "read pin", path, "it is not complete")
	}
	return p, checkSystemID("read pin", p.SystemID)
}

// writeFile writes beside and renames, on disk when it returns.
func writeFile(op, path string, body []byte, mode os.FileMode) error {
	beside := path + ".lifeboat" // always the same: a killed attempt leaves nothing for good
	err := func() error {
		file, err := create(beside, mode)
		if err != nil {
			return err
		}
		_, err = file.Write(body)
		if err == nil {
			err = file.Sync()
		}
		if closing := file.Close(); err == nil {
			err = closing
		}
		if err == nil {
			err = os.Rename(beside, path)
		}
		return err
	}()
	if err != nil {
		return fault.New(fault.PathFailed, op, path, err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = folder.Sync()
		if closing := folder.Close(); err == nil {
			err = closing
		}
	}
	if err != nil {
		return fault.New(fault.PathFailed, op, path, err)
	}
	return nil
}

// create makes a file that is new: what a killed attempt left is removed, and so
// is a link, which the server's account may plant where a worker that is root writes.
func create(path string, mode os.FileMode) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
}

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
