package target

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// Space gives the bytes that may still be written at path, or at the nearest
// parent of it that exists.
func Space(path string) (free uint64, err error) {
	existing, err := nearest(path)
	if err != nil {
		return 0, err
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(existing, &stat); err != nil {
		return 0, failed("ask for free space at", path, err)
	}
	return stat.Bavail * uint64(stat.Bsize), nil
}

// nearest is path, or the closest of its parents that exists.
func nearest(path string) (string, error) {
	for path = filepath.Clean(path); ; path = filepath.Dir(path) {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return "", failed("look at", path, err)
		}
	}
}

// inode tells a directory whatever it is called. Zero is none.
type inode struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// inodeOf looks at path itself, not through a link. A path that does not exist is zero.
func inodeOf(path string) (inode, error) {
	var stat unix.Stat_t
	err := unix.Lstat(path, &stat)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return inode{}, nil
	}
	if err != nil {
		return inode{}, failed("look at", path, err)
	}
	return inode{Dev: stat.Dev, Ino: stat.Ino}, nil
}

// syncParent makes the names in path's directory durable.
func syncParent(path string) error {
	parent := filepath.Dir(path)
	dir, err := os.Open(parent)
	if err != nil {
		return failed("sync", parent, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return failed("sync", parent, err)
	}
	return nil
}

// rename renames and refuses to replace anything. File systems that can't
// promise that are asked first.
func rename(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if there, statErr := inodeOf(to); statErr != nil {
			return statErr
		} else if there != (inode{}) {
			err = unix.EEXIST
		} else {
			err = unix.Rename(from, to)
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTEMPTY):
		return fault.Newf(fault.TargetRefused, "rename", from, "%s exists", to).
			WithHint("something made it meanwhile: look at it, move it away, and go on")
	case errors.Is(err, unix.EXDEV):
		return fault.Newf(fault.TargetRefused, "rename", from, "%s lies on another file system", to)
	case errors.Is(err, unix.EBUSY):
		return fault.Newf(fault.TargetRefused, "rename", from, "it is a mount point")
	default:
		return failed("rename", from, err)
	}
}

// PutInPlace renames a finished file to its name, durably, and replaces nothing.
func PutInPlace(from, to string) error {
	if err := rename(from, to); err != nil {
		return err
	}
	return syncParent(to)
}

// failed names what went wrong with a path.
func failed(op, path string, err error) error {
	if fault.KindOf(err) != "" {
		return err
	}
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fault.New(fault.NoSpace, op, path, err)
	}
	return fault.New(fault.PathFailed, op, path, err)
}
