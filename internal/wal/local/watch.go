package local

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// spoolLook is the longest time between two looks at a spool, whatever is not told of it.
const spoolLook = 50 * time.Millisecond

// Watch tells when something comes into a folder or leaves it by a rename
// (inotify(7)). Where the kernel tells nothing, it says so every few milliseconds.
type Watch struct{ events *os.File }

// NewWatch watches a folder until Close. What changes from now on is told at once.
func NewWatch(folder string) *Watch {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return &Watch{}
	}
	if _, err := unix.InotifyAddWatch(fd, folder, unix.IN_MOVED_TO|unix.IN_MOVED_FROM|unix.IN_ONLYDIR); err != nil {
		_ = unix.Close(fd) // nothing is read from it
		return &Watch{}
	}
	return &Watch{events: os.NewFile(uintptr(fd), "inotify")}
}

// Wait returns when something has changed since the last Wait, when ctx ends, and
// after 50 ms in any case: the caller looks.
func (w *Watch) Wait(ctx context.Context) {
	if w.events == nil || w.events.SetReadDeadline(time.Now().Add(spoolLook)) != nil { // nor where epoll has no room for it
		select {
		case <-ctx.Done():
		case <-time.After(spoolLook / 10):
		}
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = w.events.SetReadDeadline(time.Unix(1, 0)) }) // it was just set
	defer stop()
	var told [4 << 10]byte
	_, _ = w.events.Read(told[:]) // what is told is that something has changed
}

// Close ends watching.
func (w *Watch) Close() {
	if w.events != nil {
		_ = w.events.Close() // nothing is lost
	}
}
