package vault

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
)

// asked counts the parts of chunks that are read.
type asked struct {
	store.Store
	chunks atomic.Int64
}

func (a *asked) GetRange(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	if strings.Contains(key, "/chunk/") {
		a.chunks.Add(1)
	}
	return a.Store.GetRange(ctx, key, off, length)
}

// twice makes two backups of the same files, where the second one may be prevented from
// reading the table of the first; and gives both, and how many parts of chunks were read for the second.
func twice(t *testing.T, between func(v *Vault, first *Manifest)) (v *Vault, first, second *Manifest, parts int64) {
	t.Helper()
	counting := &asked{}
	v = small(t, func(c *Config) {
		counting.Store = c.Store
		c.Store = counting
		c.ChunkSize = 8 << 10
	})
	c := newCluster(3)
	c.files = append(c.files, noise(9, 64<<10))
	first, starts, _ := c.next(t, v, 0, "", nil)
	if between != nil {
		between(v, first)
	}
	before := counting.chunks.Load()
	second, _, _ = c.next(t, v, 1, first.Key, starts)
	return v, first, second, counting.chunks.Load() - before
}

func objectsOf(t *testing.T, m *Manifest, stream string) (objects []int) {
	t.Helper()
	s, err := m.Stream(stream)
	require.NoError(t, err)
	for _, e := range s.Extents {
		objects = append(objects, e.Object)
	}
	return objects
}

func TestARepeatBackupAsksForOneTableAndNotForEachIndex(t *testing.T) {
	v, first, second, parts := twice(t, nil)
	require.Greater(t, second.Shared(), second.Bytes/2)
	table := len(objectsOf(t, first, MACsStream))
	require.LessOrEqual(t, parts, int64(2*table), "header and index of each object of the table, at most")
	require.Greater(t, len(objectsOf(t, first, "base.tar")), 4*table)

	for _, m := range []*Manifest{first, second} {
		b, err := v.OpenWhole(t.Context(), m.Key)
		require.NoError(t, err)
		require.NoError(t, b.Verify(t.Context(), nil))
		reader := b.macsTable()
		for _, i := range objectsOf(t, m, "base.tar") {
			o := &m.Objects[i]
			index, err := v.frameMACs(t.Context(), o)
			require.NoError(t, err)
			macs, err := reader.macs(t.Context(), o)
			require.NoError(t, err)
			require.Equal(t, index, macs, "%s, shared or not", o.Key)
		}
	}
}

func TestWithoutItsTableABackupIsAskedByObject(t *testing.T) {
	// The table lies in the same bucket as all else: here something has damaged it.
	v, _, second, parts := twice(t, func(v *Vault, first *Manifest) {
		for _, i := range objectsOf(t, first, MACsStream) {
			o := first.Objects[i]
			body, _, err := v.cfg.Store.Get(t.Context(), o.Key)
			require.NoError(t, err)
			raw, err := io.ReadAll(body)
			require.NoError(t, err)
			require.NoError(t, body.Close())
			raw[len(raw)/2] ^= 1
			_, err = v.cfg.Store.Put(t.Context(), o.Key, raw, store.PutOptions{})
			require.NoError(t, err)
		}
	})
	require.Greater(t, second.Shared(), second.Bytes/2)
	require.Greater(t, parts, int64(10))
	b, err := v.OpenWhole(t.Context(), second.Key)
	require.NoError(t, err)
	require.NoError(t, b.Verify(t.Context(), nil), "the second one has a table of its own")
}

func TestATableThatDisagreesWithAnIndexIsFoundByTheProof(t *testing.T) {
	v, first, _, _ := twice(t, nil)
	b, err := v.OpenWhole(t.Context(), first.Key)
	require.NoError(t, err)
	table := b.macsTable()
	o := &first.Objects[objectsOf(t, first, "base.tar")[0]]
	index, err := v.frameMACs(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, table.agrees(t.Context(), o, index))

	moved := *o
	at := *o.MACsAt + 1
	moved.MACsAt = &at
	err = table.agrees(t.Context(), &moved, index)
	require.True(t, fault.Has(err, fault.IntegrityError), "%v", err)
	require.ErrorContains(t, err, errTable.Error())

	for _, outside := range []int64{-1, 1 << 40, 1<<63 - 1} {
		moved.MACsAt = &outside
		macs, err := table.macs(t.Context(), &moved)
		require.NoError(t, err)
		require.Nil(t, macs)
		require.Error(t, table.agrees(t.Context(), &moved, index))
	}
	moved.MACsAt = nil
	require.NoError(t, table.agrees(t.Context(), &moved, index), "a backup of an earlier release has none")
}

func TestATableThatCannotBeReadJustNowIsNoDamage(t *testing.T) {
	v, first, _, _ := twice(t, nil)
	faults := faulty.New(t, v.cfg.Store)
	v = v.WithStores(faults, nil)
	b, err := v.OpenWhole(t.Context(), first.Key)
	require.NoError(t, err)
	o := &first.Objects[objectsOf(t, first, "base.tar")[0]]
	index, err := v.frameMACs(t.Context(), o)
	require.NoError(t, err)
	up := faults.Down("/chunk/", fault.New(fault.StorageUnavailable, "get", "primary", errors.New("no route")))
	err = b.macsTable().agrees(t.Context(), o, index)
	up()
	require.True(t, fault.Has(err, fault.StorageUnavailable) && !fault.Has(err, fault.IntegrityError), "%v", err)
	require.True(t, fault.Retryable(err))
}
