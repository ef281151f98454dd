package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/frende/lifeboat/internal/fault"
)

var errNoSpace = syscall.ENOSPC

// place writes a file whole, or not at all, and durably, for its owner alone.
func (a Account) place(path string, content []byte, mode os.FileMode) error {
	const op = "write"
	file, err := os.CreateTemp(filepath.Dir(path), ".lifeboat-")
	if err != nil {
		return pathFault(op, path, err)
	}
	_, writeErr := file.Write(content)
	err = errors.Join(writeErr, file.Chmod(mode), a.ownFile(file), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return pathFault(op, path, errors.Join(err, os.Remove(file.Name())))
	}
	return syncDir(filepath.Dir(path))
}

// ownFile gives an open file to the account, which only root can and must.
func (a Account) ownFile(file *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return file.Chown(a.UID, a.GID)
}

// OwnFile gives an open file to the account, when this process may.
func (a Account) OwnFile(file *os.File) error { return a.ownFile(file) }

// Own gives a path to the account, when this process may; links are not followed.
func (a Account) Own(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := os.Lchown(path, a.UID, a.GID); err != nil {
		return pathFault("give away", path, err)
	}
	return nil
}

// folder makes a directory that only the account can enter, or makes sure that
// an existing one is.
func (a Account) folder(path string) error {
	const op = "make directory"
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return pathFault(op, path, err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return pathFault(op, path, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != a.UID && int(stat.Uid) != os.Geteuid() {
		return fault.Newf(fault.TargetRefused, op, path, "something of another user is there").WithHint("remove it and try again")
	}
	if err := errors.Join(os.Chmod(path, 0o700), a.Own(path)); err != nil {
		return pathFault(op, path, err)
	}
	return nil
}

// MakeRunDir makes the directory that holds a run's journals, pin, log and
// settings. The account can enter it, because restore_command reads the pin.
func (a Account) MakeRunDir(path string) error { return a.folder(path) }

// PlaceFile writes a file of a run, whole and durably, readable for the account.
func (a Account) PlaceFile(path string, content []byte) error { return a.place(path, content, 0o600) }

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return pathFault("sync", path, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return pathFault("sync", path, err)
	}
	return nil
}

// Link is where a tablespace of a data directory lies.
type Link struct {
	OID      uint32
	Location string
}

// LinkTablespaces points the data directory's tablespaces to where they lie,
// which its server must not be using. It does not touch tablespace_map.
func LinkTablespaces(dataDir string, owner Account, links []Link) error {
	for _, link := range links {
		path := filepath.Join(dataDir, "pg_tblspc", strconv.FormatUint(uint64(link.OID), 10))
		if current, err := os.Readlink(path); err == nil && current == link.Location {
			continue
		}
		fresh := path + ".new"
		if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
			return pathFault("link tablespace", path, err)
		}
		if err := errors.Join(os.Symlink(link.Location, fresh), owner.Own(fresh)); err != nil {
			return pathFault("link tablespace", path, err)
		}
		if err := os.Rename(fresh, path); err != nil {
			return pathFault("link tablespace", path, err)
		}
	}
	return syncDir(filepath.Join(dataDir, "pg_tblspc"))
}

// MakeParents makes the directories above path that are missing, for the account.
func (a Account) MakeParents(path string) error {
	parent := filepath.Dir(filepath.Clean(path))
	if info, err := os.Stat(parent); err == nil {
		if !info.IsDir() {
			return fault.Newf(fault.TargetRefused, "make directory", parent, "something else is there")
		}
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return pathFault("make directory", parent, err)
	}
	if err := a.MakeParents(parent); err != nil {
		return err
	}
	if err := os.Mkdir(parent, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return pathFault("make directory", parent, err)
	}
	if err := a.Own(parent); err != nil {
		return pathFault("make directory", parent, err)
	}
	return syncDir(filepath.Dir(parent))
}
