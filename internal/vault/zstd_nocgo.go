//go:build !cgo

package vault

import "github.com/klauspost/compress/zstd"

// zstdCodec is the codec in Go, for builds without a C compiler: the same frames,
// slower and somewhat larger.
type zstdCodec struct {
	fast, dense *zstd.Encoder // EncodeAll and DecodeAll may be called concurrently
	decoder     *zstd.Decoder
}

func newZstd(cores int) (*zstdCodec, error) {
	z := new(zstdCodec)
	for _, made := range []struct {
		into  **zstd.Encoder
		level zstd.EncoderLevel
	}{{&z.fast, zstd.SpeedFastest}, {&z.dense, zstd.SpeedDefault}} {
		encoder, err := zstd.NewWriter(nil,
			zstd.WithEncoderLevel(made.level),
			zstd.WithEncoderConcurrency(cores),
			zstd.WithWindowSize(MaxFrameSize),
			zstd.WithEncoderCRC(false), // the seal says more
			zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, err
		}
		*made.into = encoder
	}
	var err error
	z.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(cores), zstd.WithDecoderMaxMemory(2*MaxFrameSize))
	return z, err
}

func (z *zstdCodec) compress(dense bool, scratch, plain []byte) ([]byte, error) {
	if dense {
		return z.dense.EncodeAll(plain, scratch[:0]), nil
	}
	return z.fast.EncodeAll(plain, scratch[:0]), nil
}

// decompress fills dst exactly. With room behind dst the decoder takes its faster
// path, and may write a few bytes there; frames are decoded in order, so the next
// one covers them.
func (z *zstdCodec) decompress(dst, packed []byte) error {
	out, err := z.decoder.DecodeAll(packed, dst[:0])
	if err != nil {
		return err
	}
	if len(out) != len(dst) || (len(out) > 0 && &out[0] != &dst[0]) {
		return errLength
	}
	return nil
}
