package target

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// lockPoll is how often a lock that another attempt of the same run holds is tried again.
const lockPoll = 50 * time.Millisecond

// longestRecord is more than a record can be.
const longestRecord = 64 << 10

// holder is what a lock file says.
type holder struct {
	Run   string    `json:"run"`
	Since time.Time `json:"since"`
	Host  string    `json:"host"`
	PID   int       `json:"pid"` // of the attempt that holds it, or held it last
}

// Held is a lock on a directory.
type Held struct {
	dir  string
	file *os.File
}

// Lock takes the lock on dir for a run. The lock is the run's until Release,
// through crashes and across processes: the same run enters it again, waiting
// until ctx ends for an earlier attempt that still works in it; every other run
// is refused with TargetBusy, which names the holder. The directory itself need
// not exist, its parent must.
func Lock(ctx context.Context, dir, run string) (*Held, error) {
	if run == "" {
		return nil, fault.Newf(fault.InputInvalid, "lock", dir, "no run is named")
	}
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		held, err := tryLock(dir, run)
		if held != nil || err != nil {
			return held, err
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return nil, fault.Newf(fault.TargetBusy, "lock", dir, "an earlier attempt of this run still works in it")
		case <-poll.C:
		}
	}
}

// tryLock gives nil and no error when another attempt of the same run holds the
// lock, or took the file away meanwhile.
func tryLock(dir, run string) (*Held, error) {
	path := lockPath(dir)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, failed("lock", dir, err)
	}
	keep := false
	defer func() {
		if !keep {
			file.Close()
		}
	}()
	locked := true
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		locked = false
	} else if err != nil {
		return nil, failed("lock", dir, err)
	}
	owner, err := readHolder(file)
	if err != nil {
		return nil, failed("read lock of", dir, err)
	}
	if owner.Run != "" && owner.Run != run {
		return nil, busy(dir, owner)
	}
	// A file that is not at its path any more was released while it was opened.
	if current, err := sameFile(file, path); err != nil || !current || !locked {
		return nil, err
	}
	if owner.Run == "" {
		owner = holder{Run: run, Since: time.Now().UTC().Truncate(time.Second)}
	}
	if owner.Host, err = os.Hostname(); err != nil {
		return nil, failed("lock", dir, err)
	}
	owner.PID = os.Getpid()
	if err := writeHolder(file, owner); err != nil {
		return nil, failed("lock", dir, err)
	}
	if err := syncParent(path); err != nil {
		return nil, err
	}
	keep = true
	return &Held{dir: dir, file: file}, nil
}

func busy(dir string, owner holder) error {
	return fault.Newf(fault.TargetBusy, "lock", dir, "run %s holds it since %s", owner.Run, owner.Since.Format(time.RFC3339)).
		WithHint("wait for that run to end, or abort it; if it no longer exists in Temporal, remove %s", lockPath(dir))
}

// Close leaves the lock to the run's next attempt: the process lets go of it,
// the run keeps it.
func (h *Held) Close() error {
	if err := h.file.Close(); err != nil {
		return failed("leave lock of", h.dir, err)
	}
	return nil
}

// Release gives the lock up for the run. The lock can't be used after it.
func (h *Held) Release() error {
	defer h.file.Close()
	path := lockPath(h.dir)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("release lock of", h.dir, err)
	}
	return syncParent(path)
}

// readHolder reads the record; an empty or torn one is nobody's, since it is
// written before anything is done under the lock.
func readHolder(file *os.File) (holder, error) {
	body := make([]byte, longestRecord)
	n, err := file.ReadAt(body, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return holder{}, err
	}
	var owner holder
	if !json.Valid(body[:n]) {
		return holder{}, nil
	}
	return owner, json.Unmarshal(body[:n], &owner)
}

func writeHolder(file *os.File, owner holder) error {
	body, err := json.Marshal(owner)
	if err != nil {
		return err
	}
	// A shorter record over a longer one leaves blanks, never a torn record.
	if info, err := file.Stat(); err != nil {
		return err
	} else if missing := info.Size() - int64(len(body)); missing > 0 {
		for range missing {
			body = append(body, ' ')
		}
	}
	if _, err := file.WriteAt(body, 0); err != nil {
		return err
	}
	return file.Sync()
}

func sameFile(file *os.File, path string) (bool, error) {
	opened, err := file.Stat()
	if err != nil {
		return false, failed("lock", path, err)
	}
	named, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, failed("lock", path, err)
	}
	return os.SameFile(opened, named), nil
}
