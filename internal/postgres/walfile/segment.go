package walfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
)

// Segment sizes that initdb --wal-segsize allows, in bytes.
const (
	DefaultSegmentSize = 16 << 20
	minSegmentSize     = 1 << 20
	maxSegmentSize     = 1 << 30
)

// NameLength is the length of a segment's file name: "000000010000000000000003".
const NameLength = 24

// Segment is one WAL file of a timeline: the Number-th of its size, counted
// from the start of all WAL.
type Segment struct {
	Timeline uint32
	Number   uint64
}

// ValidSegmentSize says whether a server can have been made with segments of size bytes.
func ValidSegmentSize(size int64) bool {
	return size >= minSegmentSize && size <= maxSegmentSize && size&(size-1) == 0
}

// SegmentAt is the segment of size bytes that holds the byte at lsn.
func SegmentAt(timeline uint32, lsn LSN, size int64) Segment {
	return Segment{Timeline: timeline, Number: uint64(lsn) / uint64(size)}
}

// SegmentBefore is the segment that holds the last byte before lsn: the one
// that must be there for replay to reach lsn (XLByteToPrevSeg).
func SegmentBefore(timeline uint32, lsn LSN, size int64) Segment {
	if lsn == 0 {
		return Segment{Timeline: timeline}
	}
	return SegmentAt(timeline, lsn-1, size)
}

// SegmentName is the file name of the segment that holds the byte at lsn.
func SegmentName(timeline uint32, lsn LSN, size int64) string {
	return SegmentAt(timeline, lsn, size).Name(size)
}

// ParseSegment reads a segment's file name, of a server whose segments have size bytes.
func ParseSegment(name string, size int64) (Segment, error) {
	if !IsSegment(name) {
		return Segment{}, fault.Newf(fault.InputInvalid, "read WAL segment name", strconv.Quote(name), "it is not 24 hexadecimal digits")
	}
	timeline, err := strconv.ParseUint(name[:8], 16, 32)
	if err != nil {
		return Segment{}, fault.New(fault.InputInvalid, "read WAL segment name", strconv.Quote(name), err)
	}
	high, err := strconv.ParseUint(name[8:16], 16, 32)
	if err != nil {
		return Segment{}, fault.New(fault.InputInvalid, "read WAL segment name", strconv.Quote(name), err)
	}
	low, err := strconv.ParseUint(name[16:], 16, 32)
	if err != nil {
		return Segment{}, fault.New(fault.InputInvalid, "read WAL segment name", strconv.Quote(name), err)
	}
	if low >= perLogicalFile(size) {
		return Segment{}, fault.Newf(fault.InputInvalid, "read WAL segment name", strconv.Quote(name),
			"no such segment when segments have %d bytes", size)
	}
	return Segment{Timeline: uint32(timeline), Number: high*perLogicalFile(size) + low}, nil
}

// Name is the segment's file name (XLogFileName).
func (s Segment) Name(size int64) string {
	per := perLogicalFile(size)
	return fmt.Sprintf("%08X%08X%08X", s.Timeline, s.Number/per, s.Number%per)
}

// Start is the position of the segment's first byte.
func (s Segment) Start(size int64) LSN { return LSN(s.Number * uint64(size)) }

// End is the position after the segment's last byte.
func (s Segment) End(size int64) LSN { return LSN((s.Number + 1) * uint64(size)) }

// Next is the segment that follows on the same timeline.
func (s Segment) Next() Segment { return Segment{Timeline: s.Timeline, Number: s.Number + 1} }

// IsSegment says whether name is that of a whole WAL segment.
func IsSegment(name string) bool { return len(name) == NameLength && isHex(name) }

// IsPartial says whether name is that of the last, unfinished segment of a
// timeline that was left by a promotion: "000000010000000000000003.partial".
func IsPartial(name string) bool {
	base, found := strings.CutSuffix(name, ".partial")
	return found && IsSegment(base)
}

// IsBackupLabel says whether name is that of a backup history file:
// "000000010000000000000003.00000028.backup".
func IsBackupLabel(name string) bool {
	base, found := strings.CutSuffix(name, ".backup")
	if !found || len(base) != NameLength+9 || base[NameLength] != '.' {
		return false
	}
	return IsSegment(base[:NameLength]) && isHex(base[NameLength+1:])
}

// IsHistory says whether name is that of a timeline history file: "00000002.history".
func IsHistory(name string) bool {
	base, found := strings.CutSuffix(name, ".history")
	return found && len(base) == 8 && isHex(base)
}

// HistoryName is the name of the history file of a timeline.
func HistoryName(timeline uint32) string { return fmt.Sprintf("%08X.history", timeline) }

// ParseHistoryName reads the timeline out of the name of its history file.
func ParseHistoryName(name string) (uint32, error) {
	if !IsHistory(name) {
		return 0, fault.Newf(fault.InputInvalid, "read timeline history name", strconv.Quote(name), "it is not 8 hexadecimal digits and .history")
	}
	timeline, err := strconv.ParseUint(name[:8], 16, 32)
	if err != nil {
		return 0, fault.New(fault.InputInvalid, "read timeline history name", strconv.Quote(name), err)
	}
	return uint32(timeline), nil
}

// perLogicalFile is how many segments the low 32 bits of a position are cut into.
func perLogicalFile(size int64) uint64 { return (1 << 32) / uint64(size) }

// isHex says whether text is upper-case hexadecimal, as PostgreSQL writes it.
func isHex(text string) bool {
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return text != ""
}
