package vault

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

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
	key    *keys.DataKey
	header header
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
	return frameSize + c.growth(frameSize) + 1<<10
}

// seal writes the object to the front of buffer and gives it with its tag.
func (s *sealing) seal(buffer, scratch, plain []byte) (object []byte, tag string, err error) {
	h := &s.header
	h.Plain = uint32(len(plain))
	if h.size() > headerMax {
		return nil, "", fault.Newf(fault.InputInvalid, "seal", h.Key, "its names are too long")
	}
	if _, err := rand.Read(h.Salt[:]); err != nil {
		return nil, "", fault.New(fault.KeyUnavailable, "seal", h.Key, err)
	}
	aead, err := s.key.AEAD(h.Salt[:])
	if err != nil {
		return nil, "", err
	}
	out := h.append(buffer[:0])
	headerNonce := nonce(0, 0)
	out = aead.Seal(out, headerNonce[:], nil, out)
	ad := make([]byte, len(out)+frameHeader)
	copy(ad, out)
	head := ad[len(out):]

	n := h.frames()
	index := make([]byte, 0, n*h.entrySize())
	for i := range n {
		slice := plain[:h.plainOf(i)]
		plain = plain[len(slice):]
		var mac [frameMACSize]byte
		if h.MACs {
			mac = frameMAC(s.key, slice)
		}
		packed, ok, err := s.codecs.compress(h.Codec, scratch, slice)
		if err != nil {
			return nil, "", fault.New(fault.Unsupported, "compress", h.Key, err)
		}
		var flags byte
		if !ok {
			packed = append(scratch[:0], slice...)
			if h.Codec != codecNone {
				flags |= frameStored
			}
		}
		if i == n-1 {
			flags |= frameLast
		}
		sealed := len(packed) + tagSize
		putFrameHeader(head, frameData, flags, i, len(slice), sealed)
		out = append(out, head...)
		at := nonce(frameData, uint32(i))
		out = aead.Seal(out, at[:], packed, ad)
		index = binary.BigEndian.AppendUint32(index, uint32(len(slice)))
		index = binary.BigEndian.AppendUint32(index, uint32(sealed))
		if h.MACs {
			index = append(index, mac[:]...)
		}
	}
	footer := len(out)
	putFrameHeader(head, frameIndex, 0, n, len(index), len(index)+tagSize)
	out = append(out, head...)
	at := nonce(frameIndex, uint32(n))
	out = aead.Seal(out, at[:], index, ad)
	out = appendTrailer(out, len(out)-footer, n)
	return out, objectTag(out[footer:]), nil
}

// frameMAC is what an index says of a frame's content.
func frameMAC(key *keys.DataKey, content []byte) [frameMACSize]byte {
	full := key.MAC(frameMACDomain, content)
	return [frameMACSize]byte(full[:frameMACSize])
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
