package vault

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
)

// hungUp answers for some objects as a server that ends connections does: the
// fault has an io.EOF at its root, which is not the end of any object.
type hungUp struct {
	store.Store
	part string // of a key
	from int64  // bytes that are still given
}

func (s hungUp) failed(key string) error {
	return fault.New(fault.StorageUnavailable, "get", key, io.EOF)
}

func (s hungUp) Get(ctx context.Context, key string) (io.ReadCloser, store.Info, error) {
	body, info, err := s.Store.Get(ctx, key)
	if err == nil && bytes.Contains([]byte(key), []byte(s.part)) {
		if s.from == 0 {
			return nil, store.Info{}, s.failed(key)
		}
		return broken{io.LimitReader(body, s.from), body, s.failed(key)}, info, nil
	}
	return body, info, err
}

func (s hungUp) GetRange(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	if bytes.Contains([]byte(key), []byte(s.part)) {
		return nil, s.failed(key)
	}
	return s.Store.GetRange(ctx, key, off, length)
}

// broken gives some bytes and then its error.
type broken struct {
	io.Reader
	io.Closer
	err error
}

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

func TestConnectionThatEndsIsNeverTheEndOfAnObject(t *testing.T) {
	whole := mem.New("primary")
	data := content(5, 50_000)
	m := backUp(t, small(t, func(c *Config) { c.Store = whole }), testIntent("zstd"), map[string][]byte{"base.tar": data})
	for _, object := range []int{0, len(m.Objects) / 2, len(m.Objects) - 1} {
		for _, from := range []int64{0, 1, m.Objects[object].Length / 2, m.Objects[object].Length - 1} {
			v := small(t, func(c *Config) { c.Store = hungUp{whole, m.Objects[object].Key, from} })
			requireFault(t, open(t, v, m.Key).Verify(t.Context(), nil), fault.StorageUnavailable, m.Objects[object].Key)
			got, err := readStream(t.Context(), open(t, v, m.Key), "base.tar")
			requireFault(t, err, fault.StorageUnavailable, m.Objects[object].Key)
			require.True(t, bytes.HasPrefix(data, got), "what was given before the fault is what was written")
		}
	}
	for _, from := range []int64{0, 1, 100} {
		v := small(t, func(c *Config) { c.Store = hungUp{whole, "/manifest", from} })
		_, err := v.Open(t.Context(), m.Key)
		requireFault(t, err, fault.StorageUnavailable, "/manifest")
	}
}
