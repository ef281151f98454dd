package ledger

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// Verify reads every chain whole: numbers from 1 without a gap, each record
// tied to the one before it, signed by a known key and readable. Heads that
// someone kept, and those that this Ledger has seen, must still be there. The
// first object that breaks this is named in an IntegrityError.
func (l *Ledger) Verify(ctx context.Context, kept ...Head) error {
	l.mu.Lock()
	heads := append(slices.Collect(maps.Values(l.seen)), kept...)
	l.mu.Unlock()
	writers, err := l.writers(ctx, Filter{})
	if err != nil {
		return err
	}
	for _, head := range heads {
		if head.Sequence > 0 && !slices.Contains(writers, head.Writer) {
			return broken(key(head.Writer, 1), "the whole chain is gone")
		}
	}
	for _, writer := range writers {
		if err := l.verifyChain(ctx, writer, heads); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) verifyChain(ctx context.Context, writer string, heads []Head) error {
	numbers, err := l.numbers(ctx, writer, store.ListOptions{})
	if err != nil {
		return err
	}
	last := int64(0)
	if len(numbers) > 0 {
		last = numbers[len(numbers)-1]
	}
	expected := map[int64]string{}
	for _, head := range heads {
		if head.Writer != writer || head.Sequence == 0 {
			continue
		}
		if head.Sequence > last {
			return broken(key(writer, last+1), fmt.Sprintf("the chain ends before it, but reached %d once", head.Sequence))
		}
		expected[head.Sequence] = head.Hash
	}
	previous, next := "", int64(1)
	for batch := range slices.Chunk(numbers, batchSize) {
		for i, got := range l.batch(ctx, writer, batch, Filter{}) {
			switch {
			case batch[i] != next:
				return broken(key(writer, next), "it is missing, and there are later ones")
			case got.err != nil:
				return got.err
			case got.entry.Previous != previous:
				return broken(key(writer, next), "it does not follow the record before it")
			case expected[next] != "" && expected[next] != got.entry.Hash:
				return broken(key(writer, next), "it was replaced")
			}
			previous = got.entry.Hash
			next++
		}
	}
	return nil
}

func broken(object, why string) error {
	return fault.Newf(fault.IntegrityError, "verify ledger", object, "%s", why).
		WithHint("the ledger was changed after it was written: compare it with the replica's and with the bucket's older versions")
}
