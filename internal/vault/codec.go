package vault

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/frende/lifeboat/internal/fault"
)

// codec is how frames are compressed; the numbers are the format's.
type codec byte

const (
	codecNone codec = 0
	codecZstd codec = 1
	codecGzip codec = 2
)

func parseCodec(name string) (codec, bool) {
	switch name {
	case "none":
		return codecNone, true
	case "zstd":
		return codecZstd, true
	case "gzip":
		return codecGzip, true
	}
	return 0, false
}

func (c codec) String() string {
	switch c {
	case codecNone:
		return "none"
	case codecZstd:
		return "zstd"
	case codecGzip:
		return "gzip"
	}
	return "unknown"
}

// growth is how many bytes a frame of size n may gain at most. What does not
// shrink is stored as it is, except with gzip, whose frames must all be members.
func (c codec) growth(n int) int {
	if c == codecGzip {
		return n>>10 + 64 // stored blocks of deflate, header and trailer of the member
	}
	return 0
}

// codecs compress and decompress; as many at once as there are cores.
type codecs struct {
	zstd    *zstdCodec
	writers sync.Pool // *gzip.Writer
	readers sync.Pool // *gzip.Reader
}

func newCodecs(cores int) (*codecs, error) {
	z, err := newZstd(cores)
	if err != nil {
		return nil, fault.New(fault.Unsupported, "prepare codec", "zstd", err)
	}
	return &codecs{zstd: z}, nil
}

// workRoom is the room that compressing n bytes may need, whatever comes of it.
func (c codec) workRoom(n int) int { return n + c.growth(n) + n>>8 + 64 }

// compress gives plain compressed, in scratch, which has workRoom, or ok false when
// the frame is to be stored as it is. Dense is smaller rather than faster.
func (c *codecs) compress(with codec, dense bool, scratch, plain []byte) (out []byte, ok bool, err error) {
	switch with {
	case codecZstd:
		out, err = c.zstd.compress(dense, scratch, plain)
		return out, err == nil && len(out) < len(plain), err
	case codecGzip:
		into := bytes.NewBuffer(scratch[:0])
		writer, have := c.writers.Get().(*gzip.Writer)
		if !have {
			if writer, err = gzip.NewWriterLevel(into, gzip.BestSpeed); err != nil {
				return nil, false, err
			}
		}
		writer.Reset(into)
		defer c.writers.Put(writer)
		if _, err := writer.Write(plain); err != nil {
			return nil, false, err
		}
		if err := writer.Close(); err != nil {
			return nil, false, err
		}
		return into.Bytes(), true, nil
	}
	return nil, false, nil
}

// decompress fills dst exactly; anything else is an error.
func (c *codecs) decompress(with codec, dst, packed []byte) error {
	switch with {
	case codecZstd:
		return c.zstd.decompress(dst, packed)
	case codecGzip:
		reader, have := c.readers.Get().(*gzip.Reader)
		if !have {
			reader = new(gzip.Reader)
		}
		defer c.readers.Put(reader)
		source := bytes.NewReader(packed)
		if err := reader.Reset(source); err != nil {
			return err
		}
		reader.Multistream(false)
		if _, err := io.ReadFull(reader, dst); err != nil {
			return err
		}
		var past [1]byte
		if n, err := reader.Read(past[:]); n != 0 || !errors.Is(err, io.EOF) || source.Len() != 0 {
			return errLength
		}
		return nil
	}
	return errCodec
}
