package tree

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// sysStat gives what Linux says of a file.
func sysStat(info fs.FileInfo) (*syscall.Stat_t, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, errors.New("the file system gives no inode")
	}
	return stat, nil
}

// writeFault tells a full disk from every other failure.
func writeFault(op, name string, err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fault.New(fault.NoSpace, op, name, err)
	}
	return fault.New(fault.PathFailed, op, name, err)
}

// startWriteBack has the kernel write a part of a file to the disk from now on, so
// that the disk works while more is read, and a sync at the end finds little to do.
// Without it the kernel waits until a tenth of the memory is dirty. What fails here
// fails again, and is told, when everything is synced.
func startWriteBack(file *os.File, at, size int64) {
	raw, err := file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SyncFileRange(int(fd), at, size, unix.SYNC_FILE_RANGE_WRITE) })
}

// syncDir makes the names in a directory durable.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return fault.New(fault.PathFailed, "open directory", name, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return writeFault("sync directory", name, err)
	}
	return nil
}

// syncFileSystem writes out everything of the file system that f lies on. Since
// Linux 5.8 it reports write errors that happened since f was opened.
func syncFileSystem(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var syncErr error
	if err := raw.Control(func(fd uintptr) { syncErr = unix.Syncfs(int(fd)) }); err != nil {
		return err
	}
	return syncErr
}

// fileMode gives Unix permission bits as Go writes them.
func fileMode(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits & 0o777)
	if bits&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if bits&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if bits&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}
