package target

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// sandboxMarker is in every sandbox that a drill made: nothing without it is ever cleared.
const sandboxMarker = "lifeboat-sandbox.json"

// Sandbox is where a drill recovers to.
type Sandbox struct {
	Root  string
	Ports []int    // on 127.0.0.1, of its servers
	Keep  []string // directories of production, which it must not share
}

// Make makes the sandbox's directory, empty, and marks it. It refuses, with
// TargetRefused, a directory that holds something and was not made by a drill,
// one that shares files with production by a link or a mount, and ports on which
// somebody listens. What an earlier drill left is cleared first.
func (s Sandbox) Make(ctx context.Context) error {
	if err := s.apart(); err != nil {
		return err
	}
	if _, err := s.Clear(ctx); err != nil {
		return err
	}
	for _, port := range s.Ports {
		if listening(ctx, port) {
			return fault.Newf(fault.TargetRefused, "make sandbox at", "127.0.0.1:"+strconv.Itoa(port), "somebody listens there").
				WithHint("give the sandbox another port_base in lifeboat.yaml")
		}
	}
	if err := os.MkdirAll(s.Root, 0o755); err != nil {
		return failed("make sandbox", s.Root, err)
	}
	entries, err := os.ReadDir(s.Root)
	if err != nil {
		return failed("look at", s.Root, err)
	}
	if len(entries) > 0 {
		return fault.Newf(fault.TargetRefused, "make sandbox in", s.Root, "it holds %s and was not made by a drill", entries[0].Name()).
			WithHint("name an empty directory, or one that does not exist, as root of the sandbox")
	}
	mark, err := json.Marshal(map[string]any{"made": time.Now().UTC()})
	if err != nil {
		return failed("mark", s.Root, err)
	}
	if err := os.WriteFile(filepath.Join(s.Root, sandboxMarker), mark, 0o644); err != nil {
		return failed("mark", s.Root, err)
	}
	return nil
}

// apart compares what the paths lead to: the configuration has compared their names.
func (s Sandbox) apart() error {
	root := resolved(s.Root)
	for _, dir := range s.Keep {
		production := resolved(dir)
		if inside(root, production) || inside(production, root) {
			return fault.Newf(fault.TargetRefused, "make sandbox in", s.Root, "it leads to %s, which overlaps %s of production", root, dir).
				WithHint("give the sandbox a root of its own in lifeboat.yaml")
		}
	}
	return nil
}

// resolved follows links as far as the path exists.
func resolved(path string) string {
	path = filepath.Clean(path)
	for rest := ""; ; path, rest = filepath.Dir(path), filepath.Join(filepath.Base(path), rest) {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Join(real, rest)
		}
		if path == filepath.Dir(path) {
			return filepath.Join(path, rest)
		}
	}
}

func inside(path, outer string) bool {
	relative, err := filepath.Rel(outer, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, "../")
}

func listening(ctx context.Context, port int) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was said
	return true
}

// endTime is what processes in a sandbox get to end by themselves.
const endTime = 10 * time.Second

// Clear ends every process that works in the sandbox and removes it. It refuses
// a directory that no drill has made; one that does not exist is clear. It gives
// how many processes had to be ended.
func (s Sandbox) Clear(ctx context.Context) (ended int, err error) {
	entries, err := os.ReadDir(s.Root)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, failed("look at", s.Root, err)
	}
	if info, err := os.Lstat(filepath.Join(s.Root, sandboxMarker)); err != nil || !info.Mode().IsRegular() {
		return 0, fault.Newf(fault.TargetRefused, "clear", s.Root, "no drill has made it").
			WithHint("look at what is there; remove it by hand if nothing of it is needed")
	}
	if ended, err = s.end(ctx); err != nil {
		return ended, err
	}
	// The mark goes last: a clearing that was cut off is taken up again.
	for _, entry := range entries {
		if entry.Name() != sandboxMarker {
			if err := removeTree(filepath.Join(s.Root, entry.Name())); err != nil {
				return ended, err
			}
		}
	}
	return ended, removeTree(s.Root)
}

func (s Sandbox) end(ctx context.Context) (int, error) {
	working, err := s.processes(false)
	if err != nil {
		return 0, err
	}
	count := len(working)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for _, pid := range working {
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return count, failed("end process "+strconv.Itoa(pid)+" in", s.Root, err)
			}
		}
		if working, err = s.awaitEnd(ctx); err != nil || len(working) == 0 {
			return count, err
		}
	}
	return count, fault.Newf(fault.TargetBusy, "clear", s.Root, "process %d works there and can't be ended", working[0])
}

func (s Sandbox) awaitEnd(ctx context.Context) ([]int, error) {
	limit := time.NewTimer(endTime)
	defer limit.Stop()
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		working, err := s.processes(false)
		if err != nil || len(working) == 0 {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit.C:
			return working, nil
		case <-poll.C:
		}
	}
}

// Left lists what is left of the sandbox: files, processes that work in it or
// were started with a path in it, and ports on which somebody listens. A clean
// drill leaves nothing.
func (s Sandbox) Left(ctx context.Context) ([]string, error) {
	var left []string
	if _, err := os.Lstat(s.Root); err == nil {
		left = append(left, "directory "+s.Root)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, failed("look at", s.Root, err)
	}
	working, err := s.processes(true)
	if err != nil {
		return nil, err
	}
	for _, pid := range working {
		left = append(left, "process "+strconv.Itoa(pid))
	}
	for _, port := range s.Ports {
		if listening(ctx, port) {
			left = append(left, "listener on port "+strconv.Itoa(port))
		}
	}
	return left, nil
}

// processes finds those whose working directory or program lies in the sandbox
// and, with named, those with a path in it on their command line. This one, and
// those that started it, are not counted.
func (s Sandbox) processes(named bool) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, failed("list", "/proc", err)
	}
	root := resolved(s.Root)
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || slices.Contains([]int{1, os.Getpid(), os.Getppid()}, pid) {
			continue
		}
		if s.holds(entry.Name(), root, named) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// holds looks at one process. One that has ended meanwhile, or is another
// account's, shows nothing.
func (s Sandbox) holds(pid, root string, named bool) bool {
	for _, link := range []string{"cwd", "exe"} {
		if path, err := os.Readlink(filepath.Join("/proc", pid, link)); err == nil && inside(strings.TrimSuffix(path, " (deleted)"), root) {
			return true
		}
	}
	if !named {
		return false
	}
	line, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	if err != nil {
		return false
	}
	for _, argument := range strings.Split(string(line), "\x00") {
		for _, prefix := range []string{root, filepath.Clean(s.Root)} {
			if argument == prefix || strings.Contains(argument, prefix+"/") {
				return true
			}
		}
	}
	return false
}
