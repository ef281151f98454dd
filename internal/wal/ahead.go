package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/vault"
)

const (
	aheadFiles = 8                // files that are pushed before PostgreSQL asks
	aheadTime  = time.Minute      // that one of them may take
	aheadKept  = 10 * time.Minute // how long the answer of one is believed
)

// aheadSeals is how many files are read, compressed and sealed at once; each
// takes its size in memory beside the budget.
func aheadSeals() int { return min(runtime.NumCPU(), 4) }

var (
	errDropped = errors.New("PostgreSQL asked for another file")
	errBehind  = errors.New("the file before it did not come into the store")
)

// Ahead pushes what a server asks for and, beside it, what it will ask for next:
// the files that it has marked as complete (pg_wal/archive_status/*.ready).
//
// Files are sealed in parallel and stored in order, each when the one before is in
// the store. A host that is lost in the middle of it leaves no hole in the
// archive, which would keep a recovery from using what lies behind it.
//
// Its answer is that of Archive.Push: nil only when the file as it is now is in
// the store. Close ends it.
type Ahead struct {
	archive *Archive
	base    context.Context
	stop    context.CancelCauseFunc
	folder  *os.File
	dataDir string // the open directory, whatever is renamed meanwhile
	seals   chan struct{}
	flying  sync.WaitGroup

	mu  sync.Mutex
	row []*flight // in the order in which they are stored
}

// flight is one file on its way.
type flight struct {
	name   string
	head   *flight // the first of the row that it belongs to; itself, when it was asked for
	before *flight // is stored first; nil for the head
	cancel context.CancelCauseFunc
	sealed chan struct{} // closed when it needs no more memory
	done   chan struct{} // closed when what follows is known

	err error
	was state // of the file that was stored
	at  time.Time
}

// Ahead opens a data directory, to push from there until Close or the end of ctx.
func (a *Archive) Ahead(ctx context.Context, dataDir string) (*Ahead, error) {
	folder, err := os.Open(dataDir)
	if err != nil {
		return nil, fault.New(fault.PathFailed, "open", dataDir, err)
	}
	base, stop := context.WithCancelCause(ctx)
	return &Ahead{
		archive: a, base: base, stop: stop, folder: folder,
		dataDir: fmt.Sprintf("/proc/self/fd/%d", folder.Fd()), seals: make(chan struct{}, aheadSeals()),
	}, nil
}

// Directory describes the data directory that is open.
func (h *Ahead) Directory() (os.FileInfo, error) {
	info, err := h.folder.Stat()
	if err != nil {
		return nil, fault.New(fault.PathFailed, "look at", h.folder.Name(), err)
	}
	return info, nil
}

// Close gives up what is on its way, waits for it, and closes the directory. No
// Push may be running or follow.
func (h *Ahead) Close() error {
	h.stop(errDropped)
	h.flying.Wait()
	return h.folder.Close()
}

// Push answers for the file of that name in pg_wal. What is on its way goes on
// when ctx ends.
func (h *Ahead) Push(ctx context.Context, name string) error {
	if !pushable(name) {
		return fault.Newf(fault.InputInvalid, "push WAL", name, "its name is not that of a WAL file")
	}
	for anew := false; ; anew = true {
		f, mine := h.join(name, anew)
		if err := f.wait(ctx); err != nil {
			h.drop(f)
			if mine || ctx.Err() != nil {
				return err
			}
			continue // it was in the way of others only as long as nobody asked for it
		}
		if mine {
			return nil
		}
		same, err := h.unchanged(f)
		if err != nil || same {
			return err
		}
		h.drop(f)
	}
}

// join finds the file on its way or, when there is none or it is to go anew,
// starts a row with it; then it adds what is waiting behind.
func (h *Ahead) join(name string, anew bool) (f *flight, mine bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, other := range h.row {
		if other.name == name && !anew && !other.stale(h.archive.cfg.Now()) {
			f = other
			h.row = h.row[i:] // what was asked for before is answered
			break
		}
	}
	if f == nil {
		h.clear()
		f, mine = h.launch(name, nil), true
	}
	h.fill()
	return f, mine
}

// fill adds what the server has marked as complete behind the last of the row.
// What can't be listed is pushed when it is asked for. Histories come first in
// PostgreSQL's order (pgarch_readyXlog), so none is waiting behind a segment.
func (h *Ahead) fill() {
	names, err := waiting(h.dataDir)
	if err != nil {
		return
	}
	for _, name := range names {
		last := h.row[len(h.row)-1]
		if len(h.row) > aheadFiles || last.failed() {
			return
		}
		if name > last.name && !postgres.IsHistory(name) {
			h.launch(name, last)
		}
	}
}

func (h *Ahead) launch(name string, before *flight) *flight {
	ctx, cancel := context.WithCancelCause(h.base)
	f := &flight{name: name, before: before, cancel: cancel, sealed: make(chan struct{}), done: make(chan struct{})}
	if f.head = f; before != nil {
		f.head = before.head
	}
	h.row = append(h.row, f)
	h.flying.Go(func() {
		defer cancel(nil)
		ctx, ended := context.WithTimeout(ctx, aheadTime)
		defer ended()
		f.was, f.err = h.store(ctx, f)
		f.at = h.archive.cfg.Now()
		close(f.done)
	})
	return f
}

// store seals the file, lets the one before it go first, and stores it.
func (h *Ahead) store(ctx context.Context, f *flight) (was state, err error) {
	path := filepath.Join(h.dataDir, "pg_wal", f.name)
	key, sealed, was, err := h.seal(ctx, f, path)
	close(f.sealed)
	if err != nil {
		return was, err
	}
	err = f.goesNext(ctx)
	if err == nil {
		err = sealed.Put(ctx)
	}
	sealed.Release()
	if !fault.Has(err, fault.ObjectExists) {
		return was, err
	}
	body, was, err := readWAL(path, h.archive.memory())
	if err != nil {
		return was, err
	}
	defer h.archive.memory().Return(body)
	return was, h.archive.compare(ctx, key, body)
}

// seal waits for memory only at the head of a row: behind it, memory that is
// waited for may be held by a file that waits for this one.
func (h *Ahead) seal(ctx context.Context, f *flight, path string) (key string, sealed *vault.Sealed, was state, err error) {
	if f.head != f {
		if err := f.head.isSealed(ctx); err != nil {
			return "", nil, was, err
		}
		select {
		case h.seals <- struct{}{}:
			defer func() { <-h.seals }()
		case <-ctx.Done():
			return "", nil, was, context.Cause(ctx)
		}
	}
	key, body, was, err := h.archive.admit(ctx, path, h.dataDir)
	if err != nil {
		return "", nil, was, err
	}
	defer h.archive.memory().Return(body)
	sealed, err = h.archive.cfg.Vault.Seal(ctx, key, h.archive.dayKey(), body, vault.SealedOptions{IfNoneMatch: true, Spare: f.head != f})
	return key, sealed, was, err
}

// unchanged says whether the file is still what was stored: a name may be given
// to another file after it was pushed. When that is not sure, the answer is no.
func (h *Ahead) unchanged(f *flight) (bool, error) {
	path := filepath.Join(h.dataDir, "pg_wal", f.name)
	info, err := os.Stat(path)
	if err != nil {
		return false, fault.New(fault.PathFailed, "read WAL", path, err)
	}
	return f.was.settled && stateOf(info, f.was.read) == f.was, nil
}

// drop gives up a row, when the flight still belongs to it.
func (h *Ahead) drop(f *flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, other := range h.row {
		if other == f {
			h.clear()
			return
		}
	}
}

func (h *Ahead) clear() {
	for _, f := range h.row {
		f.cancel(errDropped)
	}
	h.row = nil
}

// stale says that the answer is known and too old to be believed.
func (f *flight) stale(now time.Time) bool {
	select {
	case <-f.done:
		return now.Sub(f.at) > aheadKept
	default:
		return false
	}
}

func (f *flight) failed() bool {
	select {
	case <-f.done:
		return f.err != nil
	default:
		return false
	}
}

func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fault.New(fault.StorageUnavailable, "push WAL", f.name, context.Cause(ctx))
	}
}

func (f *flight) isSealed(ctx context.Context) error {
	select {
	case <-f.sealed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// goesNext waits until all that comes before is in the store.
func (f *flight) goesNext(ctx context.Context) error {
	if f.before == nil {
		return nil
	}
	select {
	case <-f.before.done:
		if f.before.err != nil {
			return errBehind
		}
		f.before = nil // it may be forgotten
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
