package vault

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
)

// Sizes. A frame is what is compressed and sealed at once and the least that is
// read; a chunk is what is put at once. Frames of 256 KiB, 512 KiB and 1 MiB store
// a PostgreSQL cluster at 0.348, 0.347 and 0.347 of its size and cost the same
// time, so the size is chosen for fine ranges and little memory.
const (
	DefaultChunkSize = 16 << 20
	MaxChunkSize     = 32 << 20
	DefaultFrameSize = 512 << 10
	MaxFrameSize     = 1 << 20
)

// Config is what a vault is made of. Store, Keys and Budget are needed.
type Config struct {
	System  string      // the protected system; when set, a store of another one is refused
	Store   store.Store // where backups are written, and read first
	Replica store.Store // a copy in another region to read from; may be nil
	Keys    *keys.Ring
	Budget  *Budget

	Parallel    int              // chunks in flight for each backup or restore; 0: twice the cores
	ChunkSize   int              // bytes of plaintext, at most MaxChunkSize; 0: DefaultChunkSize
	FrameSize   int              // bytes of plaintext, at most MaxFrameSize; 0: DefaultFrameSize
	RestoreRate int64            // bytes per second read from stores; 0: unlimited
	Now         func() time.Time // nil: time.Now
	OnFallback  func(Fallback)   // told of each object that another store had to give; may be nil, may be called concurrently
}

// Fallback says that an object was read from another store than the first.
type Fallback struct {
	Key      string // the object
	Reason   error  // why the first store did not do
	From, To string // names of the stores
}

// Vault reads and writes backups in one store and its replica. It is safe for
// concurrent use.
type Vault struct {
	cfg    Config
	codecs *codecs
	writes version // of objects and manifests; the newest but in tests
	rate   *limiter
	health *health

	mu        sync.Mutex
	keyCache  map[string]*keys.DataKey
	formatted map[string]bool // systems for which format.json was checked before writing
	readable  bool            // format.json was checked before reading
}

// New makes a vault. It reads nothing yet.
func New(c Config) (*Vault, error) {
	if c.Store == nil || c.Keys == nil || c.Budget == nil {
		return nil, fault.Newf(fault.ConfigInvalid, "open vault", "stores", "a store, keys and a budget are needed")
	}
	if c.Parallel <= 0 {
		c.Parallel = 2 * runtime.GOMAXPROCS(0)
	}
	if c.ChunkSize == 0 {
		c.ChunkSize = DefaultChunkSize
	}
	if c.FrameSize == 0 {
		c.FrameSize = min(DefaultFrameSize, c.ChunkSize)
	}
	if c.FrameSize < 1 || c.FrameSize > MaxFrameSize || c.ChunkSize < c.FrameSize || c.ChunkSize > MaxChunkSize {
		return nil, fault.Newf(fault.ConfigInvalid, "open vault", "chunk size", "frames of %d bytes in chunks of %d", c.FrameSize, c.ChunkSize).
			WithHint("frames are at most 1 MiB, chunks at most 32 MiB and no smaller than a frame")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.OnFallback == nil {
		c.OnFallback = func(Fallback) {}
	}
	codecs, err := newCodecs(runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, err
	}
	return fresh(c, codecs, newLimiter(c.RestoreRate)), nil
}

func fresh(c Config, codecs *codecs, rate *limiter) *Vault {
	return &Vault{
		cfg: c, codecs: codecs, writes: newest, rate: rate, health: &health{},
		keyCache: map[string]*keys.DataKey{}, formatted: map[string]bool{},
	}
}

// Store is the primary store.
func (v *Vault) Store() store.Store { return v.cfg.Store }

// Replica is the store that is read when the primary fails, or nil.
func (v *Vault) Replica() store.Store { return v.cfg.Replica }

// TellFallback tells of an object that is found in another store than the first,
// by someone who lists the stores himself.
func (v *Vault) TellFallback(f Fallback) { v.cfg.OnFallback(f) }

// WithStores is the same vault over other stores: it shares the keys, the
// budget and the rate, and nothing it knows of the stores.
func (v *Vault) WithStores(primary, replica store.Store) *Vault {
	c := v.cfg
	c.Store, c.Replica = primary, replica
	return fresh(c, v.codecs, v.rate)
}

// Budget is what bounds this vault's buffers.
func (v *Vault) Budget() *Budget { return v.cfg.Budget }

// writeKey makes or opens the data key for writing.
func (v *Vault) writeKey(ctx context.Context, id string) (*keys.DataKey, error) {
	cacheID := "w/" + id // made sure of in this store, which an opened one is not
	if key := v.cachedKey(cacheID); key != nil {
		return key, nil
	}
	key, err := v.cfg.Keys.Create(ctx, storeSlots{v.cfg.Store}, id)
	if err != nil {
		return nil, err
	}
	v.cacheKey(cacheID, key)
	v.cacheKey(id, key)
	return key, nil
}

// readKey opens the data key, from the replica's slots when the primary's don't do.
func (v *Vault) readKey(ctx context.Context, id string) (*keys.DataKey, error) {
	if key := v.cachedKey(id); key != nil {
		return key, nil
	}
	var key *keys.DataKey
	err := v.eachStore(ctx, "keys/"+id, func(s store.Store) error {
		var err error
		key, err = v.cfg.Keys.Open(ctx, storeSlots{s}, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	v.cacheKey(id, key)
	return key, nil
}

func (v *Vault) cachedKey(id string) *keys.DataKey {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.keyCache[id]
}

func (v *Vault) cacheKey(id string, key *keys.DataKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keyCache[id] = key
}
