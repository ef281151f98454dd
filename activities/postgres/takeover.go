package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/tree"
)

// mayTake says whether a file is of the kind that is taken over: what the server keeps in
// its own directories. What people edit lies above them, and is always a new file.
func mayTake(entry tree.Entry) bool {
	top, _, inside := strings.Cut(entry.Path, "/")
	return entry.Kind == tree.File && inside && (top == "base" || top == "global" || strings.HasPrefix(strings.ToLower(top), "pg_"))
}

// survey is an older copy that is held against a stream. It is a vault.Likeness.
type survey struct {
	r     *restoring
	o     *older
	x     *tree.Extraction
	files []surveyed // by entry
}

// surveyed is one file of it.
type surveyed struct {
	mu      sync.Mutex
	begun   bool
	file    *os.File // while parts of it are to come
	offer   *tree.Offer
	left    int64 // bytes of its content that nothing is known of
	differs atomic.Bool
}

// takeOver puts the files of an older copy in place that are wholly the backup's.
func (r *restoring) takeOver(ctx context.Context, stream string, o *older, x *tree.Extraction) error {
	s := &survey{r: r, o: o, x: x, files: make([]surveyed, len(o.entries))}
	for i, entry := range o.entries {
		s.files[i].left = entry.Stored()
	}
	err := r.backup.Compare(ctx, stream, s)
	for i := range s.files {
		s.files[i].close()
	}
	return err
}

// Read is that of vault.Likeness.
func (s *survey) Read(offset int64, dst []byte) bool {
	return s.o.image.Read(offset, dst, func(entry int, at int64, dst []byte) bool {
		file := s.open(entry)
		if file == nil {
			return false
		}
		_, err := file.ReadAt(dst, at)
		return err == nil
	})
}

// largeFile is from what size on a file that can't be taken over is not read to its end: a small
// one is read for the sake of those that share frames with it.
const largeFile = 1 << 20

// open opens a file for as long as parts of it are to come; nil: there is nothing to read.
func (s *survey) open(entry int) *os.File {
	f, e := &s.files[entry], s.o.entries[entry]
	large := e.Size >= largeFile
	if large && f.differs.Load() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begun {
		return f.file
	}
	f.begun = true
	if large && (!mayTake(e) || s.x.IsTaken(entry)) {
		return nil
	}
	if f.file = s.o.open(e); f.file == nil {
		return nil
	}
	if ok := mayTake(e) && !s.x.IsTaken(entry); ok {
		f.offer, ok = s.x.Offer(entry, f.file)
		if !ok && large {
			f.shut()
		}
	}
	return f.file
}

// Told is that of vault.Likeness: a file goes in place when all of its frames are the backup's.
func (s *survey) Told(from, to int64, same bool) error {
	first, end := s.o.image.Entries(from, to)
	for i := first; i < end; i++ {
		entry := s.o.entries[i]
		bytes := min(to, entry.Offset+entry.Size) - max(from, entry.Offset)
		if entry.Kind != tree.File || bytes <= 0 {
			continue
		}
		if err := s.told(i, bytes, same); err != nil {
			return err
		}
	}
	return nil
}

func (s *survey) told(entry int, bytes int64, same bool) error {
	f := &s.files[entry]
	if !same {
		f.differs.Store(true)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left -= bytes; f.left > 0 {
		return nil
	}
	defer f.shut()
	if f.offer == nil || f.differs.Load() {
		return nil
	}
	took, err := f.offer.Take()
	if took {
		s.r.done.Add(s.o.entries[entry].Size)
	}
	return err
}

func (f *surveyed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut()
}

// shut closes the file; the lock is held.
func (f *surveyed) shut() {
	if f.file != nil {
		_ = f.file.Close() // it was only read
	}
	f.file, f.offer = nil, nil
}

// rests says whether nobody works in an older copy, and it was left in order: only then may
// its files become another's. A server that can't be seen from here has its postmaster.pid there.
func rests(dir string, control postgres.Control, found bool) (bool, error) {
	if found && control.State != "shut down" && control.State != "shut down in recovery" {
		return false, nil
	}
	if info, err := os.Lstat(filepath.Join(dir, filepath.Dir(postgres.ControlFile))); err != nil || !info.IsDir() {
		return false, nil //nolint:nilerr // what PostgreSQL never makes
	}
	_, err := os.Lstat(filepath.Join(dir, "postmaster.pid"))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err != nil, nil
	}
	return false, fault.New(fault.PathFailed, "look at", dir, err)
}

// shared is a directory of the run with files that an older copy has, too.
type shared struct {
	Root  string      `json:"root"`
	Older string      `json:"older"` // where that has them
	Twins []tree.Twin `json:"twins"`
}

// noteShared writes down which files are shared, for the step that starts the server.
func (r *restoring) noteShared() error {
	if len(r.shared) > 0 {
		return writeRun(r.place, r.place.shared(), r.shared)
	}
	if err := os.Remove(r.place.shared()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.PathFailed, "remove", r.place.shared(), err)
	}
	return nil
}
