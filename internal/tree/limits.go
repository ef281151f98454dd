package tree

import (
	"math"

	"github.com/frende/lifeboat/internal/fault"
)

// Limits bound what a table may ask of a host. Zero values take the defaults.
type Limits struct {
	Entries int   // most entries; default 20 million
	Bytes   int64 // most bytes to write; default: no bound, for the caller's preflight knows the disk
	Ratio   int64 // most bytes of files per stored byte, once files pass 1 TiB; default 100,000
}

// ratioFrom is the size of all files below which Ratio does not count: holes
// take no space, and a disk image with one block in it is no bomb.
const ratioFrom = 1 << 40

func (l Limits) withDefaults() Limits {
	if l.Entries == 0 {
		l.Entries = mostEntries
	}
	if l.Bytes == 0 {
		l.Bytes = math.MaxInt64
	}
	if l.Ratio == 0 {
		l.Ratio = 100_000
	}
	return l
}

// sums adds up what a table asks for and stops at the first limit that is passed.
type sums struct {
	limits Limits
	files  int64 // bytes of files, holes included
	stored int64 // bytes that lie in the stream
}

func (s *sums) add(e Entry) error {
	stored := e.Stored()
	if s.files > math.MaxInt64-e.Size || s.stored > math.MaxInt64-stored {
		return hostile(e.Path, "sizes add up to more than 64 bits hold")
	}
	s.files += e.Size
	s.stored += stored
	if s.stored > s.limits.Bytes {
		return hostile(e.Path, "contents pass the limit of %d bytes", s.limits.Bytes)
	}
	return nil
}

func (s *sums) ratio() error {
	if s.files < ratioFrom || s.files/s.limits.Ratio <= s.stored {
		return nil
	}
	return hostile("table of files", "%d bytes of files come from %d stored bytes: more than %d to 1", s.files, s.stored, s.limits.Ratio)
}

// hostile names an entry that must not be extracted. The name is quoted: it may
// hold anything.
func hostile(name, format string, args ...any) *fault.Error {
	return fault.Newf(fault.HostileArchive, "check entry", quote(name), format, args...)
}
