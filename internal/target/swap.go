package target

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// SwapRequest says what is put in place of what.
type SwapRequest struct {
	Current string // the directory that is recovered; may be missing
	Staged  string // what takes its place: Staging(Current, Run), or empty for that
	Run     string // who swaps; the same run again finishes what it began

	// Exclusive refuses while a process has its working directory in Current:
	// right for a server's data directory, too strict for a tree of files.
	Exclusive bool
}

// Swapped says what Swap left.
type Swapped struct {
	Current string    `json:"current"`
	Old     string    `json:"old,omitempty"` // the former directory; empty when there was none
	At      time.Time `json:"at"`            // when the swap began
	Resumed bool      `json:"resumed"`       // whether an earlier attempt had begun it
}

// UndoRequest says whose swap is taken back.
type UndoRequest struct {
	Current string // the directory that was recovered
	Of      string // the run that swapped it
	Run     string // who takes that back; the same run again finishes what it began

	Exclusive bool // as in SwapRequest
}

// direction says where a journal is headed: to what takes its place, whether that
// was restored or had been kept aside.
type direction string

const forward direction = "swap"

// journal is what is written down before the first rename. Directories are
// told by inode, so that what a crash left can be seen from where they are.
// Staged and Old stand there for people: they follow from Current, Run and Undoes.
type journal struct {
	Run       string    `json:"run"`
	Direction direction `json:"direction"`
	Undoes    string    `json:"undoes,omitempty"` // the run whose swap is taken back: Staged is what that one kept
	Current   string    `json:"current"`
	Staged    string    `json:"staged"`
	Old       string    `json:"old"`
	Former    inode     `json:"former"` // what was in place; zero: nothing
	New       inode     `json:"new"`    // what takes its place
	At        time.Time `json:"at"`
}

// longestJournal bounds a journal in bytes: four paths and a run.
const longestJournal = 64 << 10

// mover carries out renames. after is called behind every change on disk; a
// test stops there, as a crash would.
type mover struct {
	after func(step string) error
}

func steady() mover { return mover{after: func(string) error { return nil }} }

// Swap renames Current aside and Staged into its place. The caller has made the
// content of Staged durable and holds the lock of Current. It fails with
// TargetRefused, before anything is moved, when that would not be safe, and
// when a directory is not where this run left it.
func Swap(ctx context.Context, request SwapRequest) (Swapped, error) {
	return steady().swap(ctx, request)
}

func (m mover) swap(ctx context.Context, request SwapRequest) (Swapped, error) {
	current := filepath.Clean(request.Current)
	if err := ctx.Err(); err != nil {
		return Swapped{}, err
	}
	j, resumed, err := readJournal(current, request.Run)
	if err != nil {
		return Swapped{}, err
	}
	if !resumed {
		if j, err = m.begin(current, request); err != nil {
			return Swapped{}, err
		}
	}
	if err := m.forward(j); err != nil {
		return Swapped{}, err
	}
	return j.swapped(resumed), nil
}

// swapped is what a finished journal has left.
func (j journal) swapped(resumed bool) Swapped {
	swapped := Swapped{Current: j.Current, At: j.At, Resumed: resumed}
	if j.Former != (inode{}) {
		swapped.Old = j.Old
	}
	return swapped
}

// begin checks, and writes the journal.
func (m mover) begin(current string, request SwapRequest) (journal, error) {
	j := journal{
		Run: request.Run, Direction: forward, Current: current,
		Staged: Staging(current, request.Run), Old: Aside(current, request.Run),
		At: time.Now().UTC().Truncate(time.Millisecond),
	}
	if request.Staged != "" && filepath.Clean(request.Staged) != j.Staged {
		return journal{}, fault.Newf(fault.TargetRefused, "swap", current, "%s is not where run %s stages it", request.Staged, request.Run)
	}
	var err error
	if j.New, err = inodeOf(j.Staged); err != nil {
		return journal{}, err
	}
	if j.New == (inode{}) {
		return journal{}, fault.Newf(fault.TargetRefused, "swap", current, "there is nothing at %s to put in its place", j.Staged)
	}
	if j.Former, err = inodeOf(j.Current); err != nil {
		return journal{}, err
	}
	return j, m.commit(j, request.Exclusive)
}

// commit writes the journal, once nothing keeps the directories from being moved.
func (m mover) commit(j journal, exclusive bool) error {
	if err := swappable(j.Current); err != nil {
		return err
	}
	if err := directory(j.Staged); err != nil {
		return err
	}
	if j.Former != (inode{}) && j.Former.Dev != j.New.Dev {
		return fault.Newf(fault.TargetRefused, "swap", j.Current, "%s lies on another file system", j.Staged)
	}
	if exclusive {
		if err := unused(j.Current); err != nil {
			return err
		}
	}
	return m.write(j)
}

// forward brings the directories to where a finished swap has them.
func (m mover) forward(j journal) error {
	at, err := j.look()
	if err != nil {
		return err
	}
	if at.current == j.New && at.old == j.Former && at.staged == (inode{}) {
		return m.settle(j)
	}
	if at.current != (inode{}) && at.current == j.Former && at.staged == j.New && at.old == (inode{}) {
		if err := m.rename(j.Current, j.Old, "former moved aside"); err != nil {
			return err
		}
		at.current, at.old = inode{}, j.Former
	}
	if at.current == j.New && at.staged != (inode{}) {
		return fault.Newf(fault.TargetRefused, "swap", j.Current, "run %s has put its directory in place already, and %s exists again", j.Run, j.Staged).
			WithHint("each recovery needs a run of its own")
	}
	if at.current != (inode{}) || at.old != j.Former || at.staged != j.New {
		return j.disturbed("swap")
	}
	if err := m.rename(j.Staged, j.Current, "new moved in place"); err != nil {
		return err
	}
	return m.settle(j)
}

// places is what lies at the three paths of a journal.
type places struct{ current, staged, old inode }

func (j journal) look() (places, error) {
	current, currentErr := inodeOf(j.Current)
	staged, stagedErr := inodeOf(j.Staged)
	old, oldErr := inodeOf(j.Old)
	return places{current, staged, old}, errors.Join(currentErr, stagedErr, oldErr)
}

func (j journal) disturbed(op string) error {
	return fault.Newf(fault.TargetRefused, op, j.Current, "a directory is not where run %s left it", j.Run).
		WithHint("look at %s, %s and %s: someone moved, made or removed one of them since %s", j.Current, j.Staged, j.Old, j.At.Format(time.RFC3339))
}

func (m mover) rename(from, to, step string) error {
	if err := rename(from, to); err != nil {
		return err
	}
	if err := m.after(step); err != nil {
		return err
	}
	return m.sync(from, to)
}

// settle makes sure that an earlier attempt's renames are durable, too.
func (m mover) settle(j journal) error { return m.sync(j.Current, j.Staged) }

func (m mover) sync(paths ...string) error {
	synced := ""
	for _, path := range paths {
		if parent := filepath.Dir(path); parent != synced {
			if err := syncParent(path); err != nil {
				return err
			}
			synced = parent
		}
	}
	return m.after("names synced")
}

// write puts the journal on disk, whole and durable.
func (m mover) write(j journal) error {
	path := journalPath(j.Current, j.Run)
	body, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return failed("write journal", path, err)
	}
	temporary := path + ".tmp"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) { // a crash's, or planted
		return failed("write journal", path, err)
	}
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return failed("write journal", path, err)
	}
	_, writeErr := file.Write(body)
	if err := errors.Join(writeErr, file.Sync(), file.Close()); err != nil {
		return failed("write journal", path, err)
	}
	if err := m.after("journal written"); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return failed("write journal", path, err)
	}
	if err := m.after("journal named"); err != nil {
		return err
	}
	return m.sync(path)
}

// readJournal reads a journal that a process with no other rights than this one
// wrote: the directory above Current may be another account's, which must not
// choose what is renamed.
func readJournal(current, run string) (journal, bool, error) {
	path := journalPath(current, run)
	refused := func(why string) (journal, bool, error) {
		return journal{}, false, fault.Newf(fault.TargetRefused, "read journal", path, "%s", why).
			WithHint("look at the directories beside %s and at who made this file, before anything is moved", current)
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return journal{}, false, nil
	}
	if errors.Is(err, unix.ELOOP) {
		return refused("it is a symbolic link")
	}
	if err != nil {
		return journal{}, false, failed("read journal", path, err)
	}
	defer file.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return journal{}, false, failed("read journal", path, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || int(stat.Uid) != os.Geteuid() && stat.Uid != 0 {
		return refused("it was not written by this worker's user")
	}
	body, err := io.ReadAll(io.LimitReader(file, longestJournal))
	if err != nil {
		return journal{}, false, failed("read journal", path, err)
	}
	var j journal
	if err := json.Unmarshal(body, &j); err != nil || j.Current != current || j.Run != run || j.Direction != forward {
		return refused("it is not the journal of this swap")
	}
	j.Staged, j.Old = Staging(current, run), Aside(current, run)
	if j.Undoes != "" {
		j.Staged = Aside(current, j.Undoes)
	}
	return j, true, nil
}

func removeDurably(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("remove", path, err)
	}
	return syncParent(path)
}
