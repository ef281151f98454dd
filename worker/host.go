package main

import (
	"os"
	"strings"
	"syscall"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/service"
)

// hostName is this machine's name as the ledger's chain and the worker's
// identity use it: lower case, without what a key can't hold.
func hostName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fault.New(fault.Unsupported, "find the name of", "this host", err)
	}
	kept := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		default:
			return '-'
		}
	}, strings.ToLower(name))
	return "host-" + strings.Trim(kept, "-."), nil
}

// logDir is where the output of service commands goes: systemd's LogsDirectory
// when the worker's unit has one, else a folder of this user alone in the
// temporary directory.
func logDir() (string, error) {
	dir := service.LogDir()
	if os.Getenv("LOGS_DIRECTORY") != "" {
		return dir, nil // systemd made it
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return "", fault.New(fault.PathFailed, "make log directory", dir, err)
	}
	found, err := os.Lstat(dir)
	if err != nil {
		return "", fault.New(fault.PathFailed, "look at log directory", dir, err)
	}
	owner, ok := found.Sys().(*syscall.Stat_t)
	if !ok || !found.IsDir() || int(owner.Uid) != os.Geteuid() || found.Mode().Perm() != 0o700 {
		return "", fault.Newf(fault.PathFailed, "use log directory", dir, "it is not a directory of this user alone").
			WithHint("remove it, or set LOGS_DIRECTORY to a directory of the worker's own")
	}
	return dir, nil
}
