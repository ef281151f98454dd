package vault

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
)

func TestAnObjectWhoseAcknowledgementWasLostIsTakenForWritten(t *testing.T) {
	for _, part := range []string{"/chunk/", "/lease/"} {
		f := faulty.New(t, mem.New("primary"))
		v := small(t, func(c *Config) { c.Store = f })
		f.Queue(faulty.Fault{Op: faulty.Put, Key: part, LostAck: fault.New(fault.ObjectExists, "put", part, nil)})
		data := content(3, 50_000)
		m := backUp(t, v, testIntent("zstd"), map[string][]byte{"base.tar": data})
		got, err := readStream(t.Context(), open(t, v, m.Key), "base.tar")
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
	}
}

// trap puts an object of somebody else's under each chunk's key before the vault does.
type trap struct{ store.Store }

func (s trap) Put(ctx context.Context, key string, body []byte, opts store.PutOptions) (store.Info, error) {
	if strings.Contains(key, "/chunk/") {
		if _, err := s.Store.Put(ctx, key, append([]byte(nil), bytes.Repeat([]byte{1}, len(body))...), store.PutOptions{IfNoneMatch: true}); err != nil {
			return store.Info{}, err
		}
	}
	return s.Store.Put(ctx, key, body, opts)
}

func TestNoObjectIsEverWrittenOverAnother(t *testing.T) {
	v := small(t, func(c *Config) { c.Store = trap{mem.New("primary")} })
	w, err := v.Begin(t.Context(), testIntent("zstd"))
	require.NoError(t, err)
	s, err := w.Create(t.Context(), "base.tar")
	require.NoError(t, err)
	_, err = s.Write(content(3, 50_000))
	if err == nil {
		err = s.Close()
	}
	requireFault(t, err, fault.BackupConflict, "/chunk/")
	require.NoError(t, w.Close())
}
