package postgres

import "github.com/frende/lifeboat/internal/postgres/walfile"

// DefaultSegmentSize is that of initdb, in bytes.
const DefaultSegmentSize = walfile.DefaultSegmentSize

// LSN is a byte position in the WAL; see walfile.LSN.
type LSN = walfile.LSN

// Segment is one WAL file of a timeline; see walfile.Segment.
type Segment = walfile.Segment

// ParseLSN is walfile.ParseLSN.
func ParseLSN(text string) (LSN, error) { return walfile.ParseLSN(text) }

// ParseSegment is walfile.ParseSegment.
func ParseSegment(name string, size int64) (Segment, error) { return walfile.ParseSegment(name, size) }

// ParseHistoryName is walfile.ParseHistoryName.
func ParseHistoryName(name string) (uint32, error) { return walfile.ParseHistoryName(name) }

// ValidSegmentSize is walfile.ValidSegmentSize.
func ValidSegmentSize(size int64) bool { return walfile.ValidSegmentSize(size) }

// SegmentAt is walfile.SegmentAt.
func SegmentAt(timeline uint32, lsn LSN, size int64) Segment {
	return walfile.SegmentAt(timeline, lsn, size)
}

// SegmentBefore is walfile.SegmentBefore.
func SegmentBefore(timeline uint32, lsn LSN, size int64) Segment {
	return walfile.SegmentBefore(timeline, lsn, size)
}

// SegmentName is walfile.SegmentName.
func SegmentName(timeline uint32, lsn LSN, size int64) string {
	return walfile.SegmentName(timeline, lsn, size)
}

// HistoryName is walfile.HistoryName.
func HistoryName(timeline uint32) string { return walfile.HistoryName(timeline) }

// IsSegment is walfile.IsSegment.
func IsSegment(name string) bool { return walfile.IsSegment(name) }

// IsPartial is walfile.IsPartial.
func IsPartial(name string) bool { return walfile.IsPartial(name) }

// IsBackupLabel is walfile.IsBackupLabel.
func IsBackupLabel(name string) bool { return walfile.IsBackupLabel(name) }

// IsHistory is walfile.IsHistory.
func IsHistory(name string) bool { return walfile.IsHistory(name) }
