package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/torture"
)

// tampered is a store in which one object has another content.
type tampered struct {
	store.Store
	key  string
	body []byte
}

func (s *tampered) Get(ctx context.Context, key string) (io.ReadCloser, store.Info, error) {
	if key != s.key {
		return s.Store.Get(ctx, key)
	}
	return io.NopCloser(bytes.NewReader(s.body)), store.Info{Key: key, Size: int64(len(s.body))}, nil
}

func (s *tampered) GetRange(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	if key != s.key {
		return s.Store.GetRange(ctx, key, off, length)
	}
	if err := store.CheckRange(s.Name(), key, off, length, int64(len(s.body))); err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(s.body[off : off+length])), nil
}

func (s *tampered) Head(ctx context.Context, key string) (store.Info, error) {
	if key != s.key {
		return s.Store.Head(ctx, key)
	}
	return store.Info{Key: key, Size: int64(len(s.body))}, nil
}

// damage is a backup whose objects are replaced one at a time.
type damage struct {
	v        *Vault
	store    *tampered
	manifest *Manifest
	backup   *Backup
	data     []byte
	trials   int
}

const single = "wal/main/7300000000000000001/00000001/000000010000000000000001"

func newDamage(t *testing.T, codec string) *damage {
	v := small(t, nil)
	data := content(5, 10_000)
	m := backUp(t, v, testIntent(codec), map[string][]byte{"base.tar": data, "other": content(6, 10_000)})
	require.NoError(t, v.PutSealed(t.Context(), single, "wal-main-20240115", content(8, 3000), SealedOptions{Codec: codec}))
	s := &tampered{Store: v.Store()}
	v = v.WithStores(s, nil)
	return &damage{v: v, store: s, manifest: m, data: data, backup: open(t, v, m.Key)}
}

// read reads what depends on an object: the stream of a chunk, or everything.
func (d *damage) read(ctx context.Context, key string) error {
	if key == single {
		_, err := d.v.GetSealed(ctx, key)
		return err
	}
	for _, o := range d.manifest.Objects {
		if o.Key == key {
			_, err := readStream(ctx, d.backup, o.Stream)
			return err
		}
	}
	b, err := d.v.Open(ctx, d.manifest.Key)
	if err != nil {
		return err
	}
	for _, stream := range []string{"base.tar", "other"} {
		if _, err := readStream(ctx, b, stream); err != nil {
			return err
		}
	}
	return nil
}

// refused puts body in the place of key and requires that reading fails, naming it.
func (d *damage) refused(t *testing.T, key string, body []byte, what string, args ...any) {
	t.Helper()
	d.trials++
	d.store.key, d.store.body = key, body
	err := d.read(t.Context(), key)
	if !fault.Has(err, fault.IntegrityError) || !bytes.Contains([]byte(err.Error()), []byte(key)) {
		require.Failf(t, "damage was not named", "%s in %s: %v", fmt.Sprintf(what, args...), key, err)
	}
}

// accepted requires that the backup reads well when nothing is replaced, so that refusals mean something.
func (d *damage) accepted(t *testing.T) {
	t.Helper()
	d.store.key = ""
	require.NoError(t, d.read(t.Context(), ""))
	require.NoError(t, d.read(t.Context(), single))
	require.Zero(t, d.v.cfg.Budget.Used())
}

// TestEveryFlippedBitIsNamed is row 8 of the reliability table: every bit of
// header, tag, index, trailer and manifest, and of a sample of the body.
func TestEveryFlippedBitIsNamed(t *testing.T) {
	trials := 0
	torture.PublishedAtEnd(t, 8, func() int { return trials })
	for _, codec := range []string{"zstd", "gzip", "none"} {
		d := newDamage(t, codec)
		source := rand.New(rand.NewPCG(8, uint64(len(codec))))
		chunk := d.manifest.Objects[1]
		for _, key := range []string{chunk.Key, manifestKey(d.manifest.Key), single} {
			whole := raw(t, d.v.Store(), key)
			h, err := parseHeader(whole[:binary.BigEndian.Uint16(whole[8:])])
			require.NoError(t, err)
			head, foot := h.size(), len(whole)-h.footerSize()
			bits := 8
			if codec != "zstd" {
				bits = 1 // the same code with other lengths
			}
			flip := func(at, bit int) {
				damaged := bytes.Clone(whole)
				damaged[at] ^= 1 << bit
				d.refused(t, key, damaged, "bit %d of byte %d of %d", bit, at, len(whole))
			}
			for at := range whole {
				switch {
				case at < head || at >= foot:
					for bit := range bits {
						flip(at, (bit+at)%8)
					}
				case (h.Kind == kindManifest && codec == "zstd") || source.IntN(8) == 0 || at < head+frameHeader:
					flip(at, source.IntN(8))
				}
			}
		}
		d.accepted(t)
		trials += d.trials
	}
	t.Logf("%d flipped bits, each named", trials)
	require.GreaterOrEqual(t, trials, 10_000)
}

// TestTruncatedSwappedReplayedAndSplicedObjectsAreNamed is row 9.
func TestTruncatedSwappedReplayedAndSplicedObjectsAreNamed(t *testing.T) {
	d := newDamage(t, "zstd")
	torture.PublishedAtEnd(t, 9, func() int { return d.trials })
	objects := append([]Object(nil), d.manifest.Objects...)
	keys := []string{objects[0].Key, objects[1].Key, objects[4].Key, manifestKey(d.manifest.Key), single}
	for _, key := range keys {
		whole := raw(t, d.v.Store(), key)
		for n := range len(whole) {
			d.refused(t, key, whole[:n], "truncated to %d of %d", n, len(whole))
		}
		for range 50 {
			d.refused(t, key, append(bytes.Clone(whole), noise(uint64(d.trials), 1+d.trials%40)...), "lengthened")
		}
	}
	for i, from := range objects { // swapped, in the backup and from a foreign one
		for j, to := range objects {
			if i != j {
				d.refused(t, to.Key, raw(t, d.v.Store(), from.Key), "object %s", from.Key)
			}
		}
	}
	foreign := newDamage(t, "zstd")
	for i, o := range foreign.manifest.Objects {
		d.refused(t, objects[i].Key, raw(t, foreign.v.Store(), o.Key), "foreign object %s", o.Key)
	}
	d.refused(t, manifestKey(d.manifest.Key), raw(t, d.v.Store(), objects[0].Key), "a chunk")
	d.replay(t, objects)
	d.splice(t, objects)
	d.accepted(t)
	t.Logf("%d truncations, swaps, replays and splices, each named", d.trials)
	require.GreaterOrEqual(t, d.trials, 8_000)
}

// replay puts other sealings of the same object, with the same key and the same
// header but for the salt, in its place.
func (d *damage) replay(t *testing.T, objects []Object) {
	dataKey, err := d.v.readKey(t.Context(), d.manifest.KeyID)
	require.NoError(t, err)
	for i := range 500 {
		o := objects[i%len(objects)]
		h, ok := o.head()
		require.True(t, ok)
		plain := content(uint64(i), int(o.Bytes))
		if i < len(objects) && o.Stream == "base.tar" { // even the very same plaintext
			plain = d.data[int64(o.Chunk)*4096:][:o.Bytes]
		}
		s := sealing{codecs: d.v.codecs, key: dataKey, header: h}
		body, _, err := s.seal(make([]byte, boundFor(h.Codec, o.FrameSize, len(plain))), make([]byte, scratchSize(h.Codec, o.FrameSize)), plain)
		require.NoError(t, err)
		d.refused(t, o.Key, body, "a replay")
	}
}

// splice exchanges, repeats and leaves out frames, inside one object and between two.
func (d *damage) splice(t *testing.T, objects []Object) {
	source := rand.New(rand.NewPCG(9, 9))
	for d.trials < 8_000 {
		a := parts(t, raw(t, d.v.Store(), objects[source.IntN(2)].Key))
		b := parts(t, raw(t, d.v.Store(), objects[source.IntN(len(objects))].Key))
		o := objects[0].Key
		if bytes.Contains(a[0], []byte(objects[1].Key)) {
			o = objects[1].Key
		}
		before := bytes.Join(a, nil)
		i, j := source.IntN(len(a)), source.IntN(len(b))
		switch source.IntN(4) {
		case 0: // a part of another object
			a[i] = b[j]
		case 1: // two parts change places
			k := source.IntN(len(a))
			a[i], a[k] = a[k], a[i]
		case 2: // a part is missing
			a = append(a[:i:i], a[i+1:]...)
		case 3: // a part is there twice
			a = append(a[:i:i], append([][]byte{a[i]}, a[i:]...)...)
		}
		if after := bytes.Join(a, nil); !bytes.Equal(before, after) {
			d.refused(t, o, after, "spliced at %d", i)
		}
	}
}

// parts cuts an object into header, frames, index and trailer.
func parts(t *testing.T, whole []byte) [][]byte {
	n := int(binary.BigEndian.Uint16(whole[8:]))
	out := [][]byte{whole[:n]}
	rest := whole[n:]
	for len(rest) > trailerSize {
		n := frameHeader + int(binary.BigEndian.Uint32(rest[12:]))
		require.LessOrEqual(t, n, len(rest))
		out = append(out, rest[:n])
		rest = rest[n:]
	}
	return append(out, rest)
}

func TestDamageIsFoundByEveryWayOfReading(t *testing.T) {
	d := newDamage(t, "zstd")
	b := open(t, d.v, d.manifest.Key)
	o := d.manifest.Objects[0]
	for _, o2 := range d.manifest.Objects {
		if o2.Stream == "base.tar" && o2.Chunk == 1 {
			o = o2
		}
	}
	damaged := raw(t, d.v.Store(), o.Key)
	damaged[o.headerSize()+frameHeader+5] ^= 4
	d.store.key, d.store.body = o.Key, damaged
	_, err := readStream(t.Context(), b, "base.tar")
	requireFault(t, err, fault.IntegrityError, o.Key)
	err = b.ReadChunks(t.Context(), "base.tar", nil, func(_ context.Context, c Chunk) error {
		require.NotEqual(t, 1, c.Index, "a damaged chunk was given out")
		return nil
	})
	requireFault(t, err, fault.IntegrityError, o.Key)
	r, err := b.ReadRange(t.Context(), "base.tar", 4096, 10)
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.NoError(t, r.Close())
	requireFault(t, err, fault.IntegrityError, o.Key)
	requireFault(t, b.Verify(t.Context(), nil), fault.IntegrityError, o.Key)
	r, err = b.ReadRange(t.Context(), "base.tar", 4096+1024, 1024) // the frame beside it is whole
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, d.data[4096+1024:][:1024], got)
	require.Zero(t, d.v.cfg.Budget.Used())
}

func TestATombstoneMakesABackupIncomplete(t *testing.T) {
	d := newDamage(t, "zstd")
	d.store.key, d.store.body = manifestKey(d.manifest.Key), []byte(`{"tombstone":true,"by":"sweeper","at":"2024-01-17T00:00:00Z"}`)
	_, err := d.v.Open(t.Context(), d.manifest.Key)
	requireFault(t, err, fault.BackupIncomplete, d.manifest.Key)
	_, err = d.v.Begin(t.Context(), testIntent("zstd"))
	requireFault(t, err, fault.BackupConflict, d.manifest.Key)
}

func TestAFutureVersionIsToldFromDamage(t *testing.T) {
	d := newDamage(t, "zstd")
	body := bytes.Clone(raw(t, d.v.Store(), single))
	body[4] = byte(newest) + 1
	end := int(binary.BigEndian.Uint16(body[8:])) - tagSize - crcSize
	binary.BigEndian.PutUint32(body[end:], castagnoli(body[:end]))
	d.store.key, d.store.body = single, body
	_, err := d.v.GetSealed(t.Context(), single)
	requireFault(t, err, fault.FormatUnsupported, single)
	d.store.key, d.store.body = formatKey, []byte(`{"format":"lifeboat","version":2,"system":"frende"}`)
	_, err = d.v.WithStores(d.store, nil).Open(t.Context(), d.manifest.Key)
	requireFault(t, err, fault.FormatUnsupported, "version 2")
	_, err = d.v.WithStores(d.store, nil).Begin(t.Context(), testIntent("zstd"))
	requireFault(t, err, fault.FormatUnsupported, "version 2")
}
