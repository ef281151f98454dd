package vault

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
)

// giver is a nearer place.
type giver func(offset int64, dst []byte) bool

func (g giver) Read(offset int64, dst []byte) bool { return g(offset, dst) }
func (g giver) Close()                             {}

// near reads a stream with what a nearer place gives, and says how much of it was kept.
func near(t *testing.T, b *Backup, want []byte, give giver) int64 {
	t.Helper()
	var kept atomic.Int64
	var mu sync.Mutex
	got := make([]byte, len(want))
	require.NoError(t, b.ReadChunksNear(t.Context(), "base.tar", nil, func() NearReader { return give }, func(_, n int64) { kept.Add(n) }, func(_ context.Context, c Chunk) error {
		mu.Lock()
		defer mu.Unlock()
		copy(got[c.Offset:], c.Data)
		return nil
	}))
	require.True(t, bytes.Equal(want, got))
	return kept.Load()
}

func TestANearerPlaceIsBelievedOnlyWhereItsContentIsTheBackups(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			primary := mem.New("primary")
			v := small(t, func(c *Config) { c.ChunkSize, c.Store = 8<<10, primary })
			c := newCluster(seed)
			first, starts, _ := c.next(t, v, 0, "", nil)
			c.change()
			m, _, whole := c.next(t, v, 1, first.Key, starts)
			b := open(t, v, m.Key)
			same := func(offset int64, dst []byte) bool { return copy(dst, whole[offset:]) == len(dst) }
			require.EqualValues(t, len(whole), near(t, b, whole, same), "nothing is read that is there")
			damaged := bytes.Clone(whole)
			for at := 0; at < len(damaged); at += 5 << 10 {
				damaged[at] ^= 1
			}
			kept := near(t, b, whole, func(offset int64, dst []byte) bool { return copy(dst, damaged[offset:]) == len(dst) })
			require.Positive(t, kept)
			require.Less(t, kept, int64(len(whole)))
			require.Zero(t, near(t, b, whole, func(_ int64, dst []byte) bool { clear(dst); return true }))
			require.Zero(t, near(t, b, whole, func(_ int64, dst []byte) bool { clear(dst); return false }))

			// Where the MACs can't be read, nothing nearer is believed.
			v2 := small(t, func(c *Config) { c.ChunkSize, c.Store, c.Replica = 8<<10, mem.New("broken"), primary })
			b, err := v2.WithStores(v2.cfg.Store, primary).Open(t.Context(), m.Key)
			require.NoError(t, err)
			require.Zero(t, near(t, b, whole, same))
		})
	}
}

func TestWhatANearerPlaceHasIsNotAskedOfTheStore(t *testing.T) {
	primary := mem.New("primary")
	v := small(t, func(c *Config) { c.ChunkSize, c.Store = 8<<10, primary })
	m, _, whole := newCluster(1).next(t, v, 0, "", nil)
	b := open(t, v, m.Key)
	for _, o := range m.Objects { // all but headers and indexes is gone
		body, err := store.ReadAll(t.Context(), primary, o.Key, 1<<20)
		require.NoError(t, err)
		h, _ := o.head()
		clear(body[h.size() : len(body)-h.footerSize()])
		_, err = primary.Put(t.Context(), o.Key, body, store.PutOptions{})
		require.NoError(t, err)
	}
	kept := near(t, b, whole, func(offset int64, dst []byte) bool { return copy(dst, whole[offset:]) == len(dst) })
	require.EqualValues(t, len(whole), kept)
}
