package tree

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// Config says what is extracted, and where.
type Config struct {
	Root    string  // staging directory, absolute; created when missing
	Entries []Entry // the whole table; not changed, and not to be changed
	Stream  int64   // length of the stream, when known: no content may lie past it
	Backup  string  // key of the backup: a journal of another backup does not count
	Journal string  // absolute path of the progress journal, outside Root
	Limits  Limits  // zero values: defaults
	Owner   Owner   // nil: OwnerByName
	Last    string  // path of a File that is put in place after all else is on disk, e.g. global/pg_control
	Shared  bool    // whether files may share ranges of the stream
	Open    int     // files kept open at once; default 256
	Older   string  // directory of an older tree, whose files may be offered; "": none are
}

// Extraction puts one tree on disk. Write and Done may be called by many
// goroutines at once; Finish by one, when all writes have returned.
type Extraction struct {
	c        Config
	root     *os.Root
	dir      *os.File // the root, open since before the first write, so that syncfs reports every error
	journal  *journal
	spans    []span // in the order of the stream
	stored   int64  // bytes that all spans hold
	dirs     []Entry
	files    *openFiles
	finished bool
	resumed  int64

	linked    map[string]bool // files that the table has other names of
	settled   bool            // nothing more is taken over
	taking    sync.Mutex
	clone     func(to, from *os.File) error
	cloneless atomic.Bool // nothing can be cloned here
	linkless  atomic.Bool // nothing can be linked here

	mu         sync.Mutex
	done       map[int]struct{}
	written    int64          // bytes of spans, by earlier attempts and this one
	taken      map[int]uint64 // entries that were taken over, with their stamps; it is final once settled
	takenBytes int64

	dropped atomic.Int64
}

// NewExtraction checks the whole table, makes the staging directory ready and
// takes over what an earlier attempt of the same extraction wrote.
//
// Errors: HostileArchive (nothing was created); TargetRefused when the staging
// directory holds something that no extraction made; PathFailed, which can be
// tried again, while another attempt still writes there; NoSpace.
func NewExtraction(c Config) (*Extraction, error) {
	if !filepath.IsAbs(c.Root) || !filepath.IsAbs(c.Journal) {
		return nil, fault.Newf(fault.InputInvalid, "extract into", c.Root, "the directory and its journal must be absolute paths")
	}
	spans, err := check(c)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		c.Owner = ownerSelf()
	} else if c.Owner == nil {
		c.Owner = OwnerByName()
	}
	x := &Extraction{
		c: c, spans: spans, dirs: directories(c.Entries), done: make(map[int]struct{}), taken: make(map[int]uint64), linked: make(map[string]bool),
		settled: c.Older == "", clone: cloneFile,
	}
	for _, s := range spans {
		x.stored += s.size
	}
	for _, entry := range c.Entries {
		if entry.Kind == Hardlink {
			x.linked[entry.Link] = true
		}
	}
	if err := x.open(); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// open takes the lock, the directory and the journal, in this order.
func (x *Extraction) open() error {
	var earlier past
	var err error
	if x.journal, earlier, err = openJournal(x.c.Journal); err != nil {
		return err
	}
	if err := os.MkdirAll(x.c.Root, 0o700); err != nil {
		return fault.New(fault.PathFailed, "create directory", x.c.Root, err)
	}
	if x.root, err = os.OpenRoot(x.c.Root); err != nil {
		return fault.New(fault.PathFailed, "open directory", x.c.Root, err)
	}
	if x.dir, err = x.root.Open("."); err != nil {
		return fault.New(fault.PathFailed, "open directory", x.c.Root, err)
	}
	x.files = newOpenFiles(x.create, x.c.Open)
	digest := sha256.New()
	if err := EncodeTable(digest, x.c.Entries); err != nil {
		return err
	}
	own, err := identify(x.c, x.root, digest.Sum(nil))
	if err != nil {
		return err
	}
	if earlier.known && !earlier.void && earlier.identity == own && (earlier.finished || x.remain(earlier)) {
		err = x.goOn(earlier)
	} else {
		err = x.startOver(earlier, own)
	}
	if err != nil || x.finished {
		return err
	}
	return x.makeDirs()
}

// goOn goes on where an earlier attempt was stopped.
func (x *Extraction) goOn(earlier past) error {
	x.finished, x.settled = earlier.finished, x.settled || earlier.settled
	for chunk, size := range earlier.chunks {
		x.done[chunk] = struct{}{}
		x.written += size
	}
	for entry, stamp := range earlier.taken {
		x.tookOver(entry, stamp)
	}
	x.resumed = x.written
	if x.settled {
		return nil
	}
	return x.tidy()
}

// startOver empties a directory that an extraction left, and refuses one that
// something else is in.
func (x *Extraction) startOver(earlier past, own identity) error {
	names, err := x.dir.Readdirnames(-1)
	if err != nil {
		return fault.New(fault.PathFailed, "read directory", x.c.Root, err)
	}
	if len(names) > 0 && (!earlier.known || earlier.identity.Root != x.c.Root) {
		return fault.Newf(fault.TargetRefused, "extract into", x.c.Root, "the directory is not empty, and no restore of ours made what is in it").
			WithHint("move it away, or choose another place")
	}
	if len(names) > 0 {
		if err := Loosen(x.c.Root); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := x.root.RemoveAll(name); err != nil {
			return fault.New(fault.PathFailed, "empty directory", path.Join(x.c.Root, name), err)
		}
	}
	return x.journal.begin(own)
}

// directories lists every directory, parents first: those of the table, and
// those that its paths imply, which stay open to their owner alone.
func directories(entries []Entry) []Entry {
	listed := make(map[string]bool)
	var dirs []Entry
	for _, entry := range entries {
		if entry.Kind == Dir {
			listed[entry.Path] = true
			dirs = append(dirs, entry)
		}
	}
	imply := func(name string) {
		listed[name] = true
		dirs = append(dirs, Entry{Path: name, Kind: Dir, Mode: 0o700, UID: os.Geteuid(), GID: os.Getegid(), ModTime: time.Now()})
	}
	if !listed["."] {
		imply(".")
	}
	for _, entry := range entries {
		for name := parent(entry.Path); !listed[name]; name = parent(name) {
			imply(name)
		}
	}
	slices.SortFunc(dirs, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(depth(a.Path), depth(b.Path)), cmp.Compare(a.Path, b.Path))
	})
	return dirs
}

// makeDirs creates every directory, open to this process alone until Finish.
func (x *Extraction) makeDirs() error {
	if err := x.root.Chmod(".", 0o700); err != nil {
		return fault.New(fault.PathFailed, "change mode of", x.c.Root, err)
	}
	for _, dir := range x.dirs[1:] { // the first is the root
		name := dir.Path
		err := x.root.Mkdir(name, 0o700)
		if errors.Is(err, fs.ErrExist) {
			err = x.root.Chmod(name, 0o700) // made by an earlier attempt, and maybe finished
		}
		if err != nil {
			return writeFault("create directory", path.Join(x.c.Root, name), err)
		}
	}
	return nil
}

// Done says whether an earlier attempt, or this one, has written the chunk.
func (x *Extraction) Done(chunk int) bool {
	if x.finished {
		return true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	_, done := x.done[chunk]
	return done
}

// Resumed is how many bytes of contents earlier attempts had written.
func (x *Extraction) Resumed() int64 { return x.resumed }

// Stored is how many bytes of contents the tree has in all.
func (x *Extraction) Stored() int64 { return x.stored }

// Dropped counts owners, setuid bits and extended attributes that Finish could
// not give, because this process is not root or the file system has none.
func (x *Extraction) Dropped() int64 { return x.dropped.Load() }

// Close gives up what the extraction holds open. What was written stays, for
// the next attempt.
func (x *Extraction) Close() error {
	var errs []error
	if x.files != nil {
		errs = append(errs, x.files.close())
		x.files = nil
	}
	if x.dir != nil {
		errs = append(errs, x.dir.Close())
		x.dir = nil
	}
	if x.root != nil {
		errs = append(errs, x.root.Close())
		x.root = nil
	}
	if x.journal != nil {
		errs = append(errs, x.journal.close())
		x.journal = nil
	}
	if err := errors.Join(errs...); err != nil {
		return fault.New(fault.PathFailed, "close", x.c.Root, err)
	}
	return nil
}

// name is where an entry's content lies until Finish.
func (x *Extraction) name(entry int) string {
	name := x.c.Entries[entry].Path
	if name == x.c.Last {
		return partial(name)
	}
	return name
}

// create opens a file for writing. Nothing below the staging directory is a
// symbolic link while contents are written; os.Root and O_NOFOLLOW see to it.
func (x *Extraction) create(entry int) (*os.File, error) {
	name := x.name(entry)
	file, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrPermission) { // an earlier attempt had given it its mode
		if err = x.root.Chmod(name, 0o600); err == nil {
			file, err = x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		}
	}
	if err != nil {
		return nil, writeFault("create file", path.Join(x.c.Root, name), err)
	}
	if err := x.private(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
