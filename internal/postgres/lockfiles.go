package postgres

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// removeEmptyLocks removes the lock files that a server left empty which was
// killed between making and writing them: the next one would refuse to start
// for ever, as another might just be starting. None is: whoever calls this has made
// sure that nothing works in the directory, which is not production's.
func removeEmptyLocks(dataDir, socketDir string, port int) error {
	for _, path := range []string{
		filepath.Join(dataDir, "postmaster.pid"),
		filepath.Join(socketDir, ".s.PGSQL."+strconv.Itoa(port)+".lock"),
	} {
		info, err := os.Lstat(path)
		if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return pathFault("start in", path, err)
		}
	}
	return nil
}
