package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/tree"
)

// A staged server writes to the files that it shares with an older copy. Before it is
// started for the first time, the older copy is spent: it loses its control file, without which no
// server starts in it, and says why. All that is right in it can still be taken from it.

// Names in an older copy.
const (
	spentMark    = "lifeboat.spent"
	controlAside = postgres.ControlFile + ".lifeboat-spent" // until it is sure that nobody has started a server meanwhile
)

// spentNote is what spentMark holds, for people and for a later restore over the copy.
type spentNote struct {
	Run      string    `json:"run"` // that takes it over
	At       time.Time `json:"at"`
	SystemID string    `json:"system_id"`
	What     string    `json:"what"`
}

const spentWhat = "A restore with --delta took files of this copy over into a newer one. As long as global/pg_control is here, " +
	"this copy is whole. Without it, it is spent: those files were changed in place, so no server may be started here. " +
	"A restore with --delta to this directory still takes from it what is right; else remove it."

// longestNote bounds what is read of a note, in bytes.
const longestNote = 64 << 10

func (p Place) shared() string { return filepath.Join(p.Run, "shared.json") }
func (p Place) spent() string  { return filepath.Join(p.Run, "spent.json") }

// spend makes the older copy one that no server starts in, when the staged server
// shares files with it. It may be called again, and does nothing once it is done. It fails with TargetRefused,
// and leaves the older copy as it was, when somebody has used that since it was compared.
func (j *job) spend(place Place, facts Facts) error {
	if !j.ref.Delta {
		return nil
	}
	var files []shared
	if known, err := readRun(place.shared(), &files); err != nil || !known {
		return err
	}
	if done, err := readRun(place.spent(), &spentNote{}); err != nil || done {
		return err
	}
	root, err := openDirectory(j.ref.Dir)
	if err != nil {
		return err
	}
	if root == nil {
		return fault.Newf(fault.TargetRefused, "restore over", j.ref.Dir, "it was moved or removed meanwhile").WithHint("begin anew, and leave the older copy alone")
	}
	defer func() { _ = root.Close() }() // what was written was synced
	if err := unused(j.ref.Dir, files); err != nil {
		return err
	}
	owner, err := place.owner()
	if err != nil {
		return err
	}
	note := spentNote{Run: j.ref.RunID, At: time.Now().UTC().Truncate(time.Second), SystemID: facts.SystemID, What: spentWhat}
	if err := putNote(root, owner, note); err != nil {
		return err
	}
	if err := j.takeControl(root, files); err != nil {
		return err
	}
	return writeRun(place, place.spent(), note)
}

// takeControl removes the control file of the older copy: first its name, by which a server
// finds it, and when none has by then, all of it.
func (j *job) takeControl(root *os.Root, files []shared) error {
	failed := func(err error) error { return fault.New(fault.PathFailed, "spend", j.ref.Dir, err) }
	if err := root.Rename(postgres.ControlFile, controlAside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(failed(err), giveBack(root, j.ref.RunID))
	}
	if err := unused(j.ref.Dir, files); err != nil {
		return errors.Join(err, giveBack(root, j.ref.RunID))
	}
	if err := root.Remove(controlAside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(err)
	}
	if err := syncIn(root, path.Dir(postgres.ControlFile)); err != nil {
		return failed(err)
	}
	return nil
}

// unused refuses an older copy that somebody works in, or has worked in since its files
// were compared.
func unused(dir string, files []shared) error {
	refused := func(format string, args ...any) error {
		return fault.Newf(fault.TargetRefused, "restore over", dir, format, args...).WithHint("leave the older copy alone until the run has ended, and begin anew")
	}
	if err := checkOlder(dir); err != nil {
		return err
	}
	if still, err := rests(dir, postgres.Control{}, false); err != nil || !still {
		return errors.Join(err, refused("a server was started in it meanwhile: there is a postmaster.pid, or what only somebody else makes"))
	}
	for _, in := range files {
		changed, err := tree.Changed(in.Root, in.Twins)
		if err != nil {
			return err
		}
		if changed != "" {
			return refused("%s was changed meanwhile", changed)
		}
		parted, err := tree.Parted(in.Root, in.Older, in.Twins)
		if err != nil {
			return err
		}
		if parted != "" {
			return refused("another directory is in its place: it does not have the %s that was taken over", parted)
		}
	}
	return nil
}

// putNote writes the note into the older copy, durably.
func putNote(root *os.Root, owner postgres.Account, note spentNote) error {
	failed := func(err error) error {
		return fault.New(fault.PathFailed, "write", filepath.Join(root.Name(), spentMark), err)
	}
	body, err := json.MarshalIndent(note, "", "  ")
	if err != nil {
		return failed(err)
	}
	if err := root.RemoveAll(spentMark); err != nil {
		return failed(err)
	}
	file, err := root.OpenFile(spentMark, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return failed(err)
	}
	_, err = file.Write(append(body, '\n'))
	if err := errors.Join(err, owner.OwnFile(file), file.Sync(), file.Close(), syncIn(root, ".")); err != nil {
		return failed(err)
	}
	return nil
}

// readNote reads the note of an older copy; nil: it has none that can be read.
func readNote(root *os.Root) *spentNote {
	info, err := root.Lstat(spentMark)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	file, err := root.OpenFile(spentMark, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer file.Close()
	body, err := io.ReadAll(io.LimitReader(file, longestNote))
	var note spentNote
	if err != nil || json.Unmarshal(body, &note) != nil || note.Run == "" {
		return nil
	}
	return &note
}

// giveBack takes back what a run has begun to do to an older copy, and has not finished:
// the control file has its name again, and the note is gone.
func giveBack(root *os.Root, run string) error {
	failed := func(err error) error { return fault.New(fault.PathFailed, "give back", root.Name(), err) }
	note := readNote(root)
	if note == nil || note.Run != run {
		return nil
	}
	if err := root.Rename(controlAside, postgres.ControlFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(err)
	}
	if _, err := root.Lstat(postgres.ControlFile); errors.Is(err, fs.ErrNotExist) { // it is spent, or was before
		return nil
	} else if err != nil {
		return failed(err)
	}
	if err := errors.Join(syncIn(root, path.Dir(postgres.ControlFile)), root.Remove(spentMark), syncIn(root, ".")); err != nil {
		return failed(err)
	}
	return nil
}

// syncIn makes the names in a directory below root durable.
func syncIn(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// What an older copy is when the one that was to replace it has not come.
const (
	OlderWhole = "whole" // as it was
	OlderBack  = "back"  // moved aside, and back
	OlderSpent = "spent"
)

// leaveOlder leaves an older copy as whole as it can be, when the new one has not come,
// and says what it is then; "": there is none.
func leaveOlder(ref Ref, place Place) (string, error) {
	if !ref.Delta || ref.Dir == "" {
		return "", nil
	}
	if came, err := place.came(ref.Dir); err != nil || came {
		return "", err
	}
	back, err := takeBackOlder(ref)
	if err != nil {
		return "", err
	}
	root, err := openDirectory(ref.Dir)
	if err != nil || root == nil {
		return "", err
	}
	defer func() { _ = root.Close() }() // what was written was synced
	if err := giveBack(root, ref.RunID); err != nil {
		return "", err
	}
	_, err = root.Lstat(postgres.ControlFile)
	switch {
	case err != nil && readNote(root) != nil:
		return OlderSpent, nil
	case back:
		return OlderBack, nil
	}
	return OlderWhole, nil
}

// alone refuses an older copy that another run works over, or that one was cut off over: its
// server may still write to what both share. Each run first makes its own scratch
// directory, then looks for others, so that of two at once none or one goes on.
func (j *job) alone() error {
	others, err := target.OtherScratches(j.ref.Dir, j.ref.RunID)
	if err != nil || len(others) == 0 {
		return err
	}
	return fault.Newf(fault.TargetRefused, "restore over", j.ref.Dir, "another run restores over it, or to it: %s", others[0]).
		WithHint("wait until that run has ended; if it was terminated, see that no server runs in that directory, and remove it")
}

// notStarted refuses to restore again what a server has been started on. An attempt that everyone
// has given up for lost may wake that late.
func notStarted(place Place) error {
	started, err := readRun(place.spent(), &spentNote{})
	if err != nil || !started {
		return err
	}
	return fault.Newf(fault.TargetRefused, "restore to", place.Staging, "a server has been started there since")
}

// mayRestoreOver fails when the directory of the copy holds another cluster, or a server
// runs there, and says whether its files may become another's.
func (j *job) mayRestoreOver(ctx context.Context, place Place, facts Facts) (resting bool, err error) {
	if err := checkOlder(j.ref.Dir); err != nil {
		return false, err
	}
	control, found, err := postgres.Cluster(ctx, place.BinDir, j.ref.Dir, facts.SystemID)
	if err != nil {
		return false, err
	}
	if !found { // spent, or what is left of something
		root, err := openDirectory(j.ref.Dir)
		if err != nil || root == nil {
			return false, err
		}
		note := readNote(root)
		if err := root.Close(); err != nil {
			return false, fault.New(fault.PathFailed, "close", j.ref.Dir, err)
		}
		if note != nil && note.SystemID != facts.SystemID {
			return false, fault.Newf(fault.ForeignCluster, "compare clusters", j.ref.Dir, "it was a copy of %s, expected is %s", note.SystemID, facts.SystemID)
		}
	}
	return rests(j.ref.Dir, control, found)
}
