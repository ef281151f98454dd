package tree

import (
	"cmp"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
)

// The kernel's own bounds for names (limits.h: NAME_MAX, PATH_MAX).
const (
	longestName = 255
	longestPath = 4095
)

// modeBits are the bits of Entry.Mode that mean something.
const modeBits = 0o7777

// span is a run of the stream that belongs to one file.
type span struct {
	start int64 // in the stream
	size  int64
	at    int64 // in the file
	entry int   // index in the table
}

// Check says whether a table can be extracted without harm: HostileArchive, with
// the entry's name, when it can't. A capture asks it of its own table, so that
// no backup is made that a restore would refuse.
func Check(c Config) error {
	_, err := check(c)
	return err
}

// check does what Check says and gives the files' runs in the order of the stream.
func check(c Config) ([]span, error) {
	limits := c.Limits.withDefaults()
	if len(c.Entries) > limits.Entries {
		return nil, hostile("table of files", "%d entries pass the limit of %d", len(c.Entries), limits.Entries)
	}
	kinds := make(map[string]Kind, len(c.Entries))
	total := sums{limits: limits}
	var spans []span
	for i, entry := range c.Entries {
		if err := checkEntry(entry); err != nil {
			return nil, err
		}
		if _, twice := kinds[entry.Path]; twice {
			return nil, hostile(entry.Path, "the path is listed twice")
		}
		kinds[entry.Path] = entry.Kind
		if entry.Kind != File {
			continue
		}
		if err := total.add(entry); err != nil {
			return nil, err
		}
		spans = appendSpans(spans, i, entry)
	}
	if err := total.ratio(); err != nil {
		return nil, err
	}
	if err := checkPlaces(c.Entries, kinds); err != nil {
		return nil, err
	}
	if err := checkLast(c, kinds); err != nil {
		return nil, err
	}
	return spans, checkSpans(c, spans)
}

func checkEntry(e Entry) error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	if e.Path == "." && e.Kind != Dir {
		return hostile(e.Path, "the root is not a directory")
	}
	if e.Mode&^modeBits != 0 {
		return hostile(e.Path, "mode %#o has unknown bits", e.Mode)
	}
	if e.Kind != File && (e.Size != 0 || e.Segments != nil) {
		return hostile(e.Path, "a %s has content", e.Kind)
	}
	switch e.Kind {
	case Dir:
		return nil
	case File:
		return checkContent(e)
	case Symlink:
		if e.Link == "" || len(e.Link) > longestPath || strings.ContainsRune(e.Link, 0) {
			return hostile(e.Path, "the link's target is no path")
		}
		return nil
	case Hardlink:
		return checkPath(e.Link)
	default:
		return hostile(e.Path, "a %s can't be restored", quote(string(e.Kind)))
	}
}

func checkPath(name string) error {
	switch {
	case name == "":
		return hostile(name, "the name is empty")
	case strings.ContainsRune(name, 0):
		return hostile(name, "the name holds a zero byte")
	case path.IsAbs(name):
		return hostile(name, "the path is absolute")
	case len(name) > longestPath:
		return hostile(name[:longestName], "the path is longer than %d bytes", longestPath)
	case path.Clean(name) != name:
		return hostile(name, "the path is not clean")
	case name == ".." || strings.HasPrefix(name, "../"):
		return hostile(name, "the path leaves the tree")
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > longestName {
			return hostile(part[:longestName], "the name is longer than %d bytes", longestName)
		}
	}
	return nil
}

func checkContent(e Entry) error {
	if e.Size < 0 || e.Offset < 0 {
		return hostile(e.Path, "the size or the place is negative")
	}
	end := int64(0)
	for _, segment := range e.Segments {
		if segment.Length <= 0 || segment.Offset < end || segment.Length > e.Size-segment.Offset {
			return hostile(e.Path, "the data runs are out of order or outside of the file")
		}
		end = segment.Offset + segment.Length
	}
	if e.Offset > math.MaxInt64-e.Stored() {
		return hostile(e.Path, "the content lies past the end of 64 bits")
	}
	return nil
}

// checkPlaces refuses entries that would be written through something that is
// not a directory, and hard links to anything but a file of this table.
func checkPlaces(entries []Entry, kinds map[string]Kind) error {
	sound := make(map[string]bool)
	for _, entry := range entries {
		if entry.Kind == Hardlink && kinds[entry.Link] != File {
			return hostile(entry.Path, "it is a hard link to %s, which is no file of this tree", quote(entry.Link))
		}
		for above := parent(entry.Path); above != "." && !sound[above]; above = parent(above) {
			if kind, listed := kinds[above]; listed && kind != Dir {
				return hostile(entry.Path, "it lies below %s, which is a %s", quote(above), kind)
			}
			sound[above] = true
		}
	}
	return nil
}

func checkLast(c Config, kinds map[string]Kind) error {
	last := c.Last
	if last == "" {
		return nil
	}
	if kinds[last] != File {
		return fault.Newf(fault.IntegrityError, "check entry", quote(last), "it is no file of this tree, and without it the tree can't be used")
	}
	if _, taken := kinds[partial(last)]; taken {
		return hostile(partial(last), "the name is reserved")
	}
	for _, entry := range c.Entries {
		if entry.Kind == Hardlink && entry.Link == last {
			return hostile(entry.Path, "it is another name of %s, which is to come last", quote(last))
		}
	}
	return nil
}

func checkSpans(c Config, spans []span) error {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	end := int64(0)
	for _, s := range spans {
		name := c.Entries[s.entry].Path
		if s.start < end && !c.Shared {
			return hostile(name, "its content overlaps another file's")
		}
		end = max(end, s.start+s.size)
		if c.Stream > 0 && end > c.Stream {
			return hostile(name, "its content lies past the stream's end at %d", c.Stream)
		}
	}
	return nil
}

func appendSpans(spans []span, index int, e Entry) []span {
	if !e.Sparse() {
		if e.Size == 0 {
			return spans
		}
		return append(spans, span{start: e.Offset, size: e.Size, entry: index})
	}
	start := e.Offset
	for _, segment := range e.Segments {
		spans = append(spans, span{start: start, size: segment.Length, at: segment.Offset, entry: index})
		start += segment.Length
	}
	return spans
}

// partial is the name of the last file until it is put in place.
func partial(last string) string { return last + ".lifeboat-partial" }

// quote makes a name safe to show, and short.
func quote(name string) string {
	const longest = 300
	if len(name) > longest {
		name = name[:longest] + "…"
	}
	if fs.ValidPath(name) && strconv.Quote(name) == `"`+name+`"` {
		return name
	}
	return strconv.Quote(name)
}
