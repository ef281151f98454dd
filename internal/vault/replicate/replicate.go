package replicate

import (
	"context"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/store"
)

// Memory is a byte budget shared with everything else that buffers.
type Memory interface {
	Acquire(ctx context.Context, bytes int64) error
	Release(bytes int64)
}

// Config says what is copied where.
type Config struct {
	From     store.Store
	To       store.Store
	Memory   Memory
	Parallel int                     // transfers at once, of objects without an order; at least 1
	Progress func(done, total int64) // in bytes; may be nil
	Now      func() time.Time        // nil: time.Now
	Poll     time.Duration           // between two looks for what is new, in Follow; 0: 5 s
}

// DefaultPoll is how soon Follow sees what is new. Each look costs some twenty
// listings of one page.
const DefaultPoll = 5 * time.Second

// Result says what was copied.
type Result struct {
	Objects int64
	Bytes   int64
	Present int64         // objects that were there already, with the right size
	Lag     time.Duration // the longest that an object copied here had been in the source alone, by its clock
}

// Run copies every object that the replica lacks. It fails with BackupConflict
// when the replica holds another object under a key: two stores were mixed, and
// a person has to look.
func Run(ctx context.Context, c Config) (Result, error) {
	r := begin(c)
	err := r.whole(ctx)
	return r.result, err
}

// Follow is Run, and then copies what is new until the time is over. Ending at
// its time is no error.
func Follow(ctx context.Context, c Config, until time.Time) (Result, error) {
	r := begin(c)
	if err := r.whole(ctx); err != nil {
		return r.result, err
	}
	t := newTail(r)
	poll := time.NewTicker(r.Poll)
	defer poll.Stop()
	for r.Now().Before(until) {
		select {
		case <-ctx.Done():
			return r.result, ctx.Err()
		case <-poll.C:
		}
		if err := t.pass(ctx); err != nil {
			return r.result, err
		}
	}
	return r.result, nil
}

func begin(c Config) *copying {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Poll <= 0 {
		c.Poll = DefaultPoll
	}
	c.Parallel = max(1, c.Parallel)
	return &copying{Config: c}
}

// whole is one pass over the whole store. The manifests are listed first:
// whatever they name was stored before them, so the second listing has it, even
// while backups go on.
func (r *copying) whole(ctx context.Context) error {
	var manifests []store.Info
	begun := map[string]bool{} // whether it has a manifest, by backup
	err := r.compare(ctx, "", "", func(key string) bool {
		if backup := backupOf(key); backup != "" {
			begun[backup] = begun[backup] || isManifest(key)
		}
		return isManifest(key)
	}, func(info store.Info) { manifests = append(manifests, info) })
	if err != nil {
		return err
	}
	r.unfinished = map[string]bool{}
	for backup, ended := range begun {
		if !ended {
			r.unfinished[backup+"/"] = true
		}
	}
	var loose, ordered []store.Info
	err = r.compare(ctx, "", "", func(key string) bool { return !isManifest(key) }, func(info store.Info) {
		if isOrdered(info.Key) {
			ordered = append(ordered, info)
		} else {
			loose = append(loose, info)
		}
	})
	if err != nil {
		return err
	}
	return r.inOrder(ctx, loose, ordered, manifests)
}

// inOrder copies objects in any order, then those whose order counts (WAL and
// ledger, whose keys sort by age), then manifests.
func (r *copying) inOrder(ctx context.Context, loose, ordered, manifests []store.Info) error {
	for _, group := range [][]store.Info{loose, ordered, manifests} {
		for _, info := range group {
			r.total += info.Size
		}
	}
	if err := r.all(ctx, loose, r.Parallel); err != nil {
		return err
	}
	if err := r.all(ctx, ordered, 1); err != nil {
		return err
	}
	return r.all(ctx, manifests, 1)
}

func isManifest(key string) bool { return strings.HasSuffix(key, "/manifest") }

func isOrdered(key string) bool {
	return strings.HasPrefix(key, "wal/") || strings.HasPrefix(key, "ledger/")
}
