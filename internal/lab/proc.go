package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// record names one process for good: its number alone may be given to another
// process later, with its start time and command line it can't be mistaken.
type record struct {
	PID   int      `json:"pid"`
	Start uint64   `json:"start"` // clock ticks since the boot
	Boot  string   `json:"boot"`
	Args  []string `json:"args"`
}

// stat is the part of /proc/PID/stat that is used here (proc(5)).
type stat struct {
	pid    int
	state  byte
	parent int
	start  uint64
}

func readStat(pid int) (stat, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The name is in brackets and may hold anything, so fields count from the last bracket.
	end := bytes.LastIndexByte(raw, ')')
	if end < 0 {
		return stat{}, fmt.Errorf("/proc/%d/stat has no name", pid)
	}
	fields := strings.Fields(string(raw[end+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	parent, parentErr := strconv.Atoi(fields[1])
	start, startErr := strconv.ParseUint(fields[19], 10, 64)
	return stat{pid: pid, state: fields[0][0], parent: parent, start: start}, errors.Join(parentErr, startErr)
}

func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' }

func bootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(raw)), err
}

// recordOf takes the record of a process that this process has just started.
func recordOf(pid int, args []string) (record, error) {
	found, err := readStat(pid)
	if err != nil {
		return record{}, err
	}
	boot, err := bootID()
	return record{PID: pid, Start: found.start, Boot: boot, Args: args}, err
}

// alive says whether the very process of the record still runs. One that has
// ended and waits to be collected by its parent does not.
func (r record) alive() bool {
	found, err := readStat(r.PID)
	if err != nil || found.dead() || found.start != r.Start {
		return false
	}
	boot, err := bootID()
	if err != nil || boot != r.Boot {
		return false
	}
	args, err := commandLine(r.PID)
	return err == nil && slices.Equal(args, r.Args)
}

func (r record) signal(sig syscall.Signal) error {
	if !r.alive() {
		return nil
	}
	if err := syscall.Kill(r.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// kill ends the process and everything it has started, at once. PostgreSQL's
// children lead sessions of their own, so a process group would miss them: the
// tree is stopped from the top, so that it can't grow, and then killed. It
// returns when all of it has ended: what a child still holds open, a port for
// one, is free by then.
func (r record) kill(ctx context.Context) error {
	if !r.alive() {
		return nil
	}
	tree := []stat{{pid: r.PID, start: r.Start}}
	var errs []error
	for i := 0; i < len(tree); i++ {
		if err := syscall.Kill(tree[i].pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, err)
		}
		children, err := childrenOf(tree[i].pid)
		if err != nil {
			errs = append(errs, err)
		}
		tree = append(tree, children...)
	}
	for _, member := range tree {
		now, err := readStat(member.pid)
		if err != nil || now.start != member.start {
			continue // gone by itself
		}
		if err := syscall.Kill(member.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, await(ctx, func() (bool, error) { return !slices.ContainsFunc(tree, stat.runs), nil }))
	return errors.Join(errs...)
}

// runs says whether this very process has not ended.
func (s stat) runs() bool {
	now, err := readStat(s.pid)
	return err == nil && now.start == s.start && !now.dead()
}

// straysOf finds the processes of an account whose working directory lies in
// dir and whose command line names a path in it: servers on data of that
// directory. A person's shell or editor there is no such process.
func straysOf(dir string, uid int) ([]record, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	inside := dir + "/"
	var strays []record
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			continue // ended meanwhile
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != uid {
			continue
		}
		working, err := os.Readlink("/proc/" + entry.Name() + "/cwd")
		if err != nil || !strings.HasPrefix(working+"/", inside) {
			continue
		}
		args, err := commandLine(pid)
		if err != nil || !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, inside) }) {
			continue
		}
		found, err := recordOf(pid, args)
		if err != nil {
			continue // ended meanwhile
		}
		strays = append(strays, found)
	}
	return strays, nil
}

func commandLine(pid int) ([]string, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00"), err
}

func childrenOf(parent int) ([]stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var children []stat
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		found, err := readStat(pid)
		if err != nil || found.parent != parent || found.dead() {
			continue // ended meanwhile, or another's
		}
		children = append(children, found)
	}
	return children, nil
}
