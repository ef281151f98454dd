package vault

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
)

// sealing is the work of turning plaintext into one object, in one buffer.
//
// The plaintext may lie in the same buffer, at roomFor(): what is sealed is written
// from the front and never catches up with what is still to be read, as a frame
// that does not shrink is stored as it is and the room in front has the rest.
type sealing struct {
	codecs *codecs
	dense  bool // where zstd can do it
	key    *keys.DataKey
	header header
	macs   [][frameMACSize]byte // of the frames that were sealed, when the header has MACs
}

// overhead is what a frame of size n can gain in an object.
func overhead(c codec, n int) int { return frameHeader + tagSize + c.growth(n) }

// roomFor is where plaintext must begin that shares the object's buffer: behind
// the longest header, with place in front for what all frames may gain.
func roomFor(c codec, frameSize, plain int) int {
	return headerMax + frameCount(frameSize, plain)*overhead(c, frameSize)
}

// boundFor is the most that an object with so much plaintext takes.
func boundFor(c codec, frameSize, plain int) int {
	return roomFor(c, frameSize, plain) + plain + frameHeader + frameCount(frameSize, plain)*(8+frameMACSize) + tagSize + trailerSize
}

func frameCount(frameSize, plain int) int { return max(1, (plain+frameSize-1)/frameSize) }

// scratchSize is the room one frame needs while it is compressed.
func scratchSize(c codec, frameSize int) int {
	return c.workRoom(frameSize)
}

// seal writes the object to the front of buffer and gives it with its tag.
func (s *sealing) seal(buffer, scratch, plain []byte) (object []byte, tag string, err error) {
	o, err := s.begin(buffer, len(plain))
	if err != nil {
		return nil, "", err
	}
	for i := range o.frames {
		slice := plain[:s.header.plainOf(i)]
		plain = plain[len(slice):]
		packed, ok, err := s.codecs.compress(s.header.Codec, s.dense, scratch, slice)
		if err != nil {
			return nil, "", fault.New(fault.Unsupported, "compress", s.header.Key, err)
		}
		if !ok {
			packed = append(scratch[:0], slice...)
		}
		o.add(slice, packed, ok)
	}
	object, tag = o.end()
	return object, tag, nil
}

// sealWide is seal for plaintext that lies elsewhere: its frames are compressed on
// several cores at once, each at the place in the buffer that it could need at most,
// with the MAC of the whole beside them.
func (s *sealing) sealWide(buffer, scratch, plain []byte) (object []byte, tag string, err error) {
	n, size := frameCount(int(s.header.FrameSize), len(plain)), int(s.header.FrameSize)
	type frame struct {
		plain, packed []byte
		ok            bool
	}
	frames := make([]frame, n)
	var next atomic.Int64
	var work errgroup.Group
	work.Go(func() error {
		mac := s.header.Version.mac(s.key, plainMACDomain, plain)
		s.header.PlainMAC = &mac
		return nil
	})
	for range min(n, runtime.GOMAXPROCS(0)) {
		work.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				slice := plain[i*size : min((i+1)*size, len(plain))]
				at := headerMax + i*slot(s.header.Codec, size)
				packed, ok, err := s.codecs.compress(s.header.Codec, s.dense, buffer[at:at:at+s.header.Codec.workRoom(len(slice))], slice)
				if err != nil {
					return fault.New(fault.Unsupported, "compress", s.header.Key, err)
				}
				frames[i] = frame{slice, packed, ok}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return nil, "", err
	}
	o, err := s.begin(buffer, len(plain))
	if err != nil {
		return nil, "", err
	}
	for _, f := range frames {
		packed := f.plain
		if f.ok {
			packed = append(scratch[:0], f.packed...) // it moves to the front
		}
		o.add(f.plain, packed, f.ok)
	}
	object, tag = o.end()
	return object, tag, nil
}

// slot is the place of a frame while frames are compressed side by side.
func slot(c codec, frameSize int) int { return overhead(c, frameSize) + c.workRoom(frameSize) }

// wideBound is boundFor an object that is sealed by sealWide.
func wideBound(c codec, frameSize, plain int) int {
	return max(boundFor(c, frameSize, plain), headerMax+frameCount(frameSize, plain)*slot(c, frameSize))
}

// growingObject is one object that grows frame by frame.
type growingObject struct {
	*sealing
	aead   cipher.AEAD
	out    []byte
	ad     []byte // header and frame header
	index  []byte
	frames int
	added  int
}

// begin seals the header. All of it is known but its salt and length.
func (s *sealing) begin(buffer []byte, plain int) (*growingObject, error) {
	h := &s.header
	h.Plain = uint32(plain)
	if h.size() > headerMax {
		return nil, fault.Newf(fault.InputInvalid, "seal", h.Key, "its names are too long")
	}
	if _, err := rand.Read(h.Salt[:]); err != nil {
		return nil, fault.New(fault.KeyUnavailable, "seal", h.Key, err)
	}
	aead, err := s.key.AEAD(h.Salt[:])
	if err != nil {
		return nil, err
	}
	out := h.append(buffer[:0])
	headerNonce := nonce(0, 0)
	out = aead.Seal(out, headerNonce[:], nil, out)
	ad := make([]byte, len(out)+frameHeader)
	copy(ad, out)
	return &growingObject{sealing: s, aead: aead, out: out, ad: ad, index: make([]byte, 0, h.frames()*h.entrySize()), frames: h.frames()}, nil
}

// head is where the header of the next frame goes, in what is authenticated with it.
func (o *growingObject) head() []byte { return o.ad[len(o.ad)-frameHeader:] }

// add seals the next frame; packed is not in the object's buffer, and is the content itself when ok is false.
func (o *growingObject) add(content, packed []byte, ok bool) {
	var flags byte
	if !ok && o.header.Codec != codecNone {
		flags |= frameStored
	}
	if o.added == o.frames-1 {
		flags |= frameLast
	}
	sealed := len(packed) + tagSize
	o.index = binary.BigEndian.AppendUint32(o.index, uint32(len(content)))
	o.index = binary.BigEndian.AppendUint32(o.index, uint32(sealed))
	if o.header.MACs { // before the frame is written, perhaps where the content lies
		mac := o.header.Version.frameMAC(o.key, content)
		o.index = append(o.index, mac[:]...)
		o.macs = append(o.macs, mac)
	}
	putFrameHeader(o.head(), frameData, flags, o.added, len(content), sealed)
	o.out = append(o.out, o.head()...)
	at := nonce(frameData, uint32(o.added))
	o.out = o.aead.Seal(o.out, at[:], packed, o.ad)
	o.added++
}

// end seals the index.
func (o *growingObject) end() (object []byte, tag string) {
	footer := len(o.out)
	putFrameHeader(o.head(), frameIndex, 0, o.added, len(o.index), len(o.index)+tagSize)
	o.out = append(o.out, o.head()...)
	at := nonce(frameIndex, uint32(o.added))
	o.out = o.aead.Seal(o.out, at[:], o.index, o.ad)
	o.out = appendTrailer(o.out, len(o.out)-footer, o.added)
	return o.out, objectTag(o.out[footer:])
}

func appendTrailer(out []byte, indexFrame, frames int) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(indexFrame))
	out = binary.BigEndian.AppendUint32(out, uint32(frames))
	out = binary.BigEndian.AppendUint32(out, 0)
	return append(out, trailerMagic...)
}

// objectTag names one sealing of one object.
func objectTag(footer []byte) string {
	sum := sha256.Sum256(footer)
	return hex.EncodeToString(sum[:16])
}
