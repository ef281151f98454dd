package tree

import (
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind says what an entry is.
type Kind string

// The kinds of entries that a table may hold. Devices, FIFOs and sockets are
// never captured, and a table that names one is refused.
const (
	Dir      Kind = "dir"
	File     Kind = "file"
	Symlink  Kind = "symlink"
	Hardlink Kind = "hardlink"
)

// FlagChanged marks a file that kept changing while it was read: its content
// may mix several moments.
const FlagChanged = "changed"

// Entry is one name in a tree.
type Entry struct {
	Path    string            // relative to the root, slash-separated, clean; "." is the root itself
	Kind    Kind              // what it is
	Mode    uint32            // permission bits with setuid (04000), setgid (02000) and sticky (01000)
	UID     int               // numeric owner at the source
	GID     int               // numeric group at the source
	Owner   string            // name of the owner at the source, "" when it had none
	Group   string            // name of the group at the source, "" when it had none
	Size    int64             // File: length in bytes, holes included
	ModTime time.Time         // last modification
	Link    string            // Symlink: its target as written; Hardlink: Path of the File it is another name of
	Xattrs  map[string][]byte // extended attributes by full name ("user.origin")
	Offset  int64             // File: where its stored bytes begin in the stream

	// Segments are the runs of a sparse File that hold data, in order; all else
	// is hole. Their bytes lie one after the other from Offset. Nil: no holes.
	Segments []Segment

	Digest []byte // File: SHA-256 of the content, holes as zeros; empty when it was not computed
	Flag   string // "" or FlagChanged
}

// Segment is a run of data in a sparse file.
type Segment struct {
	Offset int64 `json:"o"` // in the file
	Length int64 `json:"n"`
}

// Sparse says whether the file has holes.
func (e Entry) Sparse() bool { return e.Segments != nil }

// Stored is how many bytes of the stream belong to the entry.
func (e Entry) Stored() int64 {
	if e.Kind != File {
		return 0
	}
	if !e.Sparse() {
		return e.Size
	}
	var stored int64
	for _, segment := range e.Segments {
		stored += segment.Length
	}
	return stored
}

// parent is the path of the directory that holds the entry, "." for the root's children.
func parent(name string) string { return path.Dir(name) }

// wire is an Entry as a line of the table. Names that are not valid UTF-8 go as
// bytes, because JSON would change them.
type wire struct {
	Path      string            `json:"path,omitempty"`
	PathBytes []byte            `json:"path_bytes,omitempty"`
	Kind      Kind              `json:"kind"`
	Mode      uint32            `json:"mode"`
	UID       int               `json:"uid"`
	GID       int               `json:"gid"`
	Owner     string            `json:"owner,omitempty"`
	Group     string            `json:"group,omitempty"`
	Size      int64             `json:"size,omitempty"`
	Seconds   int64             `json:"mtime"`
	Nanos     int64             `json:"mtime_ns,omitempty"`
	Link      string            `json:"link,omitempty"`
	LinkBytes []byte            `json:"link_bytes,omitempty"`
	Xattrs    map[string][]byte `json:"xattrs,omitempty"`
	Offset    int64             `json:"offset,omitempty"`
	Sparse    bool              `json:"sparse,omitempty"`
	Segments  []Segment         `json:"segments,omitempty"`
	Digest    []byte            `json:"sha256,omitempty"`
	Flag      string            `json:"flag,omitempty"`
}

// line gives the entry as it stands in the table.
func (e Entry) line() wire {
	line := wire{
		Path: e.Path, Kind: e.Kind, Mode: e.Mode, UID: e.UID, GID: e.GID, Owner: e.Owner, Group: e.Group,
		Size: e.Size, Seconds: e.ModTime.Unix(), Nanos: int64(e.ModTime.Nanosecond()), Link: e.Link,
		Xattrs: e.Xattrs, Offset: e.Offset, Sparse: e.Sparse(), Segments: e.Segments, Digest: e.Digest, Flag: e.Flag,
	}
	if !utf8.ValidString(e.Path) {
		line.Path, line.PathBytes = "", []byte(e.Path)
	}
	if !utf8.ValidString(e.Link) {
		line.Link, line.LinkBytes = "", []byte(e.Link)
	}
	return line
}

// entry gives the entry that a line of the table says.
func (w wire) entry() Entry {
	e := Entry{
		Path: w.Path, Kind: w.Kind, Mode: w.Mode, UID: w.UID, GID: w.GID, Owner: w.Owner, Group: w.Group,
		Size: w.Size, ModTime: time.Unix(w.Seconds, w.Nanos).UTC(), Link: w.Link,
		Xattrs: w.Xattrs, Offset: w.Offset, Digest: w.Digest, Flag: w.Flag,
	}
	if w.Sparse {
		e.Segments = append([]Segment{}, w.Segments...)
	}
	if len(w.PathBytes) > 0 {
		e.Path = string(w.PathBytes)
	}
	if len(w.LinkBytes) > 0 {
		e.Link = string(w.LinkBytes)
	}
	return e
}

// depth counts the directories above name, for "deepest first".
func depth(name string) int {
	if name == "." {
		return 0
	}
	return strings.Count(name, "/") + 1
}
