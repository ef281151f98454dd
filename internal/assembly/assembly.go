// Package assembly opens what a configured system is made of: its stores, the
// ring of keys, the vault, the ledger and the WAL archive. Secrets are resolved
// here, on the host that needs them, when they are needed.
package assembly

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// defaultMemory bounds the buffers of a process when the configuration does not.
const defaultMemory = 192 << 20

// besideBuffers is what a worker's heap holds besides the buffers of the budget,
// with room to spare: half of it was in use with all kinds of backups at once.
const besideBuffers = 40 << 20

// Config is what assembling needs of the process.
type Config struct {
	Env    system.Env       // looks up environment variables
	Memory int64            // bytes of buffers for the whole process; 0: 192 MiB
	Retry  s3.Retry         // of one call to a store; zero: the store's own
	Now    func() time.Time // nil: time.Now

	Tracer   trace.Tracer        // makes a span of each request to a store; nil: none are made
	OnSecret func(secret []byte) // told of each secret that is resolved, to keep it out of the log; may be nil
}

// Assembly opens and keeps what belongs to systems. It is safe for concurrent
// use; every vault of a process shares its one byte budget.
type Assembly struct {
	env      system.Env
	retry    s3.Retry
	now      func() time.Time
	budget   *vault.Budget
	onSecret func(secret []byte)
	tracer   trace.Tracer

	mu    sync.Mutex
	known map[[sha256.Size]byte]parts // kept: a passphrase costs time and memory to stretch
}

// New makes an Assembly that has opened nothing yet.
func New(c Config) *Assembly {
	if c.Memory <= 0 {
		c.Memory = defaultMemory
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.OnSecret == nil {
		c.OnSecret = func([]byte) {}
	}
	return &Assembly{
		env: c.Env, retry: c.Retry, now: c.Now, budget: vault.NewBudget(c.Memory), onSecret: c.OnSecret, tracer: c.Tracer,
		known: map[[sha256.Size]byte]parts{},
	}
}

// Budget is the byte budget of the process.
func (a *Assembly) Budget() *vault.Budget { return a.budget }

// LimitMemory has the garbage collector keep the whole process near its budget.
// Without it, the heap may grow to twice what is in use, and buffers are most of
// that. A GOMEMLIMIT in the environment goes before. Call it once, in main.
func (a *Assembly) LimitMemory() {
	if set, ok := a.env("GOMEMLIMIT"); ok && set != "" {
		return
	}
	debug.SetMemoryLimit(a.budget.Limit() + besideBuffers)
}

// Secret reads a secret on this host.
func (a *Assembly) Secret(ref system.SecretRef) ([]byte, error) {
	secret, err := ref.Resolve(a.env, os.ReadFile)
	if err == nil {
		a.onSecret(secret)
	}
	return secret, err
}

// parts are what every vault of a system shares.
type parts struct {
	primary, replica store.Store // replica is nil when there is none
	ring             *keys.Ring
}

// Vault opens the vault over a system's primary store and its replica.
// onFallback, when not nil, is told of each object that the replica had to give.
func (a *Assembly) Vault(ctx context.Context, s system.System, onFallback func(vault.Fallback)) (*vault.Vault, error) {
	p, err := a.parts(ctx, s)
	if err != nil {
		return nil, err
	}
	return vault.New(vault.Config{
		System: s.Name, Store: p.primary, Replica: p.replica, Keys: p.ring, Budget: a.budget,
		Parallel: s.Limits.Parallel, RestoreRate: int64(s.Limits.RestoreRate), Now: a.now, OnFallback: onFallback,
	})
}

// Ledger opens the ledger in the system's primary store, to be written by writer.
func (a *Assembly) Ledger(ctx context.Context, s system.System, writer string) (*ledger.Ledger, error) {
	p, err := a.parts(ctx, s)
	if err != nil {
		return nil, err
	}
	return ledger.New(ledger.Config{Store: p.primary, Writer: writer, Keys: p.ring, Now: a.now})
}

// Stores opens a store and its replica, which it must have.
func (a *Assembly) Stores(ctx context.Context, s system.System, from system.Store) (source, replica store.Store, err error) {
	to, ok := s.ReplicaOf(from)
	if !ok {
		return nil, nil, fault.Newf(fault.ConfigInvalid, "find replica of", from.Name, "it names none")
	}
	if source, err = a.Store(ctx, from); err != nil {
		return nil, nil, err
	}
	replica, err = a.Store(ctx, to)
	return source, replica, err
}

func (a *Assembly) parts(ctx context.Context, s system.System) (parts, error) {
	id, err := fingerprint(s.Name, s.Stores, s.Keys)
	if err != nil {
		return parts{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.known[id]; ok {
		return known, nil
	}
	opened, err := a.open(ctx, s)
	if err != nil {
		return parts{}, err
	}
	a.known[id] = opened
	return opened, nil
}

func (a *Assembly) open(ctx context.Context, s system.System) (parts, error) {
	primary, err := s.Primary()
	if err != nil {
		return parts{}, err
	}
	var p parts
	if p.ring, err = a.ring(s); err != nil {
		return parts{}, err
	}
	if p.primary, err = a.Store(ctx, primary); err != nil {
		return parts{}, err
	}
	if replica, ok := s.ReplicaOf(primary); ok {
		if p.replica, err = a.Store(ctx, replica); err != nil {
			return parts{}, err
		}
	}
	return p, nil
}

// Store opens one store. Nothing is sent to it yet.
func (a *Assembly) Store(ctx context.Context, c system.Store) (store.Store, error) {
	access, err := a.Secret(c.AccessKey)
	if err != nil {
		return nil, err
	}
	secret, err := a.Secret(c.SecretKey)
	if err != nil {
		return nil, err
	}
	return s3.New(ctx, s3.Config{
		Name: c.Name, Bucket: c.Bucket, Region: c.Region, Prefix: c.Prefix, Endpoint: c.Endpoint,
		PathStyle: c.PathStyle, AccessKey: string(access), SecretKey: string(secret), CACert: c.CACert, Retry: a.retry, Tracer: a.tracer,
	})
}

func (a *Assembly) ring(s system.System) (*keys.Ring, error) {
	config := keys.Config{System: s.Name, Recipients: s.Keys.Recipients}
	for _, ref := range s.Keys.Encryption {
		secret, err := a.Secret(ref)
		if err != nil {
			return nil, err
		}
		config.Secrets = append(config.Secrets, keys.NewSecret(secret))
	}
	return keys.NewRing(config)
}

func fingerprint(parts ...any) ([sha256.Size]byte, error) {
	text, err := json.Marshal(parts)
	if err != nil {
		return [sha256.Size]byte{}, fault.New(fault.ConfigInvalid, "read configuration", "", err)
	}
	return sha256.Sum256(text), nil
}
