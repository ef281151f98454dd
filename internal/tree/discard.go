package tree

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
)

// Discard removes a staging directory and its journal. It is repeatable; what
// it leaves when it is killed is never taken for the work of an extraction.
func Discard(root, journalPath string) (removed bool, err error) {
	j, earlier, err := openJournal(journalPath)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, j.close()) }()
	if _, err := os.Lstat(root); errors.Is(err, fs.ErrNotExist) {
		return false, removeJournal(journalPath)
	}
	if !earlier.known || earlier.identity.Root != root {
		return false, fault.Newf(fault.TargetRefused, "discard", root, "no restore of ours made it")
	}
	if err := j.add(recordVoid, 0); err != nil {
		return false, err
	}
	if err := Loosen(root); err != nil {
		return false, err
	}
	if err := os.RemoveAll(root); err != nil {
		return false, fault.New(fault.PathFailed, "remove", root, err)
	}
	return true, removeJournal(journalPath)
}

func removeJournal(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.PathFailed, "remove", name, err)
	}
	return nil
}

// Loosen opens every directory of a tree to its owner. A finished tree may hold
// directories that nobody but root may remove anything from. It follows no
// symbolic link, and does nothing for root, or when there is no tree.
func Loosen(root string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	opened, err := os.OpenRoot(root)
	if errors.Is(err, fs.ErrPermission) {
		if err = os.Chmod(root, 0o700); err == nil {
			opened, err = os.OpenRoot(root)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(loosen(opened, "."), opened.Close())
	}
	if err != nil {
		return fault.New(fault.PathFailed, "open to its owner", filepath.Clean(root), err)
	}
	return nil
}

func loosen(root *os.Root, at string) error {
	if err := root.Chmod(at, 0o700); err != nil {
		return err
	}
	dir, err := root.Open(at)
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	if err := errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if err := loosen(root, path.Join(at, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
