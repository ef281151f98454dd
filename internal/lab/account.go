package lab

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/frende/lifeboat/internal/fault"
)

// serverAccount is who runs the servers when the caller is root. Debian's
// PostgreSQL package makes it.
const serverAccount = "postgres"

// Account is the ordinary user that servers run as.
type Account struct {
	Name     string
	UID, GID int
	switched bool // the caller is root and has to become it
}

// Ordinary gives the account that servers run as: the caller's own, or that of
// the postgres user when the caller is root.
func Ordinary() (Account, error) {
	var found *user.User
	var err error
	root := os.Geteuid() == 0
	if root {
		found, err = user.Lookup(serverAccount)
	} else {
		found, err = user.Current()
	}
	if err != nil {
		return Account{}, fault.New(fault.ServerSettings, "look up account", serverAccount, err).WithHint("run: make tools")
	}
	uid, uidErr := strconv.Atoi(found.Uid)
	gid, gidErr := strconv.Atoi(found.Gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return Account{}, fault.New(fault.ServerSettings, "read account", found.Username, err)
	}
	return Account{Name: found.Username, UID: uid, GID: gid, switched: root}, nil
}

// Own gives the tree at path to the account. Symbolic links are not followed.
func (a Account) Own(path string) error {
	if !a.switched {
		return nil
	}
	err := filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, a.UID, a.GID)
	})
	if err != nil {
		return fault.New(fault.PathFailed, "give to "+a.Name, path, err)
	}
	return nil
}

// Become makes the command run as the account.
func (a Account) Become(cmd *exec.Cmd) {
	if !a.switched {
		return
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID)}
}

// reaches says whether the account can enter dir: each folder on the way lets
// it pass. Access control lists are not looked at.
func (a Account) reaches(dir string) bool {
	if !a.switched {
		return true
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		if !a.mayEnter(info) {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

func (a Account) mayEnter(info fs.FileInfo) bool {
	mode := info.Mode().Perm()
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		switch {
		case int(stat.Uid) == a.UID:
			return mode&0o100 != 0
		case int(stat.Gid) == a.GID:
			return mode&0o010 != 0
		}
	}
	return mode&0o001 != 0
}
