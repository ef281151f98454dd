package wal_test

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

// telling is an archive whose fallbacks are noted.
func telling(t *testing.T, primary, replica store.Store) (*wal.Archive, *[]vault.Fallback) {
	t.Helper()
	var told []vault.Fallback
	v, err := makeVault(primary, replica, func(f vault.Fallback) { told = append(told, f) })
	require.NoError(t, err)
	a, err := wal.New(wal.Config{Vault: v, Cluster: "frende", Patience: 200 * time.Millisecond})
	require.NoError(t, err)
	return a, &told
}

func TestReplicaFillsWhatThePrimaryLost(t *testing.T) {
	for lost, numbers := range map[string][]uint64{"in the middle": {4}, "at the end": {5, 6}, "all of it": {3, 4, 5, 6}} {
		t.Run(lost, func(t *testing.T) {
			primary, replica := mem.New("primary"), mem.New("replica")
			push(t, newArchive(t, primary, nil), dataDir(t, system), 1, 3, 4, 5, 6)
			copyAll(t, primary, replica)
			for _, number := range numbers {
				require.NoError(t, primary.Delete(t.Context(), objectOf(name(1, number)), ""))
			}
			a, told := telling(t, primary, replica)
			pin, err := a.Pin(t.Context(), from(1, 3))
			require.NoError(t, err)
			require.Equal(t, name(1, 6), pin.End)
			require.Len(t, *told, 1, "it is not kept quiet")
			require.Equal(t, objectOf(name(1, numbers[0])), (*told)[0].Key)
			require.Equal(t, "replica", (*told)[0].To)
			require.True(t, fault.Has((*told)[0].Reason, fault.ObjectMissing))
			require.NoError(t, a.Fetch(t.Context(), pin, name(1, numbers[0]), filepath.Join(t.TempDir(), "x")))
		})
	}
}

func TestAnEqualOrLostReplicaChangesNoPin(t *testing.T) {
	primary, replica := mem.New("primary"), mem.New("replica")
	push(t, newArchive(t, primary, nil), dataDir(t, system), 1, 3, 4, 5, 6)
	copyAll(t, primary, replica)
	a, told := telling(t, primary, replica)
	pin, err := a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	require.Equal(t, name(1, 6), pin.End)
	require.Empty(t, *told)

	// One of the two must answer, and a dead one is asked once.
	for _, dead := range []string{"primary", "replica"} {
		stores := map[string]store.Store{"primary": primary, "replica": replica}
		broken := &unlisted{Store: stores[dead]}
		stores[dead] = broken
		a, told := telling(t, stores["primary"], stores["replica"])
		pin, err := a.Pin(t.Context(), from(1, 3))
		require.NoError(t, err)
		require.Equal(t, name(1, 6), pin.End)
		require.Equal(t, 1, broken.asked)
		require.Empty(t, *told, "the primary did not answer: nothing is missing from it")
	}
	a, _ = telling(t, &unlisted{Store: primary}, &unlisted{Store: replica})
	_, err = a.Pin(t.Context(), from(1, 3))
	kindIs(t, fault.StorageUnavailable, err)
}

// unlisted is a store that lists nothing and counts who asks.
type unlisted struct {
	store.Store
	asked int
}

func (u *unlisted) List(context.Context, string, store.ListOptions) iter.Seq2[store.Info, error] {
	u.asked++
	return func(yield func(store.Info, error) bool) {
		yield(store.Info{}, fault.New(fault.StorageUnavailable, "list", u.Name(), errors.New("no route to host")))
	}
}
