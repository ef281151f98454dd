package ledger

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
)

// DefaultLookback is how far back Append looks for a record with the same id:
// longer than anyone repeats a step.
const DefaultLookback = 8 * 24 * time.Hour

// Config is what a ledger is made of. Store and Writer are needed.
type Config struct {
	Store    store.Store
	Writer   string           // names the chain: [a-z0-9][a-z0-9._-]{0,62}
	Keys     *keys.Ring       // seals bodies and signs records; nil: neither
	Now      func() time.Time // nil: time.Now
	Lookback time.Duration    // 0: DefaultLookback
}

// Record is what is appended.
type Record struct {
	ID      string // the same id again is the same record; "" is always a new one
	Kind    string // "run", "point", "backup", "proof", "notice"
	Subject string // a workflow ID, or a backup's key
	Body    any    // anything that json.Marshal takes
}

// Entry is a record as the ledger holds it.
type Entry struct {
	Writer   string          `json:"writer"`
	Sequence int64           `json:"sequence"` // from 1, without a gap
	ID       string          `json:"id"`
	Time     time.Time       `json:"time"` // by the writer's clock, UTC
	Kind     string          `json:"kind"`
	Subject  string          `json:"subject"`
	Hash     string          `json:"hash"`     // SHA-256 of the object, in hex
	Previous string          `json:"previous"` // Hash of the entry before; "" for the first
	Body     json.RawMessage `json:"body"`
}

// Decode reads the body.
func (e Entry) Decode(into any) error {
	if err := json.Unmarshal(e.Body, into); err != nil {
		return fault.New(fault.IntegrityError, "decode ledger record", key(e.Writer, e.Sequence), err)
	}
	return nil
}

// Head is the end of a chain at one moment.
type Head struct {
	Writer   string `json:"writer"`
	Sequence int64  `json:"sequence"`
	Hash     string `json:"hash"`
}

// Ledger appends to one writer's chain and reads all. It is safe for concurrent use.
type Ledger struct {
	cfg   Config
	slots keys.Slots

	mu   sync.Mutex // held over an Append, so that one process does not race itself
	tail tail
	seen map[string]Head // the newest of each chain that this Ledger has met

	keyMu sync.Mutex
	keys  map[string]*keys.DataKey
}

var writerName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// New makes a Ledger. Nothing is read yet.
func New(c Config) (*Ledger, error) {
	if c.Store == nil {
		return nil, fault.Newf(fault.ConfigInvalid, "open ledger", c.Writer, "a store is needed")
	}
	if !writerName.MatchString(c.Writer) {
		return nil, fault.Newf(fault.ConfigInvalid, "open ledger", c.Writer, "a writer matches %s", writerName)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Lookback <= 0 {
		c.Lookback = DefaultLookback
	}
	return &Ledger{cfg: c, slots: storeSlots{c.Store}, seen: map[string]Head{}, keys: map[string]*keys.DataKey{}}, nil
}

// maxAppendTries bounds how often Append yields to others. Each time somebody
// else's record was added.
const maxAppendTries = 200

// Append adds the record, or gives the entry that has its id already.
func (l *Ledger) Append(ctx context.Context, r Record) (Entry, error) {
	body, err := json.Marshal(r.Body)
	if err != nil {
		return Entry{}, fault.New(fault.InputInvalid, "encode ledger record", r.Subject, err)
	}
	if r.Kind == "" || len(body) > maxBody {
		return Entry{}, fault.Newf(fault.InputInvalid, "append to ledger", r.Subject, "it needs a kind and a body of at most %d bytes, not %d", maxBody, len(body))
	}
	for _, text := range []*string{&r.ID, &r.Kind, &r.Subject} {
		*text = strings.ToValidUTF8(*text, "?") // or JSON would not give back what was put in
	}
	if r.ID == "" {
		r.ID = rand.Text() // lets a try whose acknowledgement was lost be known again
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for range maxAppendTries {
		if err := l.catchUp(ctx); err != nil {
			return Entry{}, err
		}
		if number, known := l.tail.numbers[r.ID]; known {
			return l.read(ctx, l.cfg.Writer, number)
		}
		entry, err := l.put(ctx, r, body)
		if !fault.Has(err, fault.ObjectExists) {
			return entry, err
		}
	}
	return Entry{}, fault.Newf(fault.StorageUnavailable, "append to ledger", r.Subject, "others of writer %s were faster %d times", l.cfg.Writer, maxAppendTries).
		WithHint("give each process a ledger writer of its own")
}

// put adds the record behind the tail; ObjectExists when another was there first.
func (l *Ledger) put(ctx context.Context, r Record, body []byte) (Entry, error) {
	entry := Entry{
		Writer: l.cfg.Writer, Sequence: l.tail.last + 1, ID: r.ID, Time: l.cfg.Now().UTC(),
		Kind: r.Kind, Subject: r.Subject, Previous: l.tail.hash, Body: body,
	}
	object, err := l.encode(ctx, entry)
	if err != nil {
		return Entry{}, err
	}
	if _, err := l.cfg.Store.Put(ctx, key(entry.Writer, entry.Sequence), object, store.PutOptions{IfNoneMatch: true}); err != nil {
		return Entry{}, err
	}
	entry.Hash = hash(object)
	l.tail.add(entry, true)
	l.saw(entry)
	return entry, nil
}

// Head is the end of this writer's chain. Kept elsewhere and given to Verify,
// it shows records that were cut off. Sequence 0 is an empty chain.
func (l *Ledger) Head(ctx context.Context) (Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.catchUp(ctx); err != nil {
		return Head{}, err
	}
	return Head{Writer: l.cfg.Writer, Sequence: l.tail.last, Hash: l.tail.hash}, nil
}

// saw keeps the newest head of a chain; it needs l.mu.
func (l *Ledger) saw(e Entry) {
	if e.Sequence > l.seen[e.Writer].Sequence {
		l.seen[e.Writer] = Head{Writer: e.Writer, Sequence: e.Sequence, Hash: e.Hash}
	}
}
