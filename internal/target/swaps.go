package target

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kept is a swap that can still be undone: the directory that it replaced, and since when.
type Kept struct {
	Run string    `json:"run"`
	Old string    `json:"old"` // where the replaced directory is; it may be missing
	At  time.Time `json:"at"`  // when the swap began

	Journal string `json:"journal"`           // the file that says all this
	Nothing bool   `json:"nothing,omitempty"` // there was none to replace
}

// Swaps lists the swaps of dir whose journals are there, oldest first.
func Swaps(dir string) ([]Kept, error) {
	dir = filepath.Clean(dir)
	left, err := Leftovers(dir)
	if err != nil {
		return nil, err
	}
	var all []Kept
	for _, one := range left {
		if one.Kind != LeftoverJournal || strings.HasSuffix(one.Path, ".tmp") { // a journal that was never named
			continue
		}
		body, err := os.ReadFile(one.Path)
		if err != nil {
			return nil, failed("read journal", one.Path, err)
		}
		var j journal
		if err := json.Unmarshal(body, &j); err != nil || j.Current != dir || journalPath(dir, j.Run) != one.Path {
			continue // not ours: Expire would refuse it
		}
		all = append(all, Kept{Run: j.Run, Old: j.Old, At: j.At, Journal: one.Path, Nothing: j.Former == (inode{})})
	}
	return all, nil
}

// Holding says who holds the lock of a directory.
type Holding struct {
	Run     string    `json:"run"`
	Since   time.Time `json:"since"`
	Host    string    `json:"host"`
	Working bool      `json:"working"` // a process of the run works under it at this moment
}

// Holder looks who holds the lock of dir and takes nothing; false when nobody does.
func Holder(dir string) (Holding, bool, error) {
	file, err := os.OpenFile(lockPath(dir), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Holding{}, false, nil
	}
	if err != nil {
		return Holding{}, false, failed("look at lock of", dir, err)
	}
	defer file.Close() // lets go of the shared lock, too
	err = unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	working := errors.Is(err, unix.EWOULDBLOCK)
	if err != nil && !working {
		return Holding{}, false, failed("look at lock of", dir, err)
	}
	owner, err := readHolder(file)
	if err != nil {
		return Holding{}, false, failed("read lock of", dir, err)
	}
	return Holding{Run: owner.Run, Since: owner.Since, Host: owner.Host, Working: working}, owner.Run != "" || working, nil
}
