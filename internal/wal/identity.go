package wal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// identity is what a directory keeps when it is renamed, remounted or its host
// started again, and what a copy of it can't have. A snapshot that is mounted on
// the same host has all of it but the device, whose number the kernel gives out
// anew with each start: it tells the two apart until then.
type identity struct {
	Inode   uint64 `json:"inode"`
	Born    string `json:"born,omitempty"`    // when the file system made it; "": it does not say
	Machine string `json:"machine,omitempty"` // of the host; "": it has no machine-id
	Boot    string `json:"boot,omitempty"`    // of the host's start during which this was seen
	Mount   uint64 `json:"mount,omitempty"`   // device number under that start
}

// same says whether two identities can be of one directory. What one of them
// does not say tells nothing: a marker of an earlier version has the inode alone.
func (i identity) same(other identity) bool {
	agree := func(a, b string) bool { return a == "" || b == "" || a == b }
	mounted := i.Boot == "" || i.Boot != other.Boot || i.Mount == other.Mount
	return mounted && i.Inode == other.Inode && agree(i.Born, other.Born) && agree(i.Machine, other.Machine)
}

// machineID is what tells a clone of a whole disk from the disk, on another host.
const machineID = "/etc/machine-id"

// bootID is the kernel's name for the time since its start, the same in every container.
const bootID = "/proc/sys/kernel/random/boot_id"

// identify looks at a data directory.
func identify(dataDir string) (identity, error) {
	const op = "look at"
	var stat unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dataDir, 0, unix.STATX_TYPE|unix.STATX_INO|unix.STATX_BTIME, &stat); err != nil {
		return identity{}, fault.New(fault.PathFailed, op, dataDir, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return identity{}, fault.Newf(fault.PathFailed, op, dataDir, "it is no directory")
	}
	found := identity{Inode: stat.Ino}
	if stat.Mask&unix.STATX_BTIME != 0 {
		found.Born = fmt.Sprintf("%d.%09d", stat.Btime.Sec, stat.Btime.Nsec)
	}
	machine, err := hostFile(machineID)
	if err != nil {
		return identity{}, err
	}
	found.Machine, found.Mount = machineMark(machine), unix.Mkdev(stat.Dev_major, stat.Dev_minor)
	found.Boot, err = hostFile(bootID)
	return found, err
}

// hostFile reads one line that names the host; "" where it has no such file.
func hostFile(path string) (string, error) {
	body, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(fault.PathFailed, "read", path, err)
	}
	return strings.TrimSpace(string(body)), nil
}

// machineMark stands for the machine-id, which is not to be given away (machine-id(5)).
func machineMark(id string) string {
	if id == "" || id == "uninitialized" {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write([]byte(MarkerName))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
