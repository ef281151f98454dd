package tree

import (
	"container/list"
	"errors"
	"os"
	"sync"
)

// openFiles keeps the files that chunks are being written to open, up to a
// bound: a large file comes in many chunks, from several goroutines.
type openFiles struct {
	open  func(entry int) (*os.File, error)
	bound int

	mu    sync.Mutex
	known map[int]*openFile
	idle  *list.List // of entries without users, longest idle first
}

type openFile struct {
	once  sync.Once
	file  *os.File
	err   error
	users int
	idle  *list.Element
}

func newOpenFiles(open func(entry int) (*os.File, error), bound int) *openFiles {
	if bound <= 0 {
		bound = 256
	}
	return &openFiles{open: open, bound: bound, known: make(map[int]*openFile), idle: list.New()}
}

// acquire gives the file of an entry, which stays open until release.
func (o *openFiles) acquire(entry int) (*os.File, error) {
	o.mu.Lock()
	f, ok := o.known[entry]
	if !ok {
		f = &openFile{}
		o.known[entry] = f
	}
	f.users++
	if f.idle != nil {
		o.idle.Remove(f.idle)
		f.idle = nil
	}
	o.mu.Unlock()

	f.once.Do(func() { f.file, f.err = o.open(entry) })
	if f.err != nil {
		return nil, errors.Join(f.err, o.release(entry))
	}
	return f.file, nil
}

// release gives the file back, and closes what has been idle longest when too
// many are open.
func (o *openFiles) release(entry int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.known[entry]
	f.users--
	if f.users > 0 {
		return nil
	}
	if f.err != nil { // the next one tries again
		delete(o.known, entry)
		return nil
	}
	f.idle = o.idle.PushBack(entry)
	if len(o.known) <= o.bound {
		return nil
	}
	return o.evict(o.idle.Front())
}

func (o *openFiles) evict(oldest *list.Element) error {
	entry, ok := o.idle.Remove(oldest).(int)
	if !ok {
		return errors.New("open files: the list holds no entry")
	}
	file := o.known[entry].file
	delete(o.known, entry)
	return file.Close()
}

// close closes all files. None may be in use.
func (o *openFiles) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var errs []error
	for o.idle.Len() > 0 {
		errs = append(errs, o.evict(o.idle.Front()))
	}
	return errors.Join(errs...)
}
