package vault

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

func TestSingleObjectsAreComparedByTheirKeyedMAC(t *testing.T) {
	v := small(t, func(c *Config) { c.System = "frende" })
	for _, codec := range []string{"", "zstd", "gzip", "none"} {
		for _, size := range []int{0, 1, 1024, 100_000} {
			key, plain := single+codec+string(rune('a'+size%26)), content(3, size)
			require.NoError(t, v.PutSealed(t.Context(), key, "wal-main-20240115", plain, SealedOptions{IfNoneMatch: true, Codec: codec}))
			got, err := v.GetSealed(t.Context(), key)
			require.NoError(t, err)
			require.True(t, bytes.Equal(plain, got))
			equal, err := v.SealedEqual(t.Context(), key, plain)
			require.NoError(t, err)
			require.True(t, equal)
			equal, err = v.SealedEqual(t.Context(), key, append(plain, 0))
			require.NoError(t, err)
			require.False(t, equal)
			err = v.PutSealed(t.Context(), key, "wal-main-20240115", plain, SealedOptions{IfNoneMatch: true})
			requireFault(t, err, fault.ObjectExists, key)
		}
	}
	head, err := v.sealedHead(t.Context(), single+"zstda")
	require.NoError(t, err)
	require.Equal(t, "wal-main-20240115", head.KeyID)
	require.Equal(t, newest, head.Version)
	_, err = v.SealedEqual(t.Context(), "wal/none", nil)
	requireFault(t, err, fault.ObjectMissing, "wal/none")
	err = v.PutSealed(t.Context(), single, "k", make([]byte, MaxChunkSize+1), SealedOptions{})
	requireFault(t, err, fault.InputInvalid, single)
	require.Zero(t, v.cfg.Budget.Used())
}

// TestFrameMACsInAnIndexAreRead holds readers to what later writers may leave for incrementals.
func TestFrameMACsInAnIndexAreRead(t *testing.T) {
	for of := hmacSHA256; of <= newest; of++ {
		t.Run(fmt.Sprint("version ", of), func(t *testing.T) { readsFrameMACs(t, of) })
	}
}

func readsFrameMACs(t *testing.T, of version) {
	v := small(t, nil)
	v.writes = of
	w, err := v.Begin(t.Context(), testIntent("none"))
	require.NoError(t, err)
	plain := content(1, 2500)
	h := header{Version: of, Kind: kindChunk, Codec: codecNone, MACs: true, KeyID: w.intent.KeyID, Key: w.Key() + "/chunk/x/000000", Stream: "s", FrameSize: 1024, Plain: 2500}
	aead, err := w.dataKey.AEAD(h.Salt[:])
	require.NoError(t, err)
	out := h.append(nil)
	at := nonce(0, 0)
	out = aead.Seal(out, at[:], nil, out)
	head := bytes.Clone(out)
	frame := func(frameType, flags byte, number, length int, body []byte) {
		var fh [frameHeader]byte
		putFrameHeader(fh[:], frameType, flags, number, length, len(body)+tagSize)
		at := nonce(frameType, uint32(number))
		out = append(out, fh[:]...)
		out = aead.Seal(out, at[:], body, append(bytes.Clone(head), fh[:]...))
	}
	var index []byte
	for i := range 3 {
		slice := plain[i*1024 : min(len(plain), (i+1)*1024)]
		frame(frameData, byte(i/2)*frameLast, i, len(slice), slice)
		index = binary.BigEndian.AppendUint32(index, uint32(len(slice)))
		index = binary.BigEndian.AppendUint32(index, uint32(len(slice)+tagSize))
		mac := w.dataKey.MAC("lifeboat frame 1", slice)
		if of == blake3 {
			mac = w.dataKey.ContentMAC("lifeboat frame 1", slice)
		}
		index = append(index, mac[:frameMACSize]...)
	}
	footer := len(out)
	frame(frameIndex, 0, 3, len(index), index)
	out = appendTrailer(out, len(out)-footer, 3)
	put(t, v.Store(), h.Key, out)

	o := objectOf(&h, int64(len(out)), objectTag(out[footer:]))
	m, err := w.manifest(nil)
	require.NoError(t, err)
	m.Objects, m.Bytes = []Object{o}, 2500
	m.Streams = []Stream{{Name: "s", Bytes: 2500, Extents: []Extent{{Frames: 3, Bytes: 2500}}}}
	require.NoError(t, m.check())
	b := &Backup{v: v, manifest: m}
	got, err := readStream(t.Context(), b, "s")
	require.NoError(t, err)
	require.True(t, bytes.Equal(plain, got))
	r, err := b.ReadRange(t.Context(), "s", 2000, 400)
	require.NoError(t, err)
	part := make([]byte, 400)
	n, err := r.Read(part)
	require.NoError(t, err)
	require.Equal(t, plain[2000:2000+n], part[:n])
	require.NoError(t, r.Close())
	require.NoError(t, proved(v.prove(t.Context(), &o, make([]byte, 1024))))
}
