package tree

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// A file of an older tree that holds just what an entry does is taken over: it gets
// the entry's name without being written. Where the file system can, by a clone, which
// is the tree's own; else by a hard link, which both trees share. An extraction never writes to
// what is shared, nor changes its attributes: the older tree stays as it is until
// somebody writes to the new one.

// Offer is an open file of the older tree that an entry may be taken over from.
type Offer struct {
	x     *Extraction
	entry int
	file  *os.File
	seen  state
	links bool // whether it may be shared
}

// Offer looks at an open file, and says whether it can be taken over for an entry, by
// its place in the table, if it holds the same: to be asked before it is read for that. A
// plain file of the entry's size can be cloned. It can be shared when it has
// no other name, and its owner, mode and attributes are those that Finish would
// give; only its times may differ. Config.Last is never taken over.
//
// It may be called by many goroutines at once, after NewExtraction and before Settle.
func (x *Extraction) Offer(entry int, file *os.File) (*Offer, bool) {
	e := x.c.Entries[entry]
	if x.settled || e.Kind != File || e.Path == x.c.Last || e.Sparse() || x.c.Shared || x.linked[e.Path] {
		return nil, false
	}
	if x.IsTaken(entry) {
		return nil, false
	}
	seen, err := stateOf(file)
	if err != nil || seen.mode&unix.S_IFMT != unix.S_IFREG || seen.size != e.Size {
		return nil, false
	}
	o := &Offer{x: x, entry: entry, file: file, seen: seen, links: !x.linkless.Load() && x.mayShare(e, file, seen)}
	return o, o.links || !x.cloneless.Load()
}

// mayShare says whether a file is as Finish would leave the entry.
func (x *Extraction) mayShare(e Entry, file *os.File, seen state) bool {
	uid, gid, _ := x.c.Owner(e)
	const special = unix.S_ISUID | unix.S_ISGID | unix.S_ISVTX
	return seen.names == 1 && e.Mode&special == 0 && seen.mode&modeBits == e.Mode && int(seen.uid) == uid && int(seen.gid) == gid &&
		len(e.Xattrs) == 0 && plain(file)
}

// plain says whether a file has no attributes but the label that some systems give to all.
func plain(file *os.File) bool {
	const label = "security.selinux\x00"
	names := make([]byte, 256)
	var n int
	err := onDescriptor(file, func(fd int) (err error) { n, err = unix.Flistxattr(fd, names); return err })
	return errors.Is(err, unix.ENOTSUP) || err == nil && (n == 0 || string(names[:n]) == label)
}

// Take puts the file in the entry's place, and says whether it did: not when it has
// changed since it was offered, nor when it can be neither cloned nor shared. The caller has read
// it since, and found in it what the entry holds. The stream need not bring that any more: see Held.
func (o *Offer) Take() (bool, error) {
	x := o.x
	x.taking.Lock() // two names that lead to one file are seen
	defer x.taking.Unlock()
	if x.IsTaken(o.entry) || !o.unchanged() {
		return false, nil
	}
	took, err := o.clone()
	stamp := uint64(cloned)
	if err == nil && !took && o.links {
		stamp, took, err = o.link()
	}
	if err != nil || !took {
		return false, err
	}
	if err := x.journal.add(recordTaken+uint32(o.entry), int64(stamp)); err != nil {
		return false, err
	}
	x.tookOver(o.entry, stamp)
	return true, nil
}

// unchanged says whether the file is as it was when it was offered.
func (o *Offer) unchanged() bool {
	now, err := stateOf(o.file)
	return err == nil && now == o.seen
}

// tookOver counts a file that is in its place.
func (x *Extraction) tookOver(entry int, stamp uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.taken[entry] = stamp
	x.written += x.c.Entries[entry].Size
	x.takenBytes += x.c.Entries[entry].Size
}

// IsTaken says whether an entry, by its place in the table, was taken over.
func (x *Extraction) IsTaken(entry int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, taken := x.taken[entry]
	return taken
}

// clone makes a file of the tree's own that has the blocks of the older one.
func (o *Offer) clone() (took bool, err error) {
	x := o.x
	if x.cloneless.Load() {
		return false, nil
	}
	name := x.name(o.entry)
	shown := path.Join(x.c.Root, name)
	file, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return false, writeFault("create file", shown, err)
	}
	err = x.clone(file, o.file)
	made, stateErr := stateOf(file)
	if closeErr := errors.Join(stateErr, file.Close()); closeErr != nil {
		return false, writeFault("clone file", shown, closeErr)
	}
	switch {
	case err == nil && made.size == o.seen.size && o.unchanged():
		return true, nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EIO):
		return false, writeFault("clone file", shown, err)
	case err != nil:
		x.cloneless.Store(true)
	}
	return false, x.drop(name)
}

// cloneFile is ioctl_ficlone(2).
func cloneFile(to, from *os.File) error {
	return onDescriptor(to, func(to int) error {
		return onDescriptor(from, func(from int) error { return unix.IoctlFileClone(to, from) })
	})
}

// link gives the file that is open the entry's name, whatever its old name leads to by now.
func (o *Offer) link() (stamp uint64, took bool, err error) {
	x := o.x
	name := x.name(o.entry)
	shown := path.Join(x.c.Root, name)
	dir, err := x.root.Open(path.Dir(name))
	if err != nil {
		return 0, false, fault.New(fault.PathFailed, "open directory", path.Dir(shown), err)
	}
	defer dir.Close()
	err = onDescriptor(dir, func(to int) error {
		return onDescriptor(o.file, func(from int) error { // as linkat(2) has it for those who may not use AT_EMPTY_PATH
			return unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(from), to, path.Base(name), unix.AT_SYMLINK_FOLLOW)
		})
	})
	switch {
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EPERM), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		x.linkless.Store(true) // here, or by this process, nothing can be linked
		return 0, false, nil
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EMLINK), errors.Is(err, unix.ENOENT): // this one can't be, or was removed
		return 0, false, nil
	case err != nil:
		return 0, false, writeFault("link file", shown, err)
	}
	now, err := stateOf(o.file)
	if err != nil {
		return 0, false, errors.Join(fault.New(fault.PathFailed, "look at", shown, err), x.drop(name))
	}
	want := o.seen
	want.names, want.changed = 2, now.changed // as a new name does
	if now != want {
		return 0, false, x.drop(name)
	}
	return now.stamp(), true, nil
}

// drop takes back a name that was not taken over after all.
func (x *Extraction) drop(name string) error {
	if err := x.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.PathFailed, "remove", path.Join(x.c.Root, name), err)
	}
	return nil
}

// Settle ends the taking over. With Config.Older it comes before the first Write.
func (x *Extraction) Settle() error {
	if x.settled {
		return nil
	}
	if err := x.journal.add(recordSettled, 0); err != nil {
		return err
	}
	x.settled = true
	return nil
}

// Settled says whether the taking over has ended, in an earlier attempt or this one.
func (x *Extraction) Settled() bool { return x.settled }

// Held is how many bytes of contents a part of the stream has, and how many of these
// were taken over: when all were, it need not be read. It is asked once no more are taken over.
func (x *Extraction) Held(off, size int64) (stored, taken int64) {
	for i := x.firstSpan(off); i < len(x.spans) && x.spans[i].start < off+size; i++ {
		s := x.spans[i]
		bytes := min(off+size, s.start+s.size) - max(off, s.start)
		if bytes <= 0 {
			continue
		}
		stored += bytes
		if _, held := x.taken[s.entry]; held {
			taken += bytes
		}
	}
	return stored, taken
}

// Taken is how many bytes of contents were taken over, by earlier attempts and this one.
func (x *Extraction) Taken() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.takenBytes
}

// remain says whether everything that earlier attempts took over is as it was then.
func (x *Extraction) remain(earlier past) bool {
	for entry, stamp := range earlier.taken {
		if entry >= len(x.c.Entries) || x.c.Older == "" {
			return false
		}
		if stamp != cloned && stampAt(x.root, x.c.Entries[entry].Path) != stamp {
			return false
		}
	}
	return true
}

// tidy removes what an attempt had put in place that was killed before it could
// write that down.
func (x *Extraction) tidy() error {
	for i, entry := range x.c.Entries {
		if _, taken := x.taken[i]; taken || entry.Kind != File {
			continue
		}
		if err := x.drop(x.name(i)); err != nil {
			return err
		}
	}
	return nil
}

// completeTaken makes sure that a shared file is still what was taken over. It is not opened.
func (x *Extraction) completeTaken(dir *os.Root, entry Entry, stamp uint64) error {
	if stampAt(dir, path.Base(entry.Path)) != stamp {
		return fault.Newf(fault.PathFailed, "finish", path.Join(x.c.Root, entry.Path), "the file was changed since it was taken over from %s", x.c.Older).
			WithHint("leave the older copy alone: it is tried again by itself")
	}
	if _, _, same := x.c.Owner(entry); !same && os.Geteuid() != 0 {
		x.dropped.Add(1)
	}
	return nil
}

// private refuses to write to a file that has another name, whoever gave it that.
func (x *Extraction) private(file *os.File) error {
	if x.c.Older == "" {
		return nil
	}
	found, err := stateOf(file)
	if err != nil {
		return fault.New(fault.PathFailed, "look at", file.Name(), err)
	}
	if found.names > 1 {
		return fault.Newf(fault.TargetRefused, "write file", file.Name(), "it has another name, under which it would be written, too")
	}
	return nil
}
