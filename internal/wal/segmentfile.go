package wal

import (
	"io"
	"os"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/vault"
)

// stampStep is more than the step in which a kernel's timestamps of files advance
// (a tick of its clock, at most 10 ms).
const stampStep = 20 * time.Millisecond

// state tells the content of a file from a later one, without reading it.
type state struct {
	device, inode     uint64
	size              int64
	modified, changed int64 // nanoseconds since 1970, by the file system's clock
	read              time.Time
	settled           bool // whatever changed it after it was read has changed this, too
}

func stateOf(info os.FileInfo, read time.Time) state {
	s := state{size: info.Size(), modified: info.ModTime().UnixNano(), read: read}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode, s.changed = stat.Dev, stat.Ino, stat.Ctim.Nano()
		s.settled = read.Sub(time.Unix(0, max(s.changed, s.modified))) > stampStep
	}
	return s
}

// readWAL reads a file of pg_wal, into a buffer that is returned to the memory it is
// from when it is not needed any more, and gives its state from before it was read.
func readWAL(path string, memory *vault.Budget) (body []byte, was state, err error) {
	failed := func(err error) ([]byte, state, error) {
		if body != nil {
			memory.Return(body)
		}
		return nil, state{}, fault.New(fault.PathFailed, "read WAL", path, err)
	}
	read := time.Now()
	file, err := os.Open(path)
	if err != nil {
		return failed(err)
	}
	defer func() { _ = file.Close() }() // read only
	info, err := file.Stat()
	if err != nil {
		return failed(err)
	}
	if err := checkSize("push WAL", path, info.Size()); err != nil {
		return nil, state{}, err
	}
	body = memory.Beside(int(info.Size()))
	if _, err := io.ReadFull(file, body); err != nil {
		return failed(err)
	}
	if n, err := file.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return failed(io.ErrUnexpectedEOF)
	}
	return body, stateOf(info, read), nil
}
