package vault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
)

// cluster is files that change, and a stream of them with something of any length before each.
type cluster struct {
	source *rand.Rand
	files  [][]byte
}

func newCluster(seed uint64) *cluster {
	c := &cluster{source: rand.New(rand.NewPCG(seed, 2))}
	for i := range 6 {
		c.files = append(c.files, content(seed+uint64(i), c.source.IntN(40<<10)))
	}
	return c
}

// change overwrites some pages, and makes a file longer and another one shorter.
func (c *cluster) change() {
	for range 6 {
		file := c.files[c.source.IntN(len(c.files))]
		if len(file) > 600 {
			copy(file[c.source.IntN(len(file)-512):], noise(c.source.Uint64(), 512))
		}
	}
	longer, shorter := c.source.IntN(len(c.files)), c.source.IntN(len(c.files))
	c.files[longer] = append(c.files[longer], content(c.source.Uint64(), c.source.IntN(9<<10))...)
	c.files[shorter] = c.files[shorter][:len(c.files[shorter])/2]
}

// backUp writes the stream and gives where each file's content begins in it, and the stream.
func (c *cluster) backUp(t *testing.T, w *Writer, earlier []int64) (starts []int64, whole []byte) {
	t.Helper()
	s, err := w.Create(t.Context(), "base.tar")
	require.NoError(t, err)
	write := func(p []byte) {
		for len(p) > 0 { // as the server cuts it: anywhere
			n := min(len(p), 1+c.source.IntN(3<<10))
			_, err := s.Write(p[:n])
			require.NoError(t, err)
			whole = append(whole, p[:n]...)
			p = p[n:]
		}
	}
	for i, file := range c.files {
		s.Align("", 0)
		write(noise(c.source.Uint64(), c.source.IntN(700)))
		if earlier == nil {
			s.Align("", 0)
		} else {
			s.Align("base.tar", earlier[i])
		}
		starts = append(starts, int64(len(whole)))
		write(file)
	}
	require.NoError(t, s.Close())
	return starts, whole
}

func sharedIntent(day int) Intent {
	in := testIntent("zstd")
	in.At = in.At.AddDate(0, 0, day)
	in.RunID, in.FrameSize = fmt.Sprintf("backup/frende/%d", day), 1<<10
	return in
}

func donorOf(t *testing.T, v *Vault, key string) *Donor {
	t.Helper()
	b, err := v.WithStores(v.cfg.Store, nil).OpenWhole(t.Context(), key)
	require.NoError(t, err)
	return b.Donor()
}

// next makes the backup of a day, which shares frames with the one before it.
func (c *cluster) next(t *testing.T, v *Vault, day int, before string, earlier []int64) (*Manifest, []int64, []byte) {
	t.Helper()
	w, err := v.Begin(t.Context(), sharedIntent(day))
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	if before != "" {
		require.NoError(t, w.Share(donorOf(t, v, before)))
	}
	starts, whole := c.backUp(t, w, earlier)
	m, err := w.Commit(t.Context(), nil)
	require.NoError(t, err)
	return m, starts, whole
}

func TestBackupsThatShareFramesAreEachWhole(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			v := small(t, func(c *Config) {
				if seed%3 == 0 { // hardly any memory: chunks are stored as they come
					c.Budget = NewBudget(96 << 10)
				}
				c.ChunkSize = 8 << 10
			})
			c := newCluster(seed)
			var key string
			var starts []int64
			var made []*Manifest
			var held [][]byte
			for day := range 4 {
				v.writes = newest
				if seed%2 == 1 && day < 2 { // what an earlier release has left
					v.writes = hmacSHA256
				}
				m, found, whole := c.next(t, v, day, key, starts)
				base, err := m.Stream("base.tar")
				require.NoError(t, err)
				require.EqualValues(t, len(whole), base.Bytes)
				made, held = append(made, m), append(held, bytes.Clone(whole))
				key, starts = m.Key, found
				c.change()
			}
			require.Empty(t, made[0].Base)
			require.Zero(t, made[0].Shared())
			for day, m := range made {
				if day > 0 {
					require.Equal(t, made[day-1].Key, m.Base)
					require.Positive(t, m.Shared())
				}
				b, err := v.OpenWhole(t.Context(), m.Key)
				require.NoError(t, err)
				require.NoError(t, b.Verify(t.Context(), nil))
				requireStream(t, b, held[day], c.source)
			}
		})
	}
}

// requireStream reads a stream in every way there is.
func requireStream(t *testing.T, b *Backup, want []byte, source *rand.Rand) {
	t.Helper()
	r, err := b.Open(t.Context(), "base.tar")
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.True(t, bytes.Equal(want, got))

	var mu sync.Mutex
	pieced := make([]byte, len(want))
	require.NoError(t, b.ReadChunks(t.Context(), "base.tar", nil, func(_ context.Context, c Chunk) error {
		mu.Lock()
		defer mu.Unlock()
		copy(pieced[c.Offset:], c.Data)
		return nil
	}))
	require.True(t, bytes.Equal(want, pieced))

	for range 10 {
		from := source.IntN(len(want))
		n := source.IntN(len(want) - from)
		r, err := b.ReadRange(t.Context(), "base.tar", int64(from), int64(n))
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.True(t, bytes.Equal(want[from:from+n], got), "%d bytes from %d", n, from)
	}
}

func TestWhatHasNotChangedIsNotStoredAgain(t *testing.T) {
	v := small(t, nil)
	c := newCluster(3)
	first, starts, _ := c.next(t, v, 0, "", nil)
	second, _, _ := c.next(t, v, 1, first.Key, starts)
	var files int64
	for _, file := range c.files {
		files += int64(len(file))
	}
	require.Equal(t, files, second.Shared())
	require.Less(t, second.Stored, first.Stored/5)
}

func TestADonorWhoseIndexIsDamagedGivesNothing(t *testing.T) {
	primary := mem.New("primary")
	v := small(t, func(c *Config) { c.Store = primary })
	c := newCluster(5)
	first, starts, _ := c.next(t, v, 0, "", nil)
	for _, o := range first.Objects {
		body, err := store.ReadAll(t.Context(), primary, o.Key, 1<<20)
		require.NoError(t, err)
		body[len(body)-trailerSize-3] ^= 1
		_, err = primary.Put(t.Context(), o.Key, body, store.PutOptions{})
		require.NoError(t, err)
	}
	second, _, whole := c.next(t, v, 1, first.Key, starts)
	require.Zero(t, second.Shared())
	require.Empty(t, second.Base)
	b, err := v.OpenWhole(t.Context(), second.Key)
	require.NoError(t, err)
	requireStream(t, b, whole, c.source)
}

func TestABackupIsNotFinishedWithoutTheOneItSharesWith(t *testing.T) {
	primary := mem.New("primary")
	v := small(t, func(c *Config) { c.Store = primary })
	c := newCluster(7)
	first, starts, _ := c.next(t, v, 0, "", nil)
	donor := donorOf(t, v, first.Key)
	w, err := v.Begin(t.Context(), sharedIntent(1))
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	require.NoError(t, w.Share(donor))
	c.backUp(t, w, starts)
	for info, err := range primary.List(t.Context(), first.Key, store.ListOptions{}) {
		require.NoError(t, err)
		require.NoError(t, primary.Delete(t.Context(), info.Key, ""))
	}
	_, err = w.Commit(t.Context(), nil)
	require.True(t, fault.Has(err, fault.BackupIncomplete), "%v", err)
	require.ErrorContains(t, err, first.Key)
	_, err = v.Open(t.Context(), w.Key())
	require.Error(t, err)
}

func TestALostObjectOfAnEarlierBackupIsNamed(t *testing.T) {
	primary := mem.New("primary")
	v := small(t, func(c *Config) { c.Store = primary })
	c := newCluster(9)
	first, starts, _ := c.next(t, v, 0, "", nil)
	second, _, _ := c.next(t, v, 1, first.Key, starts)
	var lost string
	for _, o := range second.Objects {
		if strings.HasPrefix(o.Key, first.Key+"/") {
			lost = o.Key
		}
	}
	require.NotEmpty(t, lost)
	b, err := v.Open(t.Context(), second.Key)
	require.NoError(t, err)
	require.NoError(t, primary.Delete(t.Context(), lost, ""))
	require.ErrorContains(t, b.Verify(t.Context(), nil), lost)
	_, err = v.OpenWhole(t.Context(), second.Key)
	require.True(t, fault.Has(err, fault.BackupIncomplete), "%v", err)
	require.ErrorContains(t, err, lost)
}

func TestAMACThatIsNotItsFramesIsFoundByTheProof(t *testing.T) {
	v := small(t, nil)
	w, err := v.Begin(t.Context(), sharedIntent(0))
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	seal := sealing{codecs: v.codecs, key: w.dataKey, header: header{
		Version: newest, Kind: kindChunk, Codec: codecNone, KeyID: w.intent.KeyID, Key: "k", Stream: "s", FrameSize: 1 << 10, MACs: true,
	}}
	plain := content(1, 3<<10)
	body, tag, err := seal.seal(make([]byte, boundFor(codecNone, 1<<10, len(plain))), make([]byte, scratchSize(codecNone, 1<<10)), plain)
	require.NoError(t, err)
	_, err = v.cfg.Store.Put(t.Context(), "k", body, store.PutOptions{})
	require.NoError(t, err)
	o := objectOf(&seal.header, int64(len(body)), tag)
	require.NoError(t, proved(v.prove(t.Context(), &o, make([]byte, 1<<10))))

	r := v.openRun(t.Context(), &o, 0, 3)
	r.prove = true
	for range 2 {
		_, err := r.next(make([]byte, 1<<10))
		require.NoError(t, err)
	}
	r.proved[1][0] ^= 1 // as if the frame had been changed between its MAC and its sealing
	_, err = r.next(make([]byte, 1<<10))
	require.True(t, fault.Has(err, fault.IntegrityError), "%v", err)
	require.ErrorContains(t, err, errContent.Error())
}
