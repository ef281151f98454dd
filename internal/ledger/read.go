package ledger

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
)

// batchSize is how many records are read at once.
const batchSize = 16

// Filter says which records are wanted; what is not set does not matter.
type Filter struct {
	Writer  string
	Kind    string
	Subject string
	Since   time.Time
}

func (f Filter) takes(e Entry) bool {
	return (f.Kind == "" || f.Kind == e.Kind) && (f.Subject == "" || f.Subject == e.Subject) && !e.Time.Before(f.Since)
}

// Read gives records, writer by writer, each chain from its start. A record
// that can't be read is given as its error, and the reading goes on behind it.
func (l *Ledger) Read(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		writers, err := l.writers(ctx, f)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, writer := range writers {
			numbers, err := l.numbers(ctx, writer, store.ListOptions{})
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for batch := range slices.Chunk(numbers, batchSize) {
				for _, got := range l.batch(ctx, writer, batch, f) {
					if got.wanted && !yield(got.entry, got.err) {
						return
					}
				}
			}
		}
	}
}

// Found is a record, and those that had to be stepped over to find it.
type Found struct {
	Entry
	Unreadable []error // each names its object; any of them may have been a newer one
}

// Find gives the newest record of a kind on a subject, of any writer; either
// may be "". A record that can't be read keeps nobody from the others: it is
// stepped over and told. RunUnknown when there is none, and no unreadable one
// that could have been it.
func (l *Ledger) Find(ctx context.Context, kind, subject string) (Found, error) {
	return l.Pick(ctx, kind, subject, func(Entry) (bool, error) { return true, nil })
}

// Pick is Find for the newest record that fits. One of which that can't be said is
// stepped over and told, too.
func (l *Ledger) Pick(ctx context.Context, kind, subject string, fits func(Entry) (bool, error)) (Found, error) {
	var found Found
	for newest, err := range l.Newest(ctx, Filter{Kind: kind, Subject: subject}) {
		if err == nil {
			fit, unfit := fits(newest)
			if fit {
				found.Entry = newest
				return found, nil
			}
			err = unfit
		} else if ofStore(err) {
			return found, err
		}
		if err != nil {
			found.Unreadable = append(found.Unreadable, err)
		}
	}
	if len(found.Unreadable) > 0 {
		return found, found.Unreadable[0]
	}
	return found, fault.Newf(fault.RunUnknown, "find in ledger", subject, "no record of kind %q", kind)
}

// shortRun is how many characters of a run ID name one of several runs.
const shortRun = 8

// FindRun gives the newest record of a kind on a run's workflow ID, or of ID@RUN
// that of the run whose run ID ends in RUN, as Find does. The records' bodies have
// the run ID as "run_id".
func (l *Ledger) FindRun(ctx context.Context, kind, id string) (Found, error) {
	found, err := l.Find(ctx, kind, id)
	at := strings.LastIndex(id, "@")
	if at < 0 || len(id)-at-1 < shortRun || !fault.Has(err, fault.RunUnknown) {
		return found, err
	}
	return l.Pick(ctx, kind, id[:at], func(e Entry) (bool, error) {
		var run struct {
			ID string `json:"run_id"`
		}
		err := e.Decode(&run)
		return err == nil && strings.HasSuffix(run.ID, id[at+1:]), err
	})
}

// ofStore says whether an error says nothing of the record: all others would fail, too.
func ofStore(err error) bool {
	switch fault.KindOf(err) {
	case fault.StorageUnavailable, fault.StorageDenied, fault.StorageMissing, "":
		return true
	}
	return false
}

// Newest gives records of all writers from the newest to the oldest, and reads
// no further back than is asked for. A record that can't be read is given as its
// error, before those of its time, and the reading goes on behind it.
func (l *Ledger) Newest(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		writers, err := l.writers(ctx, f)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		var chains []*chain
		for _, writer := range writers {
			next, stop := iter.Pull2(l.backward(ctx, writer, f))
			defer stop()
			if c := (&chain{next: next}); c.advance() {
				chains = append(chains, c)
			}
		}
		for len(chains) > 0 {
			first := 0
			for i, c := range chains {
				if c.before(chains[first]) {
					first = i
				}
			}
			if !yield(chains[first].entry, chains[first].err) {
				return
			}
			if !chains[first].advance() {
				chains = slices.Delete(chains, first, first+1)
			}
		}
	}
}

// chain is a writer's records on the way back, at one of them.
type chain struct {
	next  func() (Entry, error, bool)
	entry Entry
	err   error
}

func (c *chain) advance() (more bool) {
	c.entry, c.err, more = c.next()
	return more
}

func (c *chain) before(other *chain) bool {
	if c.err != nil || other.err != nil {
		return c.err != nil && other.err == nil
	}
	return c.entry.Time.After(other.entry.Time)
}

// backward reads a chain from its end.
func (l *Ledger) backward(ctx context.Context, writer string, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		numbers, err := l.numbers(ctx, writer, store.ListOptions{})
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for end := len(numbers); end > 0; {
			batch := numbers[max(0, end-batchSize):end]
			end -= len(batch)
			for _, got := range slices.Backward(l.batch(ctx, writer, batch, f)) {
				if got.wanted && !yield(got.entry, got.err) {
					return
				}
			}
		}
	}
}

// result is a record as read, or why it could not be.
type result struct {
	entry  Entry
	err    error
	wanted bool
}

func (l *Ledger) batch(ctx context.Context, writer string, numbers []int64, f Filter) []result {
	results := make([]result, len(numbers))
	var group errgroup.Group
	for i, number := range numbers {
		group.Go(func() error {
			results[i] = l.one(ctx, writer, number, f)
			return nil
		})
	}
	_ = group.Wait() // each result has its own error
	return results
}

func (l *Ledger) one(ctx context.Context, writer string, number int64, f Filter) result {
	object, err := l.object(ctx, writer, number)
	if err != nil {
		return result{err: err, wanted: true}
	}
	parsed, err := parse(writer, number, object)
	if err != nil {
		return result{err: err, wanted: true}
	}
	if !f.takes(parsed.Entry) {
		return result{}
	}
	entry, err := l.open(ctx, parsed)
	return result{entry: entry, err: err, wanted: true}
}

// read gives one record.
func (l *Ledger) read(ctx context.Context, writer string, number int64) (Entry, error) {
	got := l.one(ctx, writer, number, Filter{})
	return got.entry, got.err
}

func (l *Ledger) object(ctx context.Context, writer string, number int64) ([]byte, error) {
	return store.ReadAll(ctx, l.cfg.Store, key(writer, number), maxObject)
}

// writers lists the chains.
func (l *Ledger) writers(ctx context.Context, f Filter) ([]string, error) {
	if f.Writer != "" {
		return []string{f.Writer}, nil
	}
	var writers []string
	for info, err := range l.cfg.Store.List(ctx, folder, store.ListOptions{Delimiter: "/"}) {
		if err != nil {
			return nil, err
		}
		if info.IsPrefix {
			writers = append(writers, strings.TrimSuffix(strings.TrimPrefix(info.Key, folder), "/"))
		}
	}
	return writers, nil
}

// numbers lists the records of a chain, in order.
func (l *Ledger) numbers(ctx context.Context, writer string, o store.ListOptions) ([]int64, error) {
	var numbers []int64
	for info, err := range l.cfg.Store.List(ctx, folder+writer+"/", o) {
		if err != nil {
			return nil, err
		}
		if _, number, ok := parseKey(info.Key); ok {
			numbers = append(numbers, number)
		}
	}
	return numbers, nil
}

// each calls do for 0 to n-1 at once and gives the first error.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// storeSlots keeps the slots of the ledger's keys where all keys lie.
type storeSlots struct{ store store.Store }

var _ keys.Slots = storeSlots{}

// maxSlot bounds a slot's size in bytes.
const maxSlot = 64 << 10

func (s storeSlots) PutSlot(ctx context.Context, keyID, slot string, body []byte) error {
	_, err := s.store.Put(ctx, "keys/"+keyID+"/"+slot, body, store.PutOptions{IfNoneMatch: true})
	return err
}

func (s storeSlots) GetSlot(ctx context.Context, keyID, slot string) ([]byte, error) {
	return store.ReadAll(ctx, s.store, "keys/"+keyID+"/"+slot, maxSlot)
}
