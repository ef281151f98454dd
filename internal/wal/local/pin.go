package local

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres/walfile"
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
func (p Pin) Last() (walfile.Segment, error) { return walfile.ParseSegment(p.End, p.SegmentSize) }

// EndLSN is the position after the pin's last byte.
func (p Pin) EndLSN() (walfile.LSN, error) {
	last, err := p.Last()
	return last.End(p.SegmentSize), err
}

// Reaches says, with WALShort, when the pin ends before a position, such as the
// end of the base backup without which its copy is not consistent.
func (p Pin) Reaches(lsn walfile.LSN) error {
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
	first, err := walfile.ParseSegment(p.Start, p.SegmentSize)
	if err != nil {
		return 0, err
	}
	last, err := p.Last()
	return int(last.Number-first.Number) + 1, err
}

// Names lists the pin's segments from the one that holds a position to the last.
func (p Pin) Names(from walfile.LSN) ([]string, error) {
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
func (p Pin) At(number uint64) walfile.Segment {
	for _, branch := range slices.Backward(p.History) {
		if uint64(branch.Begin)/uint64(p.SegmentSize) <= number {
			return walfile.Segment{Timeline: branch.Timeline, Number: number}
		}
	}
	return walfile.Segment{Number: number}
}

// Write puts the pin into a file, whole or not at all.
func (p Pin) Write(path string) error {
	body, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fault.New(fault.InputInvalid, "write pin", path, err)
	}
	return WriteFile("write pin", path, append(body, '\n'), 0o644)
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
	if !walfile.ValidSegmentSize(p.SegmentSize) || len(p.History) == 0 || p.Timeline == 0 {
		return Pin{}, fault.Newf(fault.PathFailed, "read pin", path, "it is not complete")
	}
	return p, CheckSystemID("read pin", p.SystemID)
}

// Branch is a timeline on the way of a recovery, and where it begins.
type Branch struct {
	Timeline uint32      `json:"timeline"`
	Begin    walfile.LSN `json:"begin"` // 0 for the first
}

// Admits says whether a recovery under the pin may have the segment: WALEnd past
// its end and where it goes another way, InputInvalid before that.
func (p Pin) Admits(name string) error {
	segment, err := walfile.ParseSegment(name, p.SegmentSize)
	if err != nil {
		return err
	}
	last, err := p.Last()
	if err != nil {
		return err
	}
	switch planned := p.At(segment.Number); {
	case segment.Number > last.Number:
		return fault.Newf(fault.WALEnd, "fetch WAL", name, "the pin ends with %s", p.End)
	case segment.Timeline > planned.Timeline: // the server goes on to the one that is planned
		return fault.Newf(fault.WALEnd, "fetch WAL", name, "the pin has %s in its place", planned.Name(p.SegmentSize))
	case segment.Timeline < planned.Timeline:
		return fault.Newf(fault.InputInvalid, "fetch WAL", name, "the pin has %s in its place", planned.Name(p.SegmentSize))
	}
	return nil
}

// CheckSystemID refuses what can't be a system identifier: it is part of keys.
func CheckSystemID(op, systemID string) error {
	if id, err := strconv.ParseUint(systemID, 10, 64); err != nil || id == 0 || strconv.FormatUint(id, 10) != systemID {
		return fault.Newf(fault.InputInvalid, op, strconv.Quote(systemID), "a system identifier is a decimal number of 64 bits")
	}
	return nil
}
