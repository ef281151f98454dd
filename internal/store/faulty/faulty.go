// Package faulty wraps a store with faults queued by a test. A test ends failed
// when a fault it queued was never hit: a fault that strikes nothing proves nothing.
package faulty

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

var _ store.Store = (*Store)(nil)

// Op is a call of the store.
type Op string

// The calls. Get and GetRange are told apart.
const (
	Put      Op = "put"
	Get      Op = "get"
	GetRange Op = "get range"
	Head     Op = "head"
	List     Op = "list"
	Delete   Op = "delete"
)

// Fault strikes one call. Fields that are not set do nothing; those that are
// set happen in the order in which they stand here.
type Fault struct {
	Op    Op     // of the call; "" is any
	Key   string // part of the call's key; "" is any
	After int    // calls that match and are let through first

	Hold    <-chan struct{} // the call waits until this is closed or its context ends
	Err     error           // the call fails with this and does nothing
	LostAck error           // a Put or Delete is carried out, then fails with this

	Cut    bool  // the body of a Get ends without an error after CutAt bytes, against the contract
	CutAt  int64 // see Cut
	Flip   bool  // the lowest bit of byte FlipAt of the body that a Get gives is turned over
	FlipAt int64 // see Flip
}

// Store is a store with a queue of faults.
type Store struct {
	store.Store

	mu     sync.Mutex
	queued []*pending
}

type pending struct {
	Fault
	passed int
}

// New wraps inner. When the test ends, every queued fault must have struck.
func New(t testing.TB, inner store.Store) *Store {
	s := &Store{Store: inner}
	t.Cleanup(func() {
		for _, left := range s.Left() {
			t.Errorf("queued fault was never hit: %s", left)
		}
	})
	return s
}

// Queue adds faults. A call is struck by the first queued fault that matches it.
func (s *Store) Queue(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		s.queued = append(s.queued, &pending{Fault: f})
	}
}

// Down queues as many failures of the calls whose key contains part as are ever
// made, until the function it returns is called. It need not strike.
func (s *Store) Down(part string, err error) (up func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lasting := &pending{Fault: Fault{Key: part, Err: err}, passed: always}
	s.queued = append(s.queued, lasting)
	return func() { s.remove(lasting) }
}

// always marks a fault that strikes again and again.
const always = -1

// Left describes the queued faults that have not struck.
func (s *Store) Left() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []string
	for _, p := range s.queued {
		if p.passed != always {
			left = append(left, fmt.Sprintf("%s %q after %d of %d", p.Op, p.Key, p.passed, p.After))
		}
	}
	return left
}

func (s *Store) remove(gone *pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.queued {
		if p == gone {
			s.queued = append(s.queued[:i], s.queued[i+1:]...)
			return
		}
	}
}

// strike takes the fault for this call out of the queue.
func (s *Store) strike(ctx context.Context, op Op, key string) (Fault, error) {
	f := s.take(op, key)
	if f.Hold != nil {
		select {
		case <-f.Hold:
		case <-ctx.Done():
			return f, fault.New(fault.StorageUnavailable, string(op), store.Subject(s.Name(), key), ctx.Err())
		}
	}
	return f, f.Err
}

func (s *Store) take(op Op, key string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.queued {
		if p.Op != "" && p.Op != op || !strings.Contains(key, p.Key) {
			continue
		}
		if p.passed == always {
			return p.Fault
		}
		if p.passed < p.After {
			p.passed++
			continue
		}
		s.queued = append(s.queued[:i], s.queued[i+1:]...)
		return p.Fault
	}
	return Fault{}
}

// Put is the store's, with its fault.
func (s *Store) Put(ctx context.Context, key string, body []byte, opts store.PutOptions) (store.Info, error) {
	f, err := s.strike(ctx, Put, key)
	if err != nil {
		return store.Info{}, err
	}
	info, err := s.Store.Put(ctx, key, body, opts)
	if err == nil && f.LostAck != nil {
		return store.Info{}, f.LostAck
	}
	return info, err
}

// Get is the store's, with its fault.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, store.Info, error) {
	f, err := s.strike(ctx, Get, key)
	if err != nil {
		return nil, store.Info{}, err
	}
	body, info, err := s.Store.Get(ctx, key)
	if err != nil {
		return nil, info, err
	}
	damaged, err := f.damage(body)
	return damaged, info, err
}

// GetRange is the store's, with its fault.
func (s *Store) GetRange(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	f, err := s.strike(ctx, GetRange, key)
	if err != nil {
		return nil, err
	}
	body, err := s.Store.GetRange(ctx, key, off, length)
	if err != nil {
		return nil, err
	}
	return f.damage(body)
}

// Head is the store's, with its fault.
func (s *Store) Head(ctx context.Context, key string) (store.Info, error) {
	if _, err := s.strike(ctx, Head, key); err != nil {
		return store.Info{}, err
	}
	return s.Store.Head(ctx, key)
}

// List is the store's, with its fault.
func (s *Store) List(ctx context.Context, prefix string, opts store.ListOptions) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		if _, err := s.strike(ctx, List, prefix); err != nil {
			yield(store.Info{}, err)
			return
		}
		s.Store.List(ctx, prefix, opts)(yield)
	}
}

// Delete is the store's, with its fault.
func (s *Store) Delete(ctx context.Context, key, version string) error {
	f, err := s.strike(ctx, Delete, key)
	if err != nil {
		return err
	}
	if err := s.Store.Delete(ctx, key, version); err != nil {
		return err
	}
	return f.LostAck
}

// damage gives the body as the fault leaves it.
func (f Fault) damage(body io.ReadCloser) (io.ReadCloser, error) {
	if !f.Cut && !f.Flip {
		return body, nil
	}
	whole, err := io.ReadAll(body)
	if closing := body.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return nil, err
	}
	if f.Flip && f.FlipAt < int64(len(whole)) {
		whole[f.FlipAt] ^= 1
	}
	if f.Cut && f.CutAt < int64(len(whole)) {
		whole = whole[:f.CutAt]
	}
	return io.NopCloser(bytes.NewReader(whole)), nil
}
