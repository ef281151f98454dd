package tree

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// openForFinish opens a file whose content is written, or creates an empty one.
func openForFinish(dir *os.Root, name string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | unix.O_NOFOLLOW
	file, err := dir.OpenFile(name, flags, 0o600)
	if !errors.Is(err, fs.ErrPermission) {
		return file, err
	}
	if err := dir.Chmod(name, 0o600); err != nil { // an earlier Finish had given it its mode
		return nil, err
	}
	return dir.OpenFile(name, flags, 0o600)
}

// apply gives an open file or directory, called name in dir, its owner,
// attributes, times and mode. A change of the owner clears setuid and a change
// of content the times, so both come before; the mode comes last, because it
// may take this process's own access.
func (x *Extraction) apply(dir *os.Root, name string, file *os.File, entry Entry) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var applied error
	if err := raw.Control(func(fd uintptr) {
		if applied = x.own(int(fd), entry); applied == nil {
			applied = x.setXattrs(int(fd), entry)
		}
	}); err != nil {
		return err
	}
	if applied != nil {
		return applied
	}
	if err := dir.Chtimes(name, time.Time{}, entry.ModTime); err != nil {
		return err
	}
	return file.Chmod(fileMode(x.mode(entry)))
}

// own gives the entry to its owner, which only root can.
func (x *Extraction) own(fd int, entry Entry) error {
	uid, gid, same := x.c.Owner(entry)
	if os.Geteuid() == 0 {
		return unix.Fchown(fd, uid, gid)
	}
	if !same {
		x.dropped.Add(1)
	}
	return nil
}

// mode is the entry's mode, without setuid and setgid when the file changes hands.
func (x *Extraction) mode(entry Entry) uint32 {
	const special = unix.S_ISUID | unix.S_ISGID
	if entry.Kind != File || entry.Mode&special == 0 {
		return entry.Mode
	}
	if _, _, same := x.c.Owner(entry); same {
		return entry.Mode
	}
	x.dropped.Add(1)
	return entry.Mode &^ special
}

// setXattrs gives what this file system and this process can give; the rest is counted.
func (x *Extraction) setXattrs(fd int, entry Entry) error {
	for name, value := range entry.Xattrs {
		err := unix.Fsetxattr(fd, name, value, 0)
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EPERM) && !strings.HasPrefix(name, "user."):
			x.dropped.Add(1)
		default:
			return err
		}
	}
	return nil
}

// applySymlink gives a symbolic link its owner and times, never its target's.
func (x *Extraction) applySymlink(dir *os.Root, name string, entry Entry) error {
	if os.Geteuid() == 0 {
		uid, gid, _ := x.c.Owner(entry)
		if err := dir.Lchown(name, uid, gid); err != nil {
			return err
		}
	}
	holder, err := dir.Open(".")
	if err != nil {
		return err
	}
	raw, err := holder.SyscallConn()
	if err != nil {
		return errors.Join(err, holder.Close())
	}
	modified := unix.NsecToTimespec(entry.ModTime.UnixNano())
	times := []unix.Timespec{modified, modified}
	var timesErr error
	err = raw.Control(func(fd uintptr) { timesErr = unix.UtimesNanoAt(int(fd), name, times, unix.AT_SYMLINK_NOFOLLOW) })
	return errors.Join(err, timesErr, holder.Close())
}
