package vault

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
)

// stolen is a store with a backup and one that shares with it, and who may write to it.
type stolen struct {
	primary, replica store.Store
	first, second    *Manifest
	whole            []byte // content of the second
	source           *cluster
}

func newStolen(t *testing.T) *stolen {
	t.Helper()
	s := &stolen{primary: mem.New("primary"), replica: mem.New("replica"), source: newCluster(7)}
	v := small(t, func(c *Config) { c.Store = s.primary })
	var starts []int64
	s.first, starts, _ = s.source.next(t, v, 0, "", nil)
	s.source.change()
	s.second, _, s.whole = s.source.next(t, v, 1, s.first.Key, starts)
	require.Positive(t, s.second.Shared())
	return s
}

func (s *stolen) vault(t *testing.T, replica store.Store) *Vault {
	return small(t, func(c *Config) { c.Store, c.Replica = s.primary, replica })
}

// swept is one sweep long after, which has to leave both backups alone.
func (s *stolen) swept(t *testing.T, v *Vault, why string) {
	t.Helper()
	before := under(t, s.primary, s.first.Key)
	swept := sweep(t, later(v), SweepOptions{Running: func(context.Context, string) (bool, error) { return false, nil }})
	require.Len(t, swept, 1)
	require.Equal(t, s.first.Key, swept[0].Key)
	require.False(t, swept[0].Removed)
	require.Contains(t, swept[0].Why, why)
	require.Equal(t, before, under(t, s.primary, s.first.Key))
	b, err := s.vault(t, nil).OpenWhole(t.Context(), s.second.Key)
	require.NoError(t, err)
	require.NoError(t, b.Verify(t.Context(), nil))
	requireStream(t, b, s.whole, s.source.source)
}

func (s *stolen) tombstone(t *testing.T, key string) {
	t.Helper()
	_, err := s.primary.Put(t.Context(), manifestKey(key), []byte(`{"tombstone":true,"by":"a thief"}`), store.PutOptions{})
	require.NoError(t, err)
}

func TestASweepDeletesNothingForAThiefWhoCanOnlyWrite(t *testing.T) {
	t.Run("a tombstone over the manifest of one that others are made of", func(t *testing.T) {
		s := newStolen(t)
		s.tombstone(t, s.first.Key)
		s.swept(t, s.vault(t, nil), s.second.Key+" is made of")
	})
	t.Run("its manifest deleted", func(t *testing.T) {
		s := newStolen(t)
		require.NoError(t, s.primary.Delete(t.Context(), manifestKey(s.first.Key), ""))
		s.swept(t, s.vault(t, nil), "of its objects, too: its manifest was deleted or written over")
	})
	t.Run("and the other's can't be read", func(t *testing.T) {
		s := newStolen(t)
		s.tombstone(t, s.first.Key)
		kept := raw(t, s.primary, manifestKey(s.second.Key))
		broken := append([]byte{}, kept...)
		broken[len(broken)/2] ^= 1
		put(t, s.primary, manifestKey(s.second.Key), broken)
		v := s.vault(t, nil)
		swept := sweep(t, later(v), SweepOptions{})
		require.False(t, swept[0].Removed)
		require.Contains(t, swept[0].Why, "whether finished backups are made of it is not known: ")
		put(t, s.primary, manifestKey(s.second.Key), kept)
		s.swept(t, s.vault(t, nil), "is made of")
	})
	t.Run("one that was proven", func(t *testing.T) {
		s := newStolen(t)
		v := s.vault(t, nil)
		b, err := v.Open(t.Context(), s.second.Key)
		require.NoError(t, err)
		require.NoError(t, b.Keep(t.Context(), "reference", "what it held"))
		s.tombstone(t, s.second.Key)
		before := under(t, s.primary, s.second.Key)
		swept := sweep(t, later(s.vault(t, nil)), SweepOptions{})
		require.Len(t, swept, 1)
		require.False(t, swept[0].Removed)
		require.Contains(t, swept[0].Why, "reference is only put once there is a manifest")
		require.Equal(t, before, under(t, s.primary, s.second.Key))
	})
	t.Run("one that the replica has", func(t *testing.T) {
		s := newStolen(t)
		for _, key := range keysUnder(t, s.primary, "") {
			put(t, s.replica, key, raw(t, s.primary, key))
		}
		s.tombstone(t, s.second.Key)
		before := under(t, s.primary, s.second.Key)
		swept := sweep(t, later(s.vault(t, s.replica)), SweepOptions{})
		require.False(t, swept[0].Removed)
		require.Contains(t, swept[0].Why, "replica has its manifest")
		swept = sweep(t, later(s.vault(t, gone{s.replica})), SweepOptions{})
		require.False(t, swept[0].Removed)
		require.Contains(t, swept[0].Why, "whether the replica has its manifest is not known")
		require.Equal(t, before, under(t, s.primary, s.second.Key))
	})
}

func TestABackupIsNotWholeWithoutTheKeyOfWhatItShares(t *testing.T) {
	s := newStolen(t)
	for _, key := range keysUnder(t, s.primary, "keys/"+s.first.KeyID+"/") {
		require.NoError(t, s.primary.Delete(t.Context(), key, ""))
	}
	_, err := s.vault(t, nil).OpenWhole(t.Context(), s.second.Key)
	requireFault(t, err, fault.BackupIncomplete, "keys/"+s.first.KeyID+"/")
	_, err = s.vault(t, s.replica).OpenWhole(t.Context(), s.second.Key)
	requireFault(t, err, fault.BackupIncomplete, "keys/"+s.first.KeyID+"/")
	require.True(t, strings.HasPrefix(s.second.Key, "database-backups/"))
}
