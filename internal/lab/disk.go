package lab

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// SmallDisk is a file system of its own in memory, which can be full.
type SmallDisk struct {
	t   testing.TB
	dir string
}

// NewSmallDisk mounts a file system of this many bytes at a directory until the test
// ends. Only root may.
func (l *Lab) NewSmallDisk(t testing.TB, dir string, bytes int64) *SmallDisk {
	t.Helper()
	options := fmt.Sprintf("size=%d,mode=0755,uid=%d,gid=%d", bytes, l.Account.UID, l.Account.GID)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount a small disk at %s: %v", dir, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return &SmallDisk{t: t, dir: dir}
}

// Grow makes the disk this large.
func (d *SmallDisk) Grow(bytes int64) {
	d.t.Helper()
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", bytes)); err != nil {
		d.t.Fatalf("grow the disk at %s: %v", d.dir, err)
	}
}
