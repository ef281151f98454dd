package target

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// Vacant is Apart for a directory that holds nothing.
func Vacant(dir string, others ...string) error {
	if err := Apart(dir, others...); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return fault.Newf(fault.TargetRefused, opCopy, dir, "it is not empty").WithHint("nothing is written over: name a directory that is empty or missing")
	}
	if err != nil && !os.IsNotExist(err) {
		return failed("look at", dir, err)
	}
	return nil
}

const opCopy = "copy to"

// Apart refuses a directory that a copy can't be put at: one that is no absolute
// path, is named as what runs leave beside a directory, is a link, or has no
// directory above it; and one that lies in or over one of the others, by its name or
// by where links lead. It touches nothing, and fails with InputInvalid or TargetRefused.
func Apart(dir string, others ...string) error {
	const op = opCopy
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/" {
		return fault.Newf(fault.InputInvalid, op, dir, "it is not the absolute path of a directory below the root")
	}
	refuse := func(format string, args ...any) *fault.Error {
		return fault.Newf(fault.TargetRefused, op, dir, format, args...)
	}
	if strings.Contains(filepath.Base(dir), ".lifeboat-") {
		return refuse("it is named as what a run leaves beside a directory").WithHint("choose another name")
	}
	above, err := os.Stat(filepath.Dir(dir))
	if err != nil || !above.IsDir() {
		return refuse("%s is no directory on the worker's host", filepath.Dir(dir)).WithHint("make it, or choose another place")
	}
	if err := directory(dir); err != nil {
		return err
	}
	for _, other := range others {
		for _, mine := range []string{dir, led(dir)} {
			for _, theirs := range []string{filepath.Clean(other), led(other)} {
				if within(mine, theirs) || within(theirs, mine) {
					return refuse("it lies in or over %s, which is production's", other).WithHint("choose a place of its own")
				}
			}
		}
	}
	return nil
}

// led is where a path leads, as far as it exists.
func led(path string) string {
	path = filepath.Clean(path)
	resolved, err := filepath.EvalSymlinks(path)
	if err == nil {
		return resolved
	}
	if parent := filepath.Dir(path); parent != path {
		return filepath.Join(led(parent), filepath.Base(path))
	}
	return path
}

// MoveAside renames a directory to its Aside for the run, durably. One that is
// missing, or that an earlier attempt has moved, is left as it is.
func MoveAside(dir, run string) error {
	there, err := inodeOf(dir)
	if err != nil || there == (inode{}) {
		return err
	}
	if moved, err := inodeOf(Aside(dir, run)); err != nil || moved != (inode{}) {
		return err
	}
	return PutInPlace(dir, Aside(dir, run))
}

// MoveBack takes MoveAside back, and removes what has come in the directory's place
// since. Where nothing was moved, nothing is done.
func MoveBack(dir, run string) error {
	aside := Aside(dir, run)
	if moved, err := inodeOf(aside); err != nil || moved == (inode{}) {
		return err
	}
	if err := removeTree(dir); err != nil {
		return err
	}
	return PutInPlace(aside, dir)
}

// DiscardAside removes what MoveAside moved for the run. None is no error.
func DiscardAside(dir, run string) error { return removeTree(Aside(dir, run)) }

// PutDirectory renames a finished directory to its name, durably. An empty
// directory is all that it replaces.
func PutDirectory(from, to string) error {
	if err := unix.Rmdir(to); err != nil && !errors.Is(err, unix.ENOENT) {
		return fault.New(fault.TargetRefused, "put in place", to, err).WithHint("something was put there meanwhile: move it away, and go on")
	}
	return PutInPlace(from, to)
}
