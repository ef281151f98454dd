package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
)

const testSecret = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

func testRing(t testing.TB) *keys.Ring {
	ring, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte(testSecret))}})
	require.NoError(t, err)
	return ring
}

// small is a vault with small chunks and frames, so that little data has many of both.
func small(t testing.TB, change func(*Config)) *Vault {
	c := Config{Store: mem.New("primary"), Keys: testRing(t), Budget: NewBudget(8 << 20), ChunkSize: 4 << 10, FrameSize: 1 << 10, Parallel: 4}
	if change != nil {
		change(&c)
	}
	v, err := New(c)
	require.NoError(t, err)
	return v
}

func testIntent(codec string) Intent {
	return Intent{
		Folder: "database-backups", Kind: "base", System: "frende", Component: "frende", RunID: "backup/frende/1", Attempt: 1, By: "test",
		At: time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC), Codec: codec,
	}
}

// content is bytes of which about a half compresses well.
func content(seed uint64, n int) []byte {
	source := rand.New(rand.NewPCG(seed, 1))
	out := make([]byte, 0, n+64)
	for len(out) < n {
		if source.IntN(2) == 0 {
			out = append(out, bytes.Repeat([]byte{byte(source.IntN(256))}, 40)...)
		} else {
			for range 5 {
				out = append(out, fmt.Sprintf("%x", source.Uint64())...)
			}
		}
	}
	return out[:n]
}

func noise(seed uint64, n int) []byte {
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	out := make([]byte, n)
	_, _ = source.Read(out) // never fails
	return out
}

// backUp makes a backup of streams and gives its manifest.
func backUp(t testing.TB, v *Vault, in Intent, streams map[string][]byte) *Manifest {
	w, err := v.Begin(t.Context(), in)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	for name, data := range streams {
		writeStream(t, w, name, data)
	}
	m, err := w.Commit(t.Context(), Facts{"postgres": json.RawMessage(`{"lsn":"0/3000148"}`)})
	require.NoError(t, err)
	return m
}

func writeStream(t testing.TB, w *Writer, name string, data []byte) {
	s, err := w.Create(t.Context(), name)
	require.NoError(t, err)
	_, err = io.Copy(s, bytes.NewReader(data))
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func readStream(ctx context.Context, b *Backup, name string) ([]byte, error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	return data, err
}

func open(t testing.TB, v *Vault, key string) *Backup {
	b, err := v.Open(t.Context(), key)
	require.NoError(t, err)
	return b
}

func raw(t testing.TB, s store.Store, key string) []byte {
	body, err := readSmall(t.Context(), s, key)
	require.NoError(t, err)
	return body
}

func put(t testing.TB, s store.Store, key string, body []byte) {
	_, err := s.Put(t.Context(), key, body, store.PutOptions{})
	require.NoError(t, err)
}

func requireFault(t testing.TB, err error, kind fault.Kind, names string) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, kind, fault.KindOf(err), "%v", err)
	require.Contains(t, err.Error(), names)
	require.NotEmpty(t, fault.HintOf(err))
}

func TestWhatIsWrittenIsReadBackWithEveryCodecInEveryWay(t *testing.T) {
	for _, codec := range []string{"zstd", "gzip", "none"} {
		for _, size := range []int{0, 1, 1023, 1024, 1025, 4096, 4097, 100_000} {
			for kind, data := range map[string][]byte{"text": content(7, size), "noise": noise(7, size)} {
				t.Run(fmt.Sprintf("%s %s %d", codec, kind, size), func(t *testing.T) {
					v := small(t, nil)
					m := backUp(t, v, testIntent(codec), map[string][]byte{"base.tar": data, "empty": nil})
					b := open(t, v, m.Key)
					require.Equal(t, m.RunID, b.Manifest().RunID)
					require.EqualValues(t, size, b.Manifest().Bytes)

					got, err := readStream(t.Context(), b, "base.tar")
					require.NoError(t, err)
					require.True(t, bytes.Equal(data, got))
					require.True(t, bytes.Equal(data, gather(t, b, "base.tar", size)))
					got, err = readStream(t.Context(), b, "empty")
					require.NoError(t, err)
					require.Empty(t, got)
					require.NoError(t, b.Verify(t.Context(), nil))
					require.Zero(t, v.cfg.Budget.Used())
				})
			}
		}
	}
}

// gather puts a stream together from its chunks.
func gather(t testing.TB, b *Backup, stream string, size int) []byte {
	out := make([]byte, size)
	seen := make(chan int, 10_000)
	require.NoError(t, b.ReadChunks(t.Context(), stream, nil, func(_ context.Context, c Chunk) error {
		copy(out[c.Offset:], c.Data)
		seen <- c.Index
		return nil
	}))
	close(seen)
	once := map[int]bool{}
	for i := range seen {
		require.False(t, once[i], "chunk %d came twice", i)
		once[i] = true
	}
	n, err := b.Chunks(stream)
	require.NoError(t, err)
	require.Len(t, once, n)
	return out
}

func TestAnyRangeIsReadFromItsFramesAlone(t *testing.T) {
	v := small(t, nil)
	data := content(3, 50_000)
	m := backUp(t, v, testIntent("zstd"), map[string][]byte{"s": data})
	b := open(t, v, m.Key)
	source := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		off := source.IntN(len(data) + 1)
		n := source.IntN(len(data) - off + 1)
		r, err := b.ReadRange(t.Context(), "s", int64(off), int64(n))
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.True(t, bytes.Equal(data[off:off+n], got), "%d from %d", n, off)
	}
	_, err := b.ReadRange(t.Context(), "s", 49_999, 2)
	requireFault(t, err, fault.InputInvalid, "49999")
	require.Zero(t, v.cfg.Budget.Used())
}

func TestChunksThatAreSkippedAreNotRead(t *testing.T) {
	v := small(t, nil)
	data := content(3, 50_000)
	m := backUp(t, v, testIntent("zstd"), map[string][]byte{"s": data})
	b := open(t, v, m.Key)
	put(t, v.Store(), m.Objects[1].Key, []byte("damaged"))
	got := make([]byte, len(data))
	err := b.ReadChunks(t.Context(), "s", func(i int) bool { return i == 1 }, func(_ context.Context, c Chunk) error {
		copy(got[c.Offset:], c.Data)
		return nil
	})
	require.NoError(t, err)
	from, to := m.Objects[0].Bytes, m.Objects[0].Bytes+m.Objects[1].Bytes
	require.True(t, bytes.Equal(data[:from], got[:from]) && bytes.Equal(data[to:], got[to:]))
	require.Equal(t, make([]byte, to-from), got[from:to])
}

func TestFactsAreReadBack(t *testing.T) {
	v := small(t, nil)
	m := open(t, v, backUp(t, v, testIntent("zstd"), nil).Key).Manifest()
	var fact struct{ LSN string }
	require.NoError(t, m.Fact("postgres", &fact))
	require.Equal(t, "0/3000148", fact.LSN)
	requireFault(t, m.Fact("redis", &fact), fault.InputInvalid, "redis")
}

func TestALongBackupKeepsItsTablesBesideASmallRoot(t *testing.T) {
	v := small(t, func(c *Config) { c.ChunkSize, c.FrameSize = 64, 64 })
	data := content(9, 64*(maxInline+10))
	m := backUp(t, v, testIntent("none"), map[string][]byte{"s": data})
	require.Len(t, m.Tables, 1)
	require.Less(t, len(raw(t, v.Store(), manifestKey(m.Key))), 4096)
	b := open(t, v, m.Key)
	require.Len(t, b.Manifest().Objects, maxInline+10)
	got, err := readStream(t.Context(), b, "s")
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))

	put(t, v.Store(), m.Tables[0].Key, []byte("damaged"))
	_, err = v.Open(t.Context(), m.Key)
	requireFault(t, err, fault.IntegrityError, m.Tables[0].Key)
}

func TestAnExtentMayBeARunOfFramesOfAnEarlierBackup(t *testing.T) {
	v := small(t, nil)
	old := content(1, 20_000)
	first := backUp(t, v, testIntent("zstd"), map[string][]byte{"s": old})

	in := testIntent("gzip")
	in.At, in.RunID = in.At.Add(24*time.Hour), "backup/frende/2"
	w, err := v.Begin(t.Context(), in)
	require.NoError(t, err)
	fresh := content(2, 3_000)
	writeStream(t, w, "s", fresh)
	m, err := w.manifest(nil)
	require.NoError(t, err)
	m.Base = first.Key
	m.Objects = append(m.Objects, first.Objects[2])
	m.Streams[0].Extents = append(m.Streams[0].Extents, Extent{Object: len(m.Objects) - 1, First: 1, Frames: 2, Bytes: 2048})
	m.Streams[0].Bytes += 2048
	m.Bytes += 2048
	require.NoError(t, m.check())
	plain, err := encodeManifest(m, v.cfg.Keys)
	require.NoError(t, err)
	sealed, err := w.sealSmall(header{Kind: kindManifest, Codec: codecZstd, Key: manifestKey(m.Key)}, plain)
	require.NoError(t, err)
	put(t, v.Store(), manifestKey(m.Key), sealed.body)
	require.NoError(t, w.Close())

	b := open(t, v, m.Key)
	start := first.Objects[0].Bytes + first.Objects[1].Bytes + 1024
	want := append(append([]byte(nil), fresh...), old[start:start+2048]...)
	got, err := readStream(t.Context(), b, "s")
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.True(t, bytes.Equal(want, gather(t, b, "s", len(want))))
	require.NoError(t, b.Verify(t.Context(), nil))
}
