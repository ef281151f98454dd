// Package standing looks at what the stores of a system hold of each component
// at one moment: the newest backup, how far it is proven, and how far WAL
// reaches. It reads listings and the ledger and opens no backup.
package standing

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

// Config is what a look needs. All of it is needed.
type Config struct {
	Load  func() (system.System, error) // reads the configuration anew
	Vault func(ctx context.Context, s system.System, onFallback func(vault.Fallback)) (*vault.Vault, error)
	Proof func(ctx context.Context, s system.System, key string) (string, error) // highest level on the ledger; "" for none
	Now   func() time.Time
}

// Standing is what was seen.
type Standing struct {
	System system.System
	Stores []Store // the primary, then its replica
}

// Store is what one store holds, seen without the other's help.
type Store struct {
	Name string // as configured: "primary"
	Err  error  // why it could not be seen; nothing is in Held then
	Held []Held // one of each component
}

// Held is what a store holds of one component.
type Held struct {
	Component system.Component
	Key       string    // of the newest complete backup; "": there is none
	At        time.Time // of that backup
	Proof     string    // its proof level on the ledger: "L1"; "": it has none
	Proved    bool      // the ledger was asked for Proof, and answered
	Point     time.Time // what was written before is in this store; zero: there is no backup, or no WAL
}

// reaskProof is how long a proof level is believed: it only rises, and asking costs a walk of the ledger.
const reaskProof = 10 * time.Minute

// patience is how long one store may take to answer everything; a healthy one needs a tenth of it.
const patience = 5 * time.Second

// parallel is how many components of a store are looked at at once.
const parallel = 4

// Looker looks again and again; it remembers what need not be asked twice. It is safe for concurrent use.
type Looker struct {
	cfg Config

	mu     sync.Mutex
	wal    map[string]segment
	proofs map[string]proof
}

type segment struct {
	name string
	at   time.Time
}

type proof struct {
	level string
	asked time.Time
}

// New makes a Looker that has seen nothing yet.
func New(c Config) *Looker {
	return &Looker{cfg: c, wal: map[string]segment{}, proofs: map[string]proof{}}
}

// Look sees both stores at once. What is wrong with one of them stands in its
// Err; the error is that of the configuration.
func (l *Looker) Look(ctx context.Context) (Standing, error) {
	s, err := l.cfg.Load()
	if err != nil {
		return Standing{}, err
	}
	primary, err := s.Primary()
	if err != nil {
		return Standing{}, err
	}
	seen := Standing{System: s, Stores: []Store{{Name: primary.Name}}}
	if replica, ok := s.ReplicaOf(primary); ok {
		seen.Stores = append(seen.Stores, Store{Name: replica.Name})
	}
	both, err := l.cfg.Vault(ctx, s, nil)
	if err != nil {
		for i := range seen.Stores {
			seen.Stores[i].Err = err
		}
		return seen, nil
	}
	var looking sync.WaitGroup
	for i, from := range []store.Store{both.Store(), both.Replica()}[:len(seen.Stores)] {
		looking.Go(func() {
			seen.Stores[i].Held, seen.Stores[i].Err = l.store(ctx, s, both.WithStores(from, nil))
		})
	}
	looking.Wait()
	l.prove(ctx, seen)
	return seen, nil
}

func (l *Looker) store(ctx context.Context, s system.System, v *vault.Vault) ([]Held, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	components := s.Components()
	held := make([]Held, len(components))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, component := range components {
		group.Go(func() (err error) {
			held[i], err = l.component(ctx, s, v, component)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return held, nil
}

func (l *Looker) component(ctx context.Context, s system.System, v *vault.Vault, c system.Component) (Held, error) {
	held := Held{Component: c}
	latest, err := v.Latest(ctx, vault.Filter{Folder: folder(c.Kind), Component: c.Name})
	if fault.Has(err, fault.BackupUnknown) {
		return held, nil
	}
	if err != nil {
		return held, err
	}
	held.Key, held.At, held.Point = latest.Key, latest.At, latest.At
	if c.Kind != system.KindDatabase {
		return held, nil
	}
	database, err := s.Database(c.Name)
	if err != nil {
		return held, err
	}
	held.Point, err = l.archived(ctx, v, database.Cluster)
	return held, err
}

// archived is when the newest WAL segment of a cluster came into the store; zero without one.
func (l *Looker) archived(ctx context.Context, v *vault.Vault, cluster string) (time.Time, error) {
	archive, err := wal.New(wal.Config{Vault: v, Cluster: cluster, Now: l.cfg.Now})
	if err != nil {
		return time.Time{}, err
	}
	systems, err := archive.Systems(ctx)
	if err != nil {
		return time.Time{}, err
	}
	var newest time.Time
	for _, id := range systems {
		place := v.Store().Name() + "/" + cluster + "/" + id
		l.mu.Lock()
		known := l.wal[place]
		l.mu.Unlock()
		name, at, err := archive.Newest(ctx, id, known.name)
		if err != nil {
			return time.Time{}, err
		}
		if name != "" {
			known = segment{name: name, at: at}
			l.mu.Lock()
			l.wal[place] = known
			l.mu.Unlock()
		}
		if known.at.After(newest) {
			newest = known.at
		}
	}
	return newest, nil
}

// prove adds proof levels. A ledger that can't be read leaves them open.
func (l *Looker) prove(ctx context.Context, seen Standing) {
	if seen.Stores[0].Err != nil {
		return // the ledger lies in the primary store
	}
	var wanted []string
	for _, one := range seen.Stores {
		for _, held := range one.Held {
			if held.Key != "" && !slices.Contains(wanted, held.Key) {
				wanted = append(wanted, held.Key)
			}
		}
	}
	levels := map[string]string{}
	for _, key := range wanted {
		l.mu.Lock()
		known, ok := l.proofs[key]
		l.mu.Unlock()
		if !ok || known.level == "" || l.cfg.Now().Sub(known.asked) > reaskProof {
			level, err := l.cfg.Proof(ctx, seen.System, key)
			if err != nil {
				continue
			}
			known = proof{level: level, asked: l.cfg.Now()}
		}
		levels[key] = known.level
		l.mu.Lock()
		l.proofs[key] = known
		l.mu.Unlock()
	}
	l.forget(wanted)
	for _, one := range seen.Stores {
		for i := range one.Held {
			one.Held[i].Proof, one.Held[i].Proved = levels[one.Held[i].Key]
		}
	}
}

// forget drops the proofs of backups that are no longer the newest.
func (l *Looker) forget(but []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.proofs {
		if !slices.Contains(but, key) {
			delete(l.proofs, key)
		}
	}
}

// folder is where the backups of a kind lie in a store (docs/FORMAT.md).
func folder(kind system.ComponentKind) string {
	switch kind {
	case system.KindDatabase:
		return "database-backups"
	case system.KindCache:
		return "redis-backups"
	case system.KindFiles:
		return "file-backups"
	default:
		return "config-backups"
	}
}
