package vault

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/shelf"
)

// Budget bounds the bytes of all buffers of a process.
//
// It can't deadlock, however streams are opened, because there are two ways to
// take from it. An actor (an open stream writer, a reader) waits only once, when
// it starts, for a small *floor* with which it can go to its end alone. All that
// makes it faster is *extra*: taken only when it is there at once and nobody
// waits, and never from the last quarter of the budget, which is left to floors.
// Extras of a stream that nobody reads or writes just now, because the one who
// does waits for a further stream's floor, are lent back to who waits. So no
// floor ever waits for an extra that lies idle. (What is left is a process that
// keeps more streams open at once, none of which can end before a further one
// opens, than floors fit: at 192 MiB over 40.)
type Budget struct {
	limit int64
	all   *semaphore.Weighted
	extra *semaphore.Weighted // three quarters of limit

	used, peak atomic.Int64

	idle shelf.Shelf // buffers; with what is taken, at most limit

	mu      sync.Mutex
	waiting int               // actors that wait for their floor; no extra is given meanwhile
	lenders map[*share]func() // each gives back the extras that its actor does not use just now
}

// lendAfter is how long a floor is waited for before idle extras are asked back.
// Most memory that is in use comes back sooner, and what is lent costs reading or sealing it anew.
const lendAfter = 50 * time.Millisecond

// NewBudget makes a budget of so many bytes.
func NewBudget(bytes int64) *Budget {
	return &Budget{
		limit: bytes, all: semaphore.NewWeighted(bytes), extra: semaphore.NewWeighted(bytes / 4 * 3),
		lenders: map[*share]func(){},
	}
}

// Limit is the size of the budget in bytes.
func (b *Budget) Limit() int64 { return b.limit }

// Used is how many bytes are taken now, with those beside the budget.
func (b *Budget) Used() int64 { return b.used.Load() }

// Peak is the most that was ever taken at once.
func (b *Budget) Peak() int64 { return b.peak.Load() }

// Acquire takes n bytes and waits for them, first come first served. Wait only
// while holding nothing that another one may wait for. ConfigInvalid: the budget
// is smaller than n altogether.
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	if n > b.limit {
		return fault.Newf(fault.ConfigInvalid, "reserve memory", "limits.memory", "%d bytes are needed at once, the budget has %d", n, b.limit).
			WithHint("raise limits.memory")
	}
	if !b.all.TryAcquire(n) {
		b.mu.Lock()
		b.waiting++
		b.mu.Unlock()
		timer := time.AfterFunc(lendAfter, b.recall)
		err := b.all.Acquire(ctx, n)
		timer.Stop()
		b.mu.Lock()
		b.waiting--
		b.mu.Unlock()
		if err != nil {
			return err // the context's own
		}
	}
	b.took(n)
	return nil
}

// recall asks for every extra that lies idle. Whoever is being read or written
// lends when that call returns; none is given out anew while somebody waits.
func (b *Budget) recall() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, lend := range b.lenders {
		go lend()
	}
}

func (b *Budget) addLender(s *share, lend func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lenders[s] = lend
}

func (b *Budget) removeLender(s *share) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.lenders, s)
}

// Release gives n acquired bytes back.
func (b *Budget) Release(n int64) {
	b.used.Add(-n)
	b.all.Release(n)
}

// tryExtra takes n bytes if they can be had at once and nobody waits.
func (b *Budget) tryExtra(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting > 0 {
		return false
	}
	if !b.extra.TryAcquire(n) {
		return false
	}
	if !b.all.TryAcquire(n) {
		b.extra.Release(n)
		return false
	}
	b.took(n)
	return true
}

func (b *Budget) releaseExtra(n int64) {
	b.Release(n)
	b.extra.Release(n)
}

func (b *Budget) took(n int64) {
	used := b.used.Add(n)
	for {
		peak := b.peak.Load()
		if used <= peak || b.peak.CompareAndSwap(peak, used) {
			return
		}
	}
}

// rounded is n up to the next 64 KiB, so that buffers come in few sizes.
func rounded(n int64) int64 { return (n + 64<<10 - 1) &^ (64<<10 - 1) }

// buffer gives a buffer of size bytes with any content. Its memory must have
// been taken from the budget before.
func (b *Budget) buffer(size int) *[]byte {
	found := b.idle.Take(size)
	b.idle.Shrink(max(0, b.limit-b.used.Load()))
	if found == nil {
		found = make([]byte, size)
	}
	return &found
}

// Beside gives a buffer of size bytes with any content that nobody waits for: for what
// may not wait, in the place of buffers that lie idle as far as there are any. It is
// part of Used, and may make that more than Limit. Return takes it back.
func (b *Budget) Beside(size int) []byte {
	b.took(int64(size))
	return *b.buffer(size)
}

// Return takes back a buffer of Beside, whole.
func (b *Budget) Return(buffer []byte) {
	b.idle.Put(buffer)
	b.used.Add(-int64(cap(buffer)))
}

// recycle takes a buffer back; its memory may be released after.
func (b *Budget) recycle(buffer *[]byte) { b.idle.Put(*buffer) }
