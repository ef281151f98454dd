// Package shelf keeps large buffers that were used before. A sync.Pool loses what it
// keeps to every garbage collection, and whoever works with a few large buffers and
// little else has one for each of them: the kernel then clears every page anew.
package shelf

import (
	"sync"
	"time"
)

// keepFor is how long a buffer lies unused before its memory is given back.
const keepFor = 5 * time.Second

// Shelf keeps buffers until they are taken again, or for 5 seconds. The zero value is
// empty and ready. It is safe for concurrent use.
type Shelf struct {
	mu    sync.Mutex
	idle  []kept // the one that lies longest first
	bytes int64
	timer *time.Timer // runs while anything lies there
}

type kept struct {
	buffer []byte
	since  time.Time
}

// Take gives a buffer that has just this capacity, with any content and that length; nil: there is none.
func (s *Shelf) Take(size int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.idle) - 1; i >= 0; i-- { // the last one may still be in a cache
		if buffer := s.idle[i].buffer; cap(buffer) == size {
			s.remove(i)
			return buffer[:size]
		}
	}
	return nil
}

// Put keeps a buffer that nobody uses any more.
func (s *Shelf) Put(buffer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, kept{buffer: buffer, since: time.Now()})
	s.bytes += int64(cap(buffer))
	if s.timer == nil {
		s.timer = time.AfterFunc(keepFor, s.expire)
	}
}

// Shrink gives buffers back, those that lie longest first, until at most so many bytes are left.
func (s *Shelf) Shrink(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.idle) > 0 && s.bytes > bytes {
		s.remove(0)
	}
}

func (s *Shelf) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.idle) > 0 && time.Since(s.idle[0].since) >= keepFor {
		s.remove(0)
	}
	if s.timer = nil; len(s.idle) > 0 {
		s.timer = time.AfterFunc(keepFor-time.Since(s.idle[0].since), s.expire)
	}
}

func (s *Shelf) remove(i int) {
	s.bytes -= int64(cap(s.idle[i].buffer))
	last := len(s.idle) - 1
	copy(s.idle[i:], s.idle[i+1:])
	s.idle[last] = kept{} // or it would be held
	s.idle = s.idle[:last]
}
