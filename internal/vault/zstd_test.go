//go:build cgo

package vault

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// The codec in Go, which a build without a C compiler has, and libzstd read each other's frames.
func TestBothCodecsReadEachOther(t *testing.T) {
	ours, err := newZstd(2)
	require.NoError(t, err)
	encoder, err := zstd.NewWriter(nil, zstd.WithWindowSize(MaxFrameSize), zstd.WithEncoderCRC(false))
	require.NoError(t, err)
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(2*MaxFrameSize))
	require.NoError(t, err)
	for _, size := range []int{1, 8 << 10, 64 << 10, 512 << 10, MaxFrameSize} {
		plain := bytes.Repeat([]byte("a page of a database, more or less, "), size/36+1)[:size]
		copy(plain, content(uint64(size), size/2))
		for _, dense := range []bool{false, true} {
			packed, err := ours.compress(dense, make([]byte, 0, codecZstd.workRoom(size)), plain)
			require.NoError(t, err)
			got, err := decoder.DecodeAll(packed, nil)
			require.NoError(t, err)
			require.Equal(t, plain, got)
		}
		into := make([]byte, size)
		packed := encoder.EncodeAll(plain, nil)
		require.NoError(t, ours.decompress(into, packed))
		require.Equal(t, plain, into)
		require.Error(t, ours.decompress(make([]byte, size+1), packed), "it is too short")
		require.Error(t, ours.decompress(make([]byte, size-1), packed), "it is too long, or nothing fits")
	}
}

func TestCompressingNeedsNoMoreThanItsRoom(t *testing.T) {
	c, err := newCodecs(1)
	require.NoError(t, err)
	for _, size := range []int{1, 100, 8 << 10, 64 << 10, 100_000, 512 << 10, MaxFrameSize} {
		noise := content(uint64(size), size)
		scratch := make([]byte, codecZstd.workRoom(size))
		out, err := c.zstd.compress(true, scratch[:0], noise)
		require.NoError(t, err)
		require.Same(t, &scratch[0], &out[0], "%d bytes", size)
	}
}
