package vault

import (
	"context"
	"sync"
)

// share is one actor's part of the budget: a floor that it holds from its start
// to its end, and extras. It hands both out as grants.
type share struct {
	budget *Budget
	floor  int64
	most   int // grants at once

	mu      sync.Mutex
	free    bool // the floor is not granted
	out     int  // grants that are out
	closed  bool
	changed chan struct{} // closed and replaced whenever a grant comes back
}

// grant is leave to use bytes until it is returned.
type grant struct {
	bytes int64
	extra bool
}

// newShare waits for the floor. An actor that may hold extras without using
// them says afterwards, by lends, how it gives them back.
func newShare(ctx context.Context, b *Budget, floor int64, most int) (*share, error) {
	if err := b.Acquire(ctx, floor); err != nil {
		return nil, err
	}
	return &share{budget: b, floor: floor, most: most, free: true, changed: make(chan struct{})}, nil
}

// lends registers what gives idle extras back when another actor waits for its
// floor. It is called in a goroutine of its own, at any time, even after close.
func (s *share) lends(lend func()) { s.budget.addLender(s, lend) }

// take gives want bytes of extra, or the floor, or waits until one of its own
// grants comes back: never for others. With preferFloor the floor goes first.
func (s *share) take(ctx context.Context, want int64, preferFloor bool) (grant, error) {
	for {
		s.mu.Lock()
		if s.out < s.most || s.out == 0 {
			if s.free && (preferFloor || s.floor >= want) {
				return s.grantFloor(), nil
			}
			if s.budget.tryExtra(want) {
				s.out++
				s.mu.Unlock()
				return grant{bytes: want, extra: true}, nil
			}
			if s.out == 0 {
				return s.grantFloor(), nil
			}
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return grant{}, ctx.Err()
		}
	}
}

// try gives want bytes of extra if they can be had at once.
func (s *share) try(want int64) (grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out >= s.most || !s.budget.tryExtra(want) {
		return grant{}, false
	}
	s.out++
	return grant{bytes: want, extra: true}, true
}

// grantFloor is called with the lock held and releases it.
func (s *share) grantFloor() grant {
	s.free = false
	s.out++
	s.mu.Unlock()
	return grant{bytes: s.floor}
}

// give takes a grant back.
func (s *share) give(g grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out--
	if g.extra {
		s.budget.releaseExtra(g.bytes)
	} else if s.closed {
		s.budget.Release(s.floor)
	} else {
		s.free = true
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// close gives the floor back, at once or when its grant returns.
func (s *share) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.budget.removeLender(s)
	if s.free {
		s.free = false
		s.budget.Release(s.floor)
	}
}
