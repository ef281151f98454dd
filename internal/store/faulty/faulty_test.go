package faulty_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/store/storetest"
)

func TestWithoutFaultsItKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return faulty.New(t, mem.New("memory")) })
}

func read(t *testing.T, s store.Store, key string) []byte {
	t.Helper()
	body, _, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	whole, err := io.ReadAll(body)
	require.NoError(t, err)
	return whole
}

func TestEachFaultStrikesTheCallItWasQueuedFor(t *testing.T) {
	s := faulty.New(t, mem.New("memory"))
	down := fault.New(fault.StorageUnavailable, "put", "a/1", nil)
	s.Queue(
		faulty.Fault{Op: faulty.Put, Key: "a/", After: 1, Err: down},
		faulty.Fault{Op: faulty.Put, Key: "b", LostAck: down},
		faulty.Fault{Op: faulty.Get, Cut: true, CutAt: 2},
		faulty.Fault{Op: faulty.Get, Flip: true, FlipAt: 1},
	)
	put := func(key string) error {
		_, err := s.Put(t.Context(), key, []byte("abc"), store.PutOptions{})
		return err
	}
	require.NoError(t, put("a/0"))
	require.ErrorIs(t, put("a/1"), down)
	require.NoError(t, put("a/1"))
	require.ErrorIs(t, put("b"), down)
	require.Len(t, s.Left(), 2)
	require.Equal(t, "ab", string(read(t, s, "b")))
	require.Equal(t, "acc", string(read(t, s, "b")))
	require.Equal(t, "abc", string(read(t, s, "b")))
	require.Empty(t, s.Left())

	up := s.Down("a/", down)
	require.ErrorIs(t, put("a/2"), down)
	require.ErrorIs(t, put("a/2"), down)
	up()
	require.NoError(t, put("a/2"))
}
