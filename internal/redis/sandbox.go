package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// SandboxConfig says how a recovered data directory is served in a sandbox.
type SandboxConfig struct {
	Server   string // path of redis-server
	Dir      string // the data directory, in its place in the sandbox
	Layout   Layout
	User     string // operating system account to run as; "" is the worker's own
	Address  string // on loopback: host:port
	Username string // "" is Redis's own default user
	Password string
}

// StartSandbox starts a server on a recovered directory, on loopback only, with
// the password of production and without replication. One that an earlier
// attempt started is left as it is. The server outlives this process: EndSandbox
// ends it.
func StartSandbox(ctx context.Context, c SandboxConfig) error {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return fault.New(fault.ConfigInvalid, "start in sandbox", c.Address, err)
	}
	if running, err := sandboxRuns(c.Dir); running || err != nil {
		return err
	}
	run := sandboxRun(c.Dir)
	if err := os.RemoveAll(run); err != nil {
		return fault.New(fault.PathFailed, "remove", run, err)
	}
	if err := os.Mkdir(run, 0o700); err != nil {
		return fault.New(fault.PathFailed, "create", run, err)
	}
	// The settings hold a password: in a file of the account's own, never in argv.
	settings := filepath.Join(run, "redis.conf")
	if err := os.WriteFile(settings, []byte(sandboxSettings(c, host, port)), 0o600); err != nil {
		return fault.New(fault.PathFailed, "write", settings, err)
	}
	for _, path := range []string{run, settings} {
		if err := giveLike(path, c.Dir); err != nil {
			return err
		}
	}
	log := filepath.Join(run, "redis.log")
	program, err := command.New(command.Config{
		Argv: []string{c.Server, settings}, Dir: c.Dir, User: c.User, Daemon: true, Log: log, PIDFile: filepath.Join(run, "pid"), Grace: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	if _, err := program.Start(context.WithoutCancel(ctx)); err != nil {
		return fault.New(fault.ServerFailed, "start in sandbox", c.Dir, err).WithHint("read %s", log)
	}
	return nil
}

// EndSandbox ends a sandbox's server and removes what it was started with. None is no error.
func EndSandbox(ctx context.Context, dir string) error {
	pids, err := sandboxProcesses(dir)
	if err != nil {
		return err
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for _, pid := range pids {
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fault.New(fault.ServerFailed, "stop server in", dir, err)
			}
		}
		if pids, err = awaitGone(ctx, dir, 10*time.Second); err != nil {
			return err
		}
		if len(pids) == 0 {
			break
		}
	}
	if len(pids) > 0 {
		return fault.Newf(fault.ServerFailed, "stop server in", dir, "process %d can't be ended", pids[0])
	}
	if err := os.RemoveAll(sandboxRun(dir)); err != nil {
		return fault.New(fault.PathFailed, "remove", sandboxRun(dir), err)
	}
	return nil
}

func awaitGone(ctx context.Context, dir string, within time.Duration) ([]int, error) {
	limit := time.NewTimer(within)
	defer limit.Stop()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		pids, err := sandboxProcesses(dir)
		if err != nil || len(pids) == 0 {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit.C:
			return pids, nil
		case <-ticker.C:
		}
	}
}

func sandboxRun(dir string) string { return dir + ".server" }

func sandboxRuns(dir string) (bool, error) {
	pids, err := sandboxProcesses(dir)
	return len(pids) > 0, err
}

// sandboxProcesses finds the processes that work in the directory: a Redis
// server changes to its own.
func sandboxProcesses(dir string) ([]int, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.PathFailed, "look at", dir, err)
	}
	found, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil, fault.New(fault.PathFailed, "list", "/proc", err)
	}
	var pids []int
	for _, link := range found {
		cwd, err := os.Readlink(link)
		if err != nil || cwd != real {
			continue // it has ended, or is another account's
		}
		var pid int
		if _, err := fmt.Sscanf(link, "/proc/%d/cwd", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func sandboxSettings(c SandboxConfig, host, port string) string {
	appendOnly := "no"
	if c.Layout.AppendOnly {
		appendOnly = "yes"
	}
	settings := [][2]string{
		{"bind", host},
		{"port", port},
		{"dir", quoted(c.Dir)},
		{"dbfilename", quoted(c.Layout.DBFilename)},
		{"appendonly", appendOnly},
		{"appenddirname", quoted(c.Layout.AppendDirname)},
		{"appendfilename", quoted(c.Layout.AppendFilename)},
		{"save", `""`},
		{"databases", fmt.Sprint(max(c.Layout.Databases, 1))},
		{"daemonize", "no"},
		{"set-proc-title", "no"},
		{"logfile", `""`},
	}
	switch {
	case c.Username != "" && c.Username != "default":
		settings = append(settings, [2]string{"user", "default off"}, [2]string{"user", c.Username + " on " + quoted(">"+c.Password) + " ~* &* +@all"})
	case c.Password != "":
		settings = append(settings, [2]string{"requirepass", quoted(c.Password)})
	}
	var b strings.Builder
	for _, setting := range settings {
		fmt.Fprintln(&b, setting[0], setting[1])
	}
	return b.String()
}
