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
// started again, and what a copy of it can't have. The number of its device is
// no part of it: the kernel gives that out anew with each start.
type identity struct {
	Inode   uint64 `json:"inode"`
	Born    string `json:"born,omitempty"`    // when the file system made it; "": it does not say
	Machine string `json:"machine,omitempty"` // of the host; "": it has no machine-id
}

// same says whether two identities can be of one directory. What one of them
// does not say tells nothing: a marker of an earlier version has the inode alone.
func (i identity) same(other identity) bool {
	agree := func(a, b string) bool { return a == "" || b == "" || a == b }
	return i.Inode == other.Inode && agree(i.Born, other.Born) && agree(i.Machine, other.Machine)
}

// machineID is what tells a clone of a whole disk from the disk, on another host.
const machineID = "/etc/machine-id"

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
	body, err := os.ReadFile(machineID)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return identity{}, fault.New(fault.PathFailed, "read", machineID, err)
	}
	found.Machine = machineMark(strings.TrimSpace(string(body)))
	return found, nil
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
