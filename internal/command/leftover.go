package command

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// record is what a PID file holds. A process is only taken for the recorded
// one when boot, id and start time agree: ids are used again.
type record struct {
	PID     int    `json:"pid"`
	Start   uint64 `json:"start"` // clock ticks since boot, field 22 of /proc/PID/stat
	Boot    string `json:"boot"`
	Program string `json:"program"`
	Argv    string `json:"argv"` // SHA-256; arguments themselves may be private
}

// leftoverPoll is how often the end of a foreign process is looked for. It is
// not a child, so it can't be waited for.
const leftoverPoll = 20 * time.Millisecond

// record writes the PID file, if one is wanted.
func (p *Process) record() error {
	path := p.command.config.PIDFile
	if path == "" {
		return nil
	}
	stat, err := readStat(p.PID())
	if err != nil {
		return fault.New(fault.PathFailed, "record process of", p.command.name, err)
	}
	boot, err := bootID()
	if err != nil {
		return fault.New(fault.PathFailed, "record process of", p.command.name, err)
	}
	sum := sha256.Sum256([]byte(strings.Join(p.command.config.Argv, "\x00")))
	body, err := json.Marshal(record{PID: p.PID(), Start: stat.start, Boot: boot, Program: p.command.name, Argv: hex.EncodeToString(sum[:])})
	if err != nil {
		return fault.New(fault.PathFailed, "record process of", p.command.name, err)
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, body, 0o600); err != nil {
		return fault.New(fault.PathFailed, "write process record", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fault.New(fault.PathFailed, "write process record", path, err)
	}
	return nil
}

// forget removes the PID file.
func (p *Process) forget() error {
	path := p.command.config.PIDFile
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.PathFailed, "remove process record", path, err)
	}
	return nil
}

// EndLeftover ends the process group that pidFile records, if it still runs:
// SIGTERM first, SIGKILL after grace. It returns when the group has ended and
// the record is removed, and says whether there was one. A record of another
// boot, or whose id belongs to another process now, is only removed.
func EndLeftover(ctx context.Context, pidFile string, grace time.Duration) (bool, error) {
	body, err := os.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fault.New(fault.PathFailed, "read process record", pidFile, err)
	}
	var left record
	if err := json.Unmarshal(body, &left); err != nil || left.PID <= 1 {
		return false, fault.Newf(fault.PathFailed, "read process record", pidFile, "it is not one").
			WithHint("end what it stands for by hand, then remove it")
	}
	boot, err := bootID()
	if err != nil {
		return false, fault.New(fault.PathFailed, "read process record", pidFile, err)
	}
	found := left.Boot == boot && left.runs()
	if found {
		if err := left.end(ctx, grace); err != nil {
			return true, err
		}
	}
	if err := os.Remove(pidFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return found, fault.New(fault.PathFailed, "remove process record", pidFile, err)
	}
	return found, nil
}

func (r record) runs() bool {
	stat, err := readStat(r.PID)
	return err == nil && stat.start == r.Start && stat.alive()
}

// end signals the group until no live process is in it.
func (r record) end(ctx context.Context, grace time.Duration) error {
	killGroup(r.PID, syscall.SIGTERM)
	kill := time.NewTimer(grace)
	defer kill.Stop()
	poll := time.NewTicker(leftoverPoll)
	defer poll.Stop()
	for groupAlive(r.PID) {
		select {
		case <-ctx.Done():
			return fault.New(fault.CommandFailed, "end leftover", r.Program, ctx.Err())
		case <-kill.C:
			killGroup(r.PID, syscall.SIGKILL)
		case <-poll.C:
		}
	}
	return nil
}

// stat is what is used of /proc/PID/stat (proc(5)).
type stat struct {
	state byte
	pgid  int
	start uint64
}

// alive is false for what has exited and waits to be reaped.
func (s stat) alive() bool { return s.state != 'Z' && s.state != 'X' }

func readStat(pid int) (stat, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	body, err := os.ReadFile(path)
	if err != nil {
		return stat{}, err
	}
	// The second field, the name, stands in parentheses and may hold anything.
	fields := bytes.Fields(body[bytes.LastIndexByte(body, ')')+1:])
	if len(fields) < 20 {
		return stat{}, errors.New(path + ": too few fields")
	}
	pgid, pgidErr := strconv.Atoi(string(fields[2]))
	start, startErr := strconv.ParseUint(string(fields[19]), 10, 64)
	return stat{state: fields[0][0], pgid: pgid, start: start}, errors.Join(pgidErr, startErr)
}

// groupAlive says whether a live process belongs to the group.
func groupAlive(pgid int) bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if stat, err := readStat(pid); err == nil && stat.pgid == pgid && stat.alive() {
			return true
		}
	}
	return false
}

func bootID() (string, error) {
	body, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(body)), err
}
