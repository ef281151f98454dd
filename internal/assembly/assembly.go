// Package assembly opens what a configured system is made of: its stores, the
// ring of keys, the vault, the ledger and the WAL archive. Secrets are resolved
// here, on the host that needs them, when they are needed.
package assembly

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"os"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// defaultMemory bounds the buffers of a process when the configuration does not.
const defaultMemory = 192 << 20

// Config is what assembling needs of the process.
type Config struct {
	Env    system.Env       // looks up environment variables
	Memory int64            // bytes of buffers for the whole process; 0: 192 MiB
	Now    func() time.Time // nil: time.Now
}

// Assembly opens and keeps what belongs to systems. It is safe for concurrent
// use; every vault of a process shares its one byte budget.
type Assembly struct {
	env    system.Env
	now    func() time.Time
	budget *vault.Budget

	mu    sync.Mutex
	known map[[sha256.Size]byte]*vault.Vault
	rings map[[sha256.Size]byte]*keys.Ring
}

// New makes an Assembly that has opened nothing yet.
func New(c Config) *Assembly {
	if c.Memory <= 0 {
		c.Memory = defaultMemory
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Assembly{
		env: c.Env, now: c.Now, budget: vault.NewBudget(c.Memory),
		known: map[[sha256.Size]byte]*vault.Vault{}, rings: map[[sha256.Size]byte]*keys.Ring{},
	}
}

// Budget is the byte budget of the process.
func (a *Assembly) Budget() *vault.Budget { return a.budget }

// Secret reads a secret on this host.
func (a *Assembly) Secret(ref system.SecretRef) ([]byte, error) {
	return ref.Resolve(a.env, os.ReadFile)
}

// Vault opens the vault over a system's primary store and its replica.
func (a *Assembly) Vault(ctx context.Context, s system.System) (*vault.Vault, error) {
	id, err := fingerprint(s.Name, s.Stores, s.Keys, s.Limits)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.known[id]; ok {
		return known, nil
	}
	opened, err := a.open(ctx, s)
	if err != nil {
		return nil, err
	}
	a.known[id] = opened
	return opened, nil
}

func (a *Assembly) open(ctx context.Context, s system.System) (*vault.Vault, error) {
	primary, err := s.Primary()
	if err != nil {
		return nil, err
	}
	ring, err := a.ring(s)
	if err != nil {
		return nil, err
	}
	config := vault.Config{
		System: s.Name, Keys: ring, Budget: a.budget, Parallel: s.Limits.Parallel,
		RestoreRate: int64(s.Limits.RestoreRate), Now: a.now,
	}
	if config.Store, err = a.store(ctx, primary); err != nil {
		return nil, err
	}
	if replica, ok := s.ReplicaOf(primary); ok {
		opened, err := a.store(ctx, replica)
		if err != nil {
			return nil, err
		}
		config.Replica = opened
	}
	return vault.New(config)
}

func (a *Assembly) store(ctx context.Context, c system.Store) (*s3.Store, error) {
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
		PathStyle: c.PathStyle, AccessKey: string(access), SecretKey: string(secret), CACert: c.CACert,
	})
}

// ring is made once per process for one set of keys: a passphrase costs time and memory.
func (a *Assembly) ring(s system.System) (*keys.Ring, error) {
	id, err := fingerprint(s.Name, s.Keys)
	if err != nil {
		return nil, err
	}
	if known, ok := a.rings[id]; ok {
		return known, nil
	}
	config := keys.Config{System: s.Name, Recipients: s.Keys.Recipients}
	for _, ref := range s.Keys.Encryption {
		secret, err := a.Secret(ref)
		if err != nil {
			return nil, err
		}
		config.Secrets = append(config.Secrets, keys.NewSecret(secret))
	}
	ring, err := keys.NewRing(config)
	if err != nil {
		return nil, err
	}
	a.rings[id] = ring
	return ring, nil
}

func fingerprint(parts ...any) ([sha256.Size]byte, error) {
	text, err := json.Marshal(parts)
	if err != nil {
		return [sha256.Size]byte{}, fault.New(fault.ConfigInvalid, "read configuration", "", err)
	}
	return sha256.Sum256(text), nil
}
