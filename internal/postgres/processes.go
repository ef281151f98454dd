package postgres

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// A server's processes, and the restore_command's, work in the data directory:
// that tells them from all others more surely than a recorded number, which may
// be used again. This holds for the account's own processes and for root.

// worksIn says whether the process lives and has its working directory there.
func worksIn(pid int, dir string) bool {
	cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return false
	}
	resolved, err := filepath.EvalSymlinks(dir)
	return err == nil && cwd == resolved && !zombie(pid)
}

// zombie says whether the process has exited and waits to be reaped.
func zombie(pid int) bool {
	body, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	// The state follows the name, which stands in parentheses (proc(5)).
	rest := strings.TrimSpace(string(body[strings.LastIndexByte(string(body), ')')+1:]))
	return rest == "" || rest[0] == 'Z' || rest[0] == 'X'
}

// workers lists the processes that work in dir.
func workers(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, pathFault("look for processes in", dir, err)
	}
	var found []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && worksIn(pid, dir) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// postmaster reads the first process of the server that runs in dir.
func postmaster(dir string) (pid int, found bool) {
	file, err := os.Open(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return 0, false
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	if !lines.Scan() {
		return 0, false
	}
	pid, err = strconv.Atoi(strings.TrimSpace(lines.Text()))
	if err != nil || pid <= 1 || !worksIn(pid, dir) {
		return 0, false
	}
	return pid, true
}

// Running says whether a server runs in the data directory, whether or not it answers.
func Running(dataDir string) bool {
	_, found := postmaster(dataDir)
	return found
}

// EndProcesses ends the server in a staged directory and all that works there:
// a fast shutdown first, then an immediate one, then SIGKILL. It must never be
// given a directory of production.
func EndProcesses(ctx context.Context, dir string) error {
	stages := []struct {
		signal syscall.Signal
		all    bool
		within time.Duration
	}{{syscall.SIGINT, false, stopTime}, {syscall.SIGQUIT, false, quitTime}, {syscall.SIGKILL, true, quitTime}}
	for _, stage := range stages {
		left, err := workers(dir)
		if err != nil || len(left) == 0 {
			return err
		}
		targets, within := left, stage.within
		if first, found := postmaster(dir); found && !stage.all {
			targets = []int{first}
		} else {
			within = quitTime // orphans: they end as soon as they notice
		}
		for _, pid := range targets {
			if err := syscall.Kill(pid, stage.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fault.New(fault.ServerFailed, "stop server in", dir, err).WithHint("run the worker as root or as the owner of the directory")
			}
		}
		gone, err := awaitNone(ctx, dir, within)
		if err != nil || gone {
			return err
		}
	}
	return fault.Newf(fault.ServerFailed, "stop server in", dir, "a process works there that can't be ended")
}

// awaitNone waits until nothing works in dir.
func awaitNone(ctx context.Context, dir string, within time.Duration) (bool, error) {
	limit := time.NewTimer(within)
	defer limit.Stop()
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	for {
		left, err := workers(dir)
		if err != nil || len(left) == 0 {
			return err == nil, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-limit.C:
			return false, nil
		case <-poll.C:
		}
	}
}
