package vault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
)

// regions is a vault over two stores that hold the same, with faults to queue in the first.
type regions struct {
	v             *Vault
	primary       *mem.Store
	faults        *faulty.Store
	replica       *mem.Store
	data          []byte
	manifest      *Manifest
	mu            sync.Mutex
	fallbacks     []Fallback
	replicaFaults *faulty.Store
}

func newRegions(t *testing.T) *regions {
	r := &regions{primary: mem.New("primary"), replica: mem.New("replica"), data: content(11, 40_000)}
	r.faults, r.replicaFaults = faulty.New(t, r.primary), faulty.New(t, r.replica)
	r.v = small(t, func(c *Config) {
		c.Store, c.Replica = r.faults, r.replicaFaults
		c.Now = func() time.Time { return time.Date(2024, 1, 15, 3, 0, 0, 0, time.UTC) }
		c.OnFallback = func(f Fallback) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.fallbacks = append(r.fallbacks, f)
		}
	})
	r.manifest = backUp(t, r.v, testIntent("zstd"), map[string][]byte{"s": r.data})
	require.NoError(t, r.v.PutSealed(t.Context(), single, "wal-1", r.data, SealedOptions{}))
	for info, err := range r.primary.List(t.Context(), "", store.ListOptions{}) {
		require.NoError(t, err)
		put(t, r.replica, info.Key, raw(t, r.primary, info.Key))
	}
	r.v = r.v.WithStores(r.faults, r.replicaFaults) // one that has opened no key yet
	return r
}

func (r *regions) readAll(ctx context.Context) ([]byte, error) {
	b, err := r.v.Open(ctx, r.manifest.Key)
	if err != nil {
		return nil, err
	}
	if _, err := r.v.GetSealed(ctx, single); err != nil {
		return nil, err
	}
	return readStream(ctx, b, "s")
}

func TestEachObjectThatThePrimaryLacksOrDamagedComesFromTheReplica(t *testing.T) {
	damage := map[string]func(t *testing.T, r *regions, key string){
		"missing": func(t *testing.T, r *regions, key string) { require.NoError(t, r.primary.Delete(t.Context(), key, "")) },
		"garbage": func(t *testing.T, r *regions, key string) { put(t, r.primary, key, noise(1, 3000)) },
		"truncated": func(t *testing.T, r *regions, key string) {
			whole := raw(t, r.primary, key)
			put(t, r.primary, key, whole[:len(whole)*2/3])
		},
		"longer": func(t *testing.T, r *regions, key string) {
			put(t, r.primary, key, append(raw(t, r.primary, key), 1, 2, 3))
		},
		"flipped at the end": func(t *testing.T, r *regions, key string) {
			whole := bytes.Clone(raw(t, r.primary, key))
			whole[len(whole)-30] ^= 1
			put(t, r.primary, key, whole)
		},
	}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			r := newRegions(t)
			hurt := []string{manifestKey(r.manifest.Key), r.manifest.Objects[0].Key, r.manifest.Objects[3].Key, single}
			for _, key := range hurt {
				harm(t, r, key)
			}
			got, err := r.readAll(t.Context())
			require.NoError(t, err)
			require.True(t, bytes.Equal(r.data, got))
			var told []string
			for _, f := range r.fallbacks {
				told = append(told, f.Key)
				require.Error(t, f.Reason)
				require.Equal(t, "primary", f.From)
				require.Equal(t, "replica", f.To)
			}
			require.ElementsMatch(t, hurt, told)
			err = open(t, r.v, r.manifest.Key).Verify(t.Context(), nil)
			require.Error(t, err, "the replica must not hide what the primary has lost")

			harmReplica := newRegionsOf(r)
			harm(t, harmReplica, r.manifest.Objects[3].Key)
			_, err = r.readAll(t.Context())
			require.Error(t, err)
			require.Contains(t, err.Error(), r.manifest.Objects[3].Key)
			require.Contains(t, err.Error(), "primary")
			require.Contains(t, err.Error(), "replica")
			want := fault.IntegrityError
			if name == "missing" {
				want = fault.ObjectMissing
			}
			require.Equal(t, want, fault.KindOf(err))
			require.Zero(t, r.v.cfg.Budget.Used())
		})
	}
}

// newRegionsOf is r seen so that harming the primary harms the replica.
func newRegionsOf(r *regions) *regions { return &regions{primary: r.replica} }

func TestALostRegionIsAskedOnceAndThenLeftInPeace(t *testing.T) {
	r := newRegions(t)
	counted := &countingStore{Store: r.primary, err: fault.New(fault.StorageUnavailable, "get", "primary", errors.New("no route"))}
	r.v = r.v.WithStores(counted, r.replica)
	got, err := r.readAll(t.Context())
	require.NoError(t, err)
	require.True(t, bytes.Equal(r.data, got))
	require.Equal(t, 1, counted.calls)
	require.Greater(t, len(r.fallbacks), len(r.manifest.Objects))
	up := r.faults.Down("", counted.err)
	defer up()
	latest, err := r.v.WithStores(r.faults, r.replica).Latest(t.Context(), Filter{Folder: "database-backups", Component: "frende"})
	require.NoError(t, err)
	require.Equal(t, "replica", latest.Store)
}

type countingStore struct {
	store.Store
	err   error
	mu    sync.Mutex
	calls int
}

func (s *countingStore) Get(context.Context, string) (io.ReadCloser, store.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	return nil, store.Info{}, s.err
}

func TestAStoreThatIsDownWithoutReplicaIsNamedAndRetryable(t *testing.T) {
	r := newRegions(t)
	r.v = r.v.WithStores(r.faults, nil)
	up := r.faults.Down("", fault.New(fault.StorageUnavailable, "get", "primary", errors.New("no route")))
	_, err := r.v.Open(t.Context(), r.manifest.Key)
	requireFault(t, err, fault.StorageUnavailable, "no route")
	require.True(t, fault.Retryable(err))
	up()
	_, err = r.readAll(t.Context())
	require.NoError(t, err)
}

func TestKeysComeFromTheReplicaWhenThePrimaryLostThem(t *testing.T) {
	r := newRegions(t)
	for info, err := range r.primary.List(t.Context(), "keys/", store.ListOptions{}) {
		require.NoError(t, err)
		require.NoError(t, r.primary.Delete(t.Context(), info.Key, ""))
	}
	_, err := r.readAll(t.Context())
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(r.fallbacks[0].Key, "keys/"))

	lost := r.v.WithStores(r.primary, nil)
	_, err = lost.Open(t.Context(), r.manifest.Key)
	requireFault(t, err, fault.KeyUnavailable, r.manifest.KeyID)
	_, err = lost.GetSealed(t.Context(), single)
	requireFault(t, err, fault.KeyUnavailable, "wal-1")
}
