package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/tree"
)

// mostNamed is how many flagged paths Captured names; all of them are in the table.
const mostNamed = 20

// Captured says what a capture took.
type Captured struct {
	Entries  int64    // lines of the table
	Files    int64    // regular files
	Bytes    int64    // of regular files, holes included
	Content  int64    // written to the stream
	Skipped  int64    // sockets, devices, FIFOs, directories of other file systems
	Vanished int64    // deleted while they were read
	Changed  int64    // flagged: they changed whenever they were read
	Flagged  []string // the first of those
	Started  time.Time
	Finished time.Time
}

// Capture writes the contents of the set's files to w, one after the other, and
// gives the table that says where they lie in it, in the order of a walk.
// progress, when not nil, is called after each file with the counts so far.
//
// Errors: ConfigInvalid for a pattern, PathFailed for what can't be read, w's
// own, ctx's own.
func Capture(ctx context.Context, set system.FileSet, w io.Writer, progress func(files, bytes int64)) ([]tree.Entry, Captured, error) {
	selection, err := Select(set)
	if err != nil {
		return nil, Captured{}, err
	}
	root, err := os.OpenRoot(set.Root)
	if err != nil {
		return nil, Captured{}, fault.New(fault.PathFailed, "open files of "+set.Name, set.Root, err)
	}
	c := &capture{
		set: set, selection: selection, root: root, stream: &counter{w: w}, progress: progress,
		names: newNames(), first: make(map[node]string), held: make([]byte, 0, smallFile), scratch: make([]byte, 256<<10),
	}
	entries, err := c.run(ctx)
	return entries, c.captured, errors.Join(err, root.Close())
}

// capture is the state of one Capture.
type capture struct {
	set       system.FileSet
	selection Selection
	root      *os.Root
	device    uint64
	stream    *counter
	progress  func(files, bytes int64)
	names     *names
	held      []byte // a small file, until it is known to have held still
	scratch   []byte

	entries  []tree.Entry
	pending  []tree.Entry    // directories on the way down that no included entry has needed yet
	first    map[node]string // the path under which a file with several names was met first
	again    []int           // entries whose file changed while it was read
	gone     []int           // entries whose file was deleted before it was read
	captured Captured
}

// node tells a file whatever it is called.
type node struct{ device, inode uint64 }

func (c *capture) run(ctx context.Context) ([]tree.Entry, error) {
	c.captured.Started = time.Now().UTC()
	info, err := c.root.Stat(".")
	if err != nil {
		return nil, c.failed("look at", ".", err)
	}
	c.device = statOf(info).Dev
	top := c.describe(".", info)
	if err := c.xattrsOfDir(c.root, &top); err != nil {
		return nil, err
	}
	c.pending = append(c.pending, top)
	if err := c.walk(ctx, c.root, ".", len(c.selection.include) == 0); err != nil {
		return nil, err
	}
	c.flush() // an empty tree still has its root
	if err := c.readAgain(ctx); err != nil {
		return nil, err
	}
	if err := c.dropGone(ctx); err != nil {
		return nil, err
	}
	c.captured.Finished = time.Now().UTC()
	c.count()
	return c.entries, tree.Check(tree.Config{Entries: c.entries, Stream: c.stream.written})
}

// walk captures what is in one directory, in the order of the names. taken says
// whether a directory above was included.
func (c *capture) walk(ctx context.Context, dir *os.Root, at string, taken bool) error {
	names, err := c.list(dir, at)
	if err != nil {
		return err
	}
	for _, base := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(at, base)
		if c.selection.excludes(name) {
			continue
		}
		info, err := dir.Lstat(base)
		if errors.Is(err, fs.ErrNotExist) {
			c.captured.Vanished++
			continue
		}
		if err != nil {
			return c.failed("look at", name, err)
		}
		if err := c.visit(ctx, dir, name, info, taken || c.selection.includes(name)); err != nil {
			return err
		}
	}
	return nil
}

func (c *capture) visit(ctx context.Context, dir *os.Root, name string, info fs.FileInfo, taken bool) error {
	kind := info.Mode().Type()
	if kind == fs.ModeDir {
		return c.visitDir(ctx, dir, name, info, taken)
	}
	if !taken {
		return nil
	}
	if kind != 0 && kind != fs.ModeSymlink {
		c.captured.Skipped++
		return nil
	}
	entry := c.describe(name, info)
	c.flush()
	if kind == fs.ModeSymlink {
		return c.visitSymlink(dir, entry)
	}
	return c.visitFile(dir, entry, info)
}

func (c *capture) visitDir(ctx context.Context, parent *os.Root, name string, info fs.FileInfo, taken bool) error {
	dir, err := parent.OpenRoot(path.Base(name))
	if errors.Is(err, fs.ErrNotExist) {
		c.captured.Vanished++
		return nil
	}
	if err != nil {
		return c.failed("open directory", name, err)
	}
	err = c.enter(ctx, dir, c.describe(name, info), info, taken)
	return errors.Join(err, dir.Close())
}

// enter captures a directory that is open. One that was replaced since it was
// looked at has vanished; the other file system of a mount point is left out.
func (c *capture) enter(ctx context.Context, dir *os.Root, entry tree.Entry, info fs.FileInfo, taken bool) error {
	opened, err := dir.Stat(".")
	if err != nil {
		return c.failed("look at", entry.Path, err)
	}
	if !os.SameFile(info, opened) {
		c.captured.Vanished++
		return nil
	}
	if err := c.xattrsOfDir(dir, &entry); err != nil {
		return err
	}
	depth := len(c.pending)
	c.pending = append(c.pending, entry)
	if taken {
		c.flush()
	}
	if statOf(opened).Dev != c.device {
		c.captured.Skipped++
	} else if err := c.walk(ctx, dir, entry.Path, taken); err != nil {
		return err
	}
	c.pending = c.pending[:min(depth, len(c.pending))]
	return nil
}

// flush takes the directories on the way to an included entry into the table.
func (c *capture) flush() {
	c.entries = append(c.entries, c.pending...)
	c.pending = c.pending[:0]
}

func (c *capture) visitSymlink(dir *os.Root, entry tree.Entry) error {
	target, err := dir.Readlink(path.Base(entry.Path))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL) { // deleted, or no link any more
		c.captured.Vanished++
		return nil
	}
	if err != nil {
		return c.failed("read symbolic link", entry.Path, err)
	}
	entry.Kind, entry.Link = tree.Symlink, target
	c.entries = append(c.entries, entry)
	return nil
}

func (c *capture) visitFile(dir *os.Root, entry tree.Entry, info fs.FileInfo) error {
	stat := statOf(info)
	if stat.Nlink > 1 {
		id := node{stat.Dev, stat.Ino}
		if first, met := c.first[id]; met {
			entry.Kind, entry.Link, entry.Size = tree.Hardlink, first, 0
			c.entries = append(c.entries, entry)
			return nil
		}
		c.first[id] = entry.Path
	}
	c.entries = append(c.entries, entry)
	return c.read(dir, len(c.entries)-1, false)
}

// list gives the names in a directory, sorted.
func (c *capture) list(dir *os.Root, at string) ([]string, error) {
	file, err := dir.Open(".")
	if err != nil {
		return nil, c.failed("open directory", at, err)
	}
	names, err := file.Readdirnames(-1)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, c.failed("read directory", at, err)
	}
	slices.Sort(names)
	return names, nil
}

// describe gives all of an entry that stat says.
func (c *capture) describe(name string, info fs.FileInfo) tree.Entry {
	stat := statOf(info)
	entry := tree.Entry{
		Path: name, Kind: tree.File, Mode: stat.Mode & 0o7777, UID: int(stat.Uid), GID: int(stat.Gid),
		Owner: c.names.user(stat.Uid), Group: c.names.group(stat.Gid), ModTime: info.ModTime().UTC(),
	}
	if info.IsDir() {
		entry.Kind = tree.Dir
	}
	return entry
}

// count sums up the finished table.
func (c *capture) count() {
	c.captured.Entries = int64(len(c.entries))
	c.captured.Content = c.stream.written
	c.captured.Files, c.captured.Bytes = 0, 0
	for _, entry := range c.entries {
		if entry.Kind != tree.File {
			continue
		}
		c.captured.Files++
		c.captured.Bytes += entry.Size
		if entry.Flag == tree.FlagChanged {
			c.captured.Changed++
			if len(c.captured.Flagged) < mostNamed {
				c.captured.Flagged = append(c.captured.Flagged, entry.Path)
			}
		}
	}
}

func (c *capture) failed(op, name string, err error) error {
	return fault.New(fault.PathFailed, op, filepath.Join(c.set.Root, name), err)
}

// statOf gives what Linux says of a file that os has looked at.
func statOf(info fs.FileInfo) *syscall.Stat_t {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return &syscall.Stat_t{} // not on Linux
	}
	return stat
}

// counter counts what is written.
type counter struct {
	w       io.Writer
	written int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.written += int64(n)
	return n, err
}
