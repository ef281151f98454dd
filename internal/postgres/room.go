package postgres

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
)

// StagedMargin is what is asked for beside a data directory beyond what a restore
// is expected to write there.
const StagedMargin = 512 << 20

// HeldWAL is how much WAL a staged server that replays so many bytes of it holds at
// most at one time: all there is, or what two checkpoints lie apart, as it keeps
// that much until the second one is replayed. maxWALSize is the source's; a backup that
// does not say it (0) counts with all.
func HeldWAL(all, maxWALSize, segmentSize int64) int64 {
	if maxWALSize == 0 {
		return all
	}
	return min(all, 2*max(maxWALSize, StagedWAL(segmentSize)))
}

// DataBytes is the size of what a backup of dir would hold now: its files, but
// its WAL. A directory that is missing has none, and what vanishes meanwhile neither.
func DataBytes(dir string) (int64, error) {
	var bytes int64
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path == filepath.Join(dir, "pg_wal") {
			return filepath.SkipDir
		}
		if err == nil && entry.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				bytes += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return 0, fault.New(fault.PathFailed, "measure", dir, err)
	}
	return bytes, nil
}
