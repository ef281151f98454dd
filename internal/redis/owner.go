package redis

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/frende/lifeboat/internal/fault"
)

// Owner is the account that owns a server's files.
type Owner struct {
	User  string `json:"user,omitempty"` // "" when the number has no name
	Group string `json:"group,omitempty"`
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
	Mode  uint32 `json:"mode"` // permission bits of the directory or file
}

// OwnerOf gives the account that owns a path.
func OwnerOf(name string) (Owner, error) { return ownerOf(name) }

func ownerOf(name string) (Owner, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Owner{}, fault.New(fault.PathFailed, "look at", name, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Owner{}, fault.New(fault.PathFailed, "look at", name, errors.New("the file system gives no owner"))
	}
	owner := Owner{UID: int(stat.Uid), GID: int(stat.Gid), Mode: uint32(info.Mode().Perm())}
	if found, err := user.LookupId(strconv.Itoa(owner.UID)); err == nil {
		owner.User = found.Username
	}
	if found, err := user.LookupGroupId(strconv.Itoa(owner.GID)); err == nil {
		owner.Group = found.Name
	}
	return owner, nil
}
