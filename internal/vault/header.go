package vault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// kind is what an object is; the numbers are the format's.
type kind byte

const (
	kindChunk    kind = 1
	kindSingle   kind = 2
	kindManifest kind = 3
	kindTable    kind = 4
)

const (
	formatVersion = 1 // of all but sealed objects and manifests
	magic         = "LFBT"
	trailerMagic  = "TBFL"

	headerFixed  = 64
	headerMax    = 4096
	saltSize     = 32
	macSize      = 32
	crcSize      = 4
	tagSize      = 16
	frameHeader  = 16
	trailerSize  = 16
	frameMACSize = 16

	flagPlainMAC  = 1 << 0
	flagFrameMACs = 1 << 1

	frameData  = 1
	frameIndex = 2

	frameLast   = 1 << 0
	frameStored = 1 << 1
)

// What can be wrong with an object. These are causes: the fault names the object.
var (
	errMagic     = errors.New("it does not begin like one of ours")
	errHeader    = errors.New("header is damaged")
	errVersion   = errors.New("unknown format version")
	errForeign   = errors.New("it is another object than the one asked for")
	errFrame     = errors.New("frame is damaged, out of place or not authentic")
	errIndex     = errors.New("index does not fit the frames")
	errTag       = errors.New("it is not the object that the manifest names")
	errTruncated = errors.New("it is truncated")
	errTrailing  = errors.New("it is longer than it should be")
	errLength    = errors.New("frame does not have the length it claims")
	errCodec     = errors.New("unknown codec")
	errContent   = errors.New("a frame is not what its MAC in the index says")
	errPlainMAC  = errors.New("content does not match its MAC")
)

// header is the clear head of every sealed object.
type header struct {
	Version   version
	Kind      kind
	Codec     codec
	MACs      bool // the index has frame MACs
	KeyID     string
	Key       string // the object's own
	Stream    string
	Chunk     uint32
	FrameSize uint32
	Plain     uint32 // bytes of plaintext in the object
	Salt      [saltSize]byte
	PlainMAC  *[macSize]byte
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// size is H.
func (h *header) size() int {
	n := headerFixed + len(h.KeyID) + len(h.Key) + len(h.Stream) + crcSize + tagSize
	if h.PlainMAC != nil {
		n += macSize
	}
	return n
}

// frames is how many data frames the object has.
func (h *header) frames() int {
	return max(1, int((uint64(h.Plain)+uint64(h.FrameSize)-1)/uint64(h.FrameSize)))
}

// plainOf is the plain length of frame i.
func (h *header) plainOf(i int) int {
	if i == h.frames()-1 {
		return int(h.Plain) - i*int(h.FrameSize)
	}
	return int(h.FrameSize)
}

func (h *header) entrySize() int {
	if h.MACs {
		return 8 + frameMACSize
	}
	return 8
}

// footerSize is the length of the index frame with the trailer.
func (h *header) footerSize() int {
	return frameHeader + h.frames()*h.entrySize() + tagSize + trailerSize
}

// append writes the header without its tag.
func (h *header) append(out []byte) []byte {
	start := len(out)
	var flags byte
	if h.PlainMAC != nil {
		flags |= flagPlainMAC
	}
	if h.MACs {
		flags |= flagFrameMACs
	}
	out = append(out, magic...)
	out = append(out, byte(h.Version), byte(h.Kind), byte(h.Codec), flags)
	out = binary.BigEndian.AppendUint16(out, uint16(h.size()))
	out = binary.BigEndian.AppendUint16(out, uint16(len(h.KeyID)))
	out = binary.BigEndian.AppendUint16(out, uint16(len(h.Key)))
	out = binary.BigEndian.AppendUint16(out, uint16(len(h.Stream)))
	out = binary.BigEndian.AppendUint32(out, h.Chunk)
	out = binary.BigEndian.AppendUint32(out, h.FrameSize)
	out = binary.BigEndian.AppendUint32(out, h.Plain)
	out = binary.BigEndian.AppendUint32(out, 0)
	out = append(out, h.Salt[:]...)
	out = append(out, h.KeyID...)
	out = append(out, h.Key...)
	out = append(out, h.Stream...)
	if h.PlainMAC != nil {
		out = append(out, h.PlainMAC[:]...)
	}
	return binary.BigEndian.AppendUint32(out, castagnoli(out[start:]))
}

// headerLength reads H from the first bytes of an object, at least 10.
func headerLength(first []byte) (int, error) {
	if string(first[:4]) != magic {
		return 0, errMagic
	}
	n := int(binary.BigEndian.Uint16(first[8:]))
	if n < headerFixed+crcSize+tagSize || n > headerMax {
		return 0, errHeader
	}
	return n, nil
}

// parseHeader reads a whole header of headerLength bytes. Its tag is not checked yet.
func parseHeader(b []byte) (*header, error) {
	if n, err := headerLength(b); err != nil || n != len(b) {
		return nil, errors.Join(err, errHeader)
	}
	end := len(b) - tagSize - crcSize
	if binary.BigEndian.Uint32(b[end:]) != castagnoli(b[:end]) {
		return nil, errHeader
	}
	if !version(b[4]).known() {
		return nil, errVersion
	}
	h := &header{
		Version: version(b[4]), Kind: kind(b[5]), Codec: codec(b[6]), MACs: b[7]&flagFrameMACs != 0,
		Chunk: binary.BigEndian.Uint32(b[16:]), FrameSize: binary.BigEndian.Uint32(b[20:]), Plain: binary.BigEndian.Uint32(b[24:]),
	}
	copy(h.Salt[:], b[32:])
	rest := b[headerFixed:end]
	keyID, key, stream := int(binary.BigEndian.Uint16(b[10:])), int(binary.BigEndian.Uint16(b[12:])), int(binary.BigEndian.Uint16(b[14:]))
	if keyID+key+stream > len(rest) {
		return nil, errHeader
	}
	h.KeyID, h.Key, h.Stream = string(rest[:keyID]), string(rest[keyID:keyID+key]), string(rest[keyID+key:keyID+key+stream])
	if b[7]&flagPlainMAC != 0 {
		if len(rest) != keyID+key+stream+macSize {
			return nil, errHeader
		}
		h.PlainMAC = (*[macSize]byte)(bytes.Clone(rest[keyID+key+stream:]))
	}
	// Whatever the fields above left out (unknown flags, reserved bytes, a wrong
	// length) shows as a difference from the one way to write this header.
	if h.FrameSize < 1 || h.FrameSize > MaxFrameSize || h.Plain > MaxChunkSize || h.Codec > codecGzip || !bytes.Equal(h.append(nil), b[:len(b)-tagSize]) {
		return nil, errHeader
	}
	return h, nil
}

// nonce of a frame; type 0 is the header's own tag.
func nonce(frameType byte, number uint32) [12]byte {
	var n [12]byte
	n[0] = frameType
	binary.BigEndian.PutUint32(n[8:], number)
	return n
}

func putFrameHeader(b []byte, frameType, flags byte, number, plain, sealed int) {
	b[0], b[1], b[2], b[3] = frameType, flags, 0, 0
	binary.BigEndian.PutUint32(b[4:], uint32(number))
	binary.BigEndian.PutUint32(b[8:], uint32(plain))
	binary.BigEndian.PutUint32(b[12:], uint32(sealed))
}
