package ledger

import (
	"context"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// tail is what Append knows of the end of its chain.
type tail struct {
	last    int64            // number of the last record; 0: none
	hash    string           // of the last record's object
	numbers map[string]int64 // of the ids within the lookback
	read    bool             // the lookback has been read
}

// add takes in an entry, and its id if it may come again.
func (t *tail) add(e Entry, recent bool) {
	if t.numbers == nil {
		t.numbers = map[string]int64{}
	}
	if recent && e.ID != "" {
		t.numbers[e.ID] = e.Sequence
	}
	if e.Sequence > t.last {
		t.last, t.hash = e.Sequence, e.Hash
	}
}

// catchUp learns what others have appended since the last look. It needs l.mu.
func (l *Ledger) catchUp(ctx context.Context) error {
	options := store.ListOptions{}
	if l.tail.last > 0 {
		options.StartAfter = key(l.cfg.Writer, l.tail.last)
	}
	numbers, err := l.numbers(ctx, l.cfg.Writer, options)
	if err != nil || len(numbers) == 0 {
		return err
	}
	oldest := time.Time{}
	if !l.tail.read {
		oldest = l.cfg.Now().Add(-l.cfg.Lookback)
	}
	// From the end: the rest is needed for its ids alone, and only so far back.
	for end := len(numbers); end > 0; {
		batch := numbers[max(0, end-batchSize):end]
		end -= len(batch)
		entries, err := l.headers(ctx, batch)
		if err != nil {
			return err
		}
		done := false
		for _, e := range entries {
			l.saw(e)
			past := !e.Time.IsZero() && e.Time.Before(oldest) // a damaged one has no time
			l.tail.add(e, !past)
			done = done || past
		}
		if done {
			break
		}
	}
	l.tail.read = true
	return nil
}

// headers reads the clear part of records, all at once. A damaged one keeps its
// number and hash, which is all that the next record needs.
func (l *Ledger) headers(ctx context.Context, numbers []int64) ([]Entry, error) {
	entries := make([]Entry, len(numbers))
	err := each(ctx, len(numbers), func(ctx context.Context, i int) error {
		object, err := l.object(ctx, l.cfg.Writer, numbers[i])
		if err != nil {
			return err
		}
		stored, err := parse(l.cfg.Writer, numbers[i], object)
		if err != nil && !fault.Has(err, fault.IntegrityError) && !fault.Has(err, fault.FormatUnsupported) {
			return err
		}
		entries[i] = stored.Entry
		entries[i].Writer, entries[i].Sequence, entries[i].Hash = l.cfg.Writer, numbers[i], hash(object)
		return nil
	})
	return entries, err
}
