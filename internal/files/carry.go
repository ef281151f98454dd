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
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// Carried says what Carry did.
type Carried struct {
	Entries int64    // that appeared
	Left    []string // directories that were not carried: something else has their name
}

// Carry makes what the set leaves out, by its patterns, appear in the directory
// "to" as it is in "from": a file as a hard link (as a copy where the kernel
// refuses one), a symbolic link as its twin, a directory with its mode, owner
// and time. So a swap of the two directories loses nothing that no backup has.
// What "to" has already is left alone, and nothing is made through a link that
// lies there: a directory with such a name is left out with all that is in it, and
// told. "from" is not changed. Sockets, FIFOs and
// devices are not carried: whoever needs them makes them. It may be repeated.
func Carry(ctx context.Context, set system.FileSet, from, to string) (Carried, error) {
	selection, err := Select(set)
	if err != nil || selection.Everything() {
		return Carried{}, err
	}
	source, err := os.OpenRoot(from)
	if errors.Is(err, fs.ErrNotExist) {
		return Carried{}, nil
	}
	if err != nil {
		return Carried{}, fault.New(fault.PathFailed, "open", from, err)
	}
	target, err := os.OpenRoot(to)
	if err != nil {
		return Carried{}, errors.Join(fault.New(fault.PathFailed, "open", to, err), source.Close())
	}
	c := &carrier{selection: selection, source: source, target: target, from: from, to: to, made: map[string]bool{".": true}}
	err = c.walk(ctx, ".", len(selection.include) == 0, false)
	if err == nil && c.carried.Entries > 0 {
		err = c.sync()
	}
	return c.carried, errors.Join(err, source.Close(), target.Close())
}

type carrier struct {
	selection      Selection
	source, target *os.Root
	from, to       string
	made           map[string]bool // directories of target that are ones, and so are all above them
	carried        Carried
}

// errInTheWay says that a directory can't be made because something else has its name.
var errInTheWay = errors.New("something else is there")

// walk goes through what is in one directory. taken says that a directory above
// was included, left that one was excluded.
func (c *carrier) walk(ctx context.Context, at string, taken, left bool) error {
	entries, err := readDir(c.source, at)
	if err != nil {
		return c.failed("read directory", c.from, at, err)
	}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(at, entry.Name())
		left := left || c.selection.excludes(name)
		taken := taken || c.selection.includes(name)
		if entry.IsDir() {
			if err := c.walkDir(ctx, name, taken, left); err != nil {
				return err
			}
			continue
		}
		if !left && taken {
			continue // the backup speaks for it
		}
		if err := c.carry(name); err != nil {
			return err
		}
	}
	return nil
}

// walkDir carries a directory that is left out itself, before what is in it;
// another one appears only when something in it is carried. Its time is set
// after its last change.
func (c *carrier) walkDir(ctx context.Context, name string, taken, left bool) error {
	if left {
		if err := c.makeDirs(name); errors.Is(err, errInTheWay) {
			return nil
		} else if err != nil {
			return err
		}
	}
	before := c.carried.Entries
	if err := c.walk(ctx, name, taken, left); err != nil {
		return err
	}
	if !left && c.carried.Entries == before {
		return nil
	}
	info, err := c.source.Lstat(name)
	if err != nil {
		return c.failed("look at", c.from, name, err)
	}
	if err := c.target.Chtimes(name, time.Time{}, info.ModTime()); err != nil {
		return c.failed("set times of", c.to, name, err)
	}
	return nil
}

func (c *carrier) carry(name string) error {
	info, err := c.source.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return c.failed("look at", c.from, name, err)
	}
	if kind := info.Mode().Type(); kind != 0 && kind != fs.ModeSymlink {
		return nil
	}
	if err := c.makeDirs(path.Dir(name)); errors.Is(err, errInTheWay) {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := c.target.Lstat(name); err == nil {
		return nil // an earlier attempt's, or the backup's
	}
	if info.Mode().Type() == fs.ModeSymlink {
		err = c.twin(name, info)
	} else {
		err = c.link(name)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EMLINK) {
			err = c.copy(name, info)
		}
	}
	if err != nil {
		return c.failed("carry", c.from, name, err)
	}
	c.carried.Entries++
	return nil
}

// link makes the hard link between opened directories of the two trees. Both
// belong to the application's account, which may change them meanwhile: whatever
// it makes of them, nothing outside is linked and no link is made outside.
func (c *carrier) link(name string) error {
	from, err := c.source.OpenFile(path.Dir(name), os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	to, err := c.target.OpenFile(path.Dir(name), os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return errors.Join(err, from.Close())
	}
	err = unix.Linkat(int(from.Fd()), path.Base(name), int(to.Fd()), path.Base(name), 0)
	return errors.Join(err, from.Close(), to.Close())
}

// makeDirs makes a directory, and those above it, as they are at the source.
// errInTheWay: one of them can't be made, which is told.
func (c *carrier) makeDirs(name string) error {
	if c.made[name] {
		return nil
	}
	if err := c.makeDirs(path.Dir(name)); err != nil {
		return err
	}
	switch there, err := c.target.Lstat(name); {
	case err == nil && there.IsDir():
		c.made[name] = true
		return nil
	case err == nil:
		if !slices.Contains(c.carried.Left, name) {
			c.carried.Left = append(c.carried.Left, name)
		}
		return errInTheWay
	case !errors.Is(err, fs.ErrNotExist):
		return c.failed("look at", c.to, name, err)
	}
	info, err := c.source.Lstat(name)
	if err != nil {
		return c.failed("look at", c.from, name, err)
	}
	if err := c.target.Mkdir(name, 0o700); err != nil {
		return c.failed("create directory", c.to, name, err)
	}
	if err := c.own(name, info); err != nil {
		return c.failed("give owner of", c.to, name, err)
	}
	if err := c.target.Chmod(name, info.Mode()); err != nil {
		return c.failed("change mode of", c.to, name, err)
	}
	c.made[name] = true
	c.carried.Entries++
	return nil
}

func (c *carrier) twin(name string, info fs.FileInfo) error {
	target, err := c.source.Readlink(name)
	if err != nil {
		return err
	}
	if err := c.target.Symlink(target, name); err != nil {
		return err
	}
	return c.own(name, info)
}

// copy is for files that this process may read and not link (proc(5),
// protected_hardlinks). It appears under its name when it is whole.
func (c *carrier) copy(name string, info fs.FileInfo) error {
	in, err := c.source.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO would wait for a writer
	if err != nil {
		return err
	}
	temporary := name + ".lifeboat-partial"
	if err := c.target.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, in.Close())
	}
	out, err := c.target.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	_, err = io.Copy(out, in)
	if os.Geteuid() == 0 && err == nil {
		stat := statOf(info)
		err = out.Chown(int(stat.Uid), int(stat.Gid))
	}
	if err == nil {
		err = out.Chmod(info.Mode())
	}
	if err := errors.Join(err, out.Close(), in.Close()); err != nil {
		return err
	}
	if err := c.target.Chtimes(temporary, time.Time{}, info.ModTime()); err != nil {
		return err
	}
	return c.target.Rename(temporary, name)
}

func (c *carrier) own(name string, info fs.FileInfo) error {
	if os.Geteuid() != 0 {
		return nil
	}
	stat := statOf(info)
	return c.target.Lchown(name, int(stat.Uid), int(stat.Gid))
}

// sync makes the carried names durable.
func (c *carrier) sync() error {
	dir, err := c.target.Open(".")
	if err != nil {
		return c.failed("open", c.to, ".", err)
	}
	raw, err := dir.SyscallConn()
	if err != nil {
		return errors.Join(c.failed("sync", c.to, ".", err), dir.Close())
	}
	var syncErr error
	err = raw.Control(func(fd uintptr) { syncErr = unix.Syncfs(int(fd)) })
	if err := errors.Join(err, syncErr, dir.Close()); err != nil {
		return c.failed("sync", c.to, ".", err)
	}
	return nil
}

func (c *carrier) failed(op, root, name string, err error) error {
	if fault.KindOf(err) != "" {
		return err
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fault.New(fault.NoSpace, op, filepath.Join(root, name), err)
	}
	return fault.New(fault.PathFailed, op, filepath.Join(root, name), err)
}
