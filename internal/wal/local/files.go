package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// WriteFile writes beside and renames, on disk when it returns.
func WriteFile(op, path string, body []byte, mode os.FileMode) error {
	beside := path + BesideSuffix // always the same: a killed attempt leaves nothing for good
	err := func() error {
		file, err := Create(beside, mode)
		if err != nil {
			return err
		}
		_, err = file.Write(body)
		if err == nil {
			err = file.Sync()
		}
		if closing := file.Close(); err == nil {
			err = closing
		}
		if err == nil {
			err = os.Rename(beside, path)
		}
		return err
	}()
	if err != nil {
		return fault.New(fault.PathFailed, op, path, err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = folder.Sync()
		if closing := folder.Close(); err == nil {
			err = closing
		}
	}
	if err != nil {
		return fault.New(fault.PathFailed, op, path, err)
	}
	return nil
}

// Create makes a file that is new: what a killed attempt left is removed, and so
// is a link, which the server's account may plant where a worker that is root writes.
func Create(path string, mode os.FileMode) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
}

// BesideSuffix is behind the name of what is being written.
const BesideSuffix = ".lifeboat"

// Place writes beside and renames. PostgreSQL itself makes what it keeps of it durable.
func Place(body []byte, dst string) error {
	return placeFrom(dst, func(into *os.File) error {
		_, err := into.Write(body)
		return err
	})
}

// placeFrom is Place for what write writes.
func placeFrom(dst string, write func(into *os.File) error) error {
	beside := dst + BesideSuffix // always the same: a killed attempt leaves nothing for good
	file, err := Create(beside, 0o600)
	if err == nil {
		err = write(file)
		if closing := file.Close(); err == nil {
			err = closing
		}
	}
	if err == nil {
		err = os.Rename(beside, dst)
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fault.New(fault.NoSpace, "write WAL", dst, err)
	}
	if err != nil {
		return fault.New(fault.PathFailed, "write WAL", dst, err)
	}
	return nil
}
