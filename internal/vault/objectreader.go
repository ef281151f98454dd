package vault

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
)

// maxResumes is how often a body that broke off is taken up again in the same
// store without a single frame in between. The store's own retries come on top.
const maxResumes = 4

// objectReader reads a run of frames of one object, in order, each checked
// before it is given. It survives broken bodies by going on from the last good
// byte, in the same store or in the next: what was verified stays verified, as
// every byte of an object is pinned by its salt and its keys.
type objectReader struct {
	v       *Vault
	ctx     context.Context
	sources []store.Store // the one in use is the first
	failed  attempts
	resumes int

	key   string
	kind  kind
	named *Object // what the manifest says of it; nil for a single object or a manifest
	first int     // frames to give
	count int     // -1: all

	keyID string // what the header says, its tag not yet checked

	// Known when the header was read.
	h       *header
	aead    cipher.AEAD
	dataKey *keys.DataKey
	ad      []byte // header and frame header
	length  int64  // of the whole object

	body   io.ReadCloser
	bodyTo int64 // where the body ends in the object
	pos    int64 // in the object, of the next byte
	frame  int   // next one
	lens   []uint32
	macs   [][frameMACSize]byte // of all frames, when the index was read and has them
	prove  bool                 // compute what the index says of each frame's content
	proved [][frameMACSize]byte
	whole  bool
	packed *[]byte
	broke  bool // the body ended early or failed, not the request
	final  bool // no other store can help
	done   bool
}

// openRun prepares to read frames [first, first+count) of an object that a manifest names.
func (v *Vault) openRun(ctx context.Context, o *Object, first, count int) *objectReader {
	return &objectReader{
		v: v, ctx: ctx, sources: v.sources(), key: o.Key, kind: o.kind, named: o, first: first, count: count,
		length: o.Length, whole: first == 0 && count == o.frames(),
	}
}

// openSingle prepares to read a whole object of which only the key is known.
func (v *Vault) openSingle(ctx context.Context, key string, k kind) *objectReader {
	return &objectReader{v: v, ctx: ctx, sources: v.sources(), key: key, kind: k, count: -1, whole: true}
}

// errEnd is what next gives after the last frame. It is not io.EOF: a fault may
// have one at its root, when a server ended its connection, and is no end.
var errEnd = errors.New("no frame is left")

// next reads the next frame into dst, which must have room for it, and gives its length; errEnd after the last.
// The last frame of a whole object is given only when everything behind it was checked, too.
func (r *objectReader) next(dst []byte) (int, error) {
	if r.done {
		return 0, errEnd
	}
	if err := r.persist(r.open); err != nil {
		return 0, err
	}
	var n int
	if err := r.persist(func() (err error) { n, err = r.readFrame(dst); return err }); err != nil {
		return 0, err
	}
	r.frame++
	r.resumes = 0
	if r.frame == r.first+r.count {
		if r.whole {
			if err := r.persist(r.readFooter); err != nil {
				return 0, err
			}
		}
		r.done = true
		r.v.report(r.key, r.sources[0], r.failed)
		r.close()
	}
	return n, nil
}

// head reads and checks the header alone.
func (r *objectReader) head() (*header, error) {
	if err := r.persist(r.readHeader); err != nil {
		return nil, err
	}
	r.v.report(r.key, r.sources[0], r.failed)
	return r.h, nil
}

// persist repeats one step until it is done or no store is left.
func (r *objectReader) persist(step func() error) error {
	for {
		start := r.pos
		err := step()
		if err == nil {
			return nil
		}
		if fault.KindOf(err) == "" {
			err = r.fault(err)
		}
		broke := r.broke
		r.pos, r.broke = start, false
		r.closeBody()
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		if r.final || !elsewhere(err) {
			return err
		}
		if broke && fault.Has(err, fault.StorageUnavailable) && r.resumes < maxResumes {
			r.resumes++
			continue
		}
		r.v.note(r.sources[0], err)
		r.failed = append(r.failed, attempt{r.sources[0], err})
		if len(r.sources) == 1 {
			return r.failed.fault(r.key)
		}
		r.sources = r.sources[1:]
		r.resumes = 0
	}
}

// fault gives a cause its fault, with the object's key.
func (r *objectReader) fault(cause error) error {
	switch {
	case errors.Is(cause, errVersion):
		return fault.New(fault.FormatUnsupported, "read", r.key, cause)
	case errors.Is(cause, io.EOF), errors.Is(cause, io.ErrUnexpectedEOF):
		if r.pos < r.bodyTo { // the body broke off before its own end
			return fault.New(fault.StorageUnavailable, "read", r.key, io.ErrUnexpectedEOF)
		}
		return fault.New(fault.IntegrityError, "read", r.key, errTruncated)
	case errors.Is(cause, errBody):
		return fault.New(fault.StorageUnavailable, "read", r.key, cause)
	default:
		return fault.New(fault.IntegrityError, "read", r.key, cause)
	}
}

var errBody = errors.New("connection broke off")

// open brings the reader to its first frame.
func (r *objectReader) open() error {
	if r.h == nil {
		if err := r.readHeader(); err != nil {
			return err
		}
	}
	if !r.whole && r.lens == nil {
		return r.readIndex()
	}
	return nil
}

func (r *objectReader) readHeader() error {
	first := make([]byte, 10, 512)
	if err := r.read(first); err != nil {
		return err
	}
	n, err := headerLength(first)
	if err != nil {
		return err
	}
	raw := append(first, make([]byte, n-len(first))...)
	if err := r.read(raw[10:]); err != nil {
		return err
	}
	h, err := parseHeader(raw)
	if err != nil {
		return err
	}
	if h.Kind != r.kind || h.Key != r.key || (r.named != nil && !r.named.fits(h)) {
		return errForeign
	}
	r.keyID = h.KeyID
	key, err := r.v.readKey(r.ctx, h.KeyID)
	if fault.Has(err, fault.InputInvalid) { // no key has such an id
		return errHeader
	}
	if err != nil {
		r.final = true // all stores were asked for it
		return err
	}
	aead, err := key.AEAD(h.Salt[:])
	if err != nil {
		return err
	}
	at := nonce(0, 0)
	clear := raw[:n-tagSize]
	if _, err := aead.Open(nil, at[:], raw[n-tagSize:], clear); err != nil {
		return errHeader
	}
	r.h, r.aead, r.dataKey = h, aead, key
	r.ad = append(raw, make([]byte, frameHeader)...)
	if r.count < 0 {
		r.count = h.frames()
	}
	return nil
}

// readIndex reads the footer of an object of which only a part is wanted, and goes to that part.
func (r *objectReader) readIndex() error {
	r.closeBody()
	start := r.length - int64(r.h.footerSize())
	footer := make([]byte, r.h.footerSize())
	r.pos, r.bodyTo = start, r.length
	if err := r.read(footer); err != nil {
		return err
	}
	lens, err := r.checkFooter(footer)
	if err != nil {
		return err
	}
	r.closeBody()
	r.lens = lens
	r.seek()
	return nil
}

// seek goes to the first frame that is wanted, by the index.
func (r *objectReader) seek() {
	r.frame = r.first
	r.pos = int64(r.h.size())
	for _, n := range r.lens[:r.first] {
		r.pos += frameHeader + int64(n)
	}
	r.bodyTo = r.pos
	for _, n := range r.lens[r.first : r.first+r.count] {
		r.bodyTo += frameHeader + int64(n)
	}
}

// opened is what a reader of a part of an object found out before it read a frame.
type opened struct {
	h       *header
	aead    cipher.AEAD
	dataKey *keys.DataKey
	head    []byte // as it lies in the object
	lens    []uint32
}

// opened gives that, once a frame was read.
func (r *objectReader) opened() *opened {
	return &opened{h: r.h, aead: r.aead, dataKey: r.dataKey, head: r.ad[:len(r.ad)-frameHeader], lens: r.lens}
}

// adopt spares the reader of another part of the same object two requests.
func (r *objectReader) adopt(o *opened) {
	r.h, r.aead, r.dataKey, r.lens, r.keyID = o.h, o.aead, o.dataKey, o.lens, o.h.KeyID
	r.ad = append(slices.Clone(o.head), make([]byte, frameHeader)...)
	r.seek()
}

// checkFooter opens the index, compares it with what is known, and gives the sealed lengths.
func (r *objectReader) checkFooter(footer []byte) ([]uint32, error) {
	n := r.h.frames()
	indexFrame := len(footer) - trailerSize
	if !bytes.Equal(footer[indexFrame:], appendTrailer(nil, indexFrame, n)) {
		return nil, errIndex
	}
	head := r.ad[len(r.ad)-frameHeader:]
	putFrameHeader(head, frameIndex, 0, n, n*r.h.entrySize(), n*r.h.entrySize()+tagSize)
	if !bytes.Equal(footer[:frameHeader], head) {
		return nil, errIndex
	}
	at := nonce(frameIndex, uint32(n))
	index, err := r.aead.Open(nil, at[:], footer[frameHeader:indexFrame], r.ad)
	if err != nil {
		return nil, errIndex
	}
	if r.named != nil && objectTag(footer) != r.named.Tag {
		return nil, errTag
	}
	lens := make([]uint32, n)
	var macs [][frameMACSize]byte
	total := int64(r.h.size() + r.h.footerSize())
	for i := range n {
		entry := index[i*r.h.entrySize():]
		lens[i] = binary.BigEndian.Uint32(entry[4:])
		total += frameHeader + int64(lens[i])
		if int(binary.BigEndian.Uint32(entry)) != r.h.plainOf(i) {
			return nil, errIndex
		}
		if r.h.MACs {
			macs = append(macs, [frameMACSize]byte(entry[8:8+frameMACSize]))
		}
	}
	if total != r.length {
		return nil, errIndex
	}
	r.macs = macs
	return lens, nil
}

// readFrame reads and opens the frame at pos.
func (r *objectReader) readFrame(dst []byte) (int, error) {
	i, plain := r.frame, r.h.plainOf(r.frame)
	head := r.ad[len(r.ad)-frameHeader:]
	if err := r.read(head); err != nil {
		return 0, err
	}
	flags, sealed := head[1], int(binary.BigEndian.Uint32(head[12:]))
	most := packedSize(r.h)
	var last byte
	if i == r.h.frames()-1 {
		last = frameLast
	}
	if head[0] != frameData || flags&^frameStored != last || head[2] != 0 || head[3] != 0 ||
		int(binary.BigEndian.Uint32(head[4:])) != i || int(binary.BigEndian.Uint32(head[8:])) != plain ||
		sealed < tagSize || sealed > most || plain > len(dst) {
		return 0, errFrame
	}
	if !r.whole && sealed != int(r.lens[i]) {
		return 0, errIndex
	}
	if r.packed == nil {
		r.packed = r.v.cfg.Budget.buffer(packedSize(r.h))
	}
	packed := (*r.packed)[:sealed]
	if err := r.read(packed); err != nil {
		return 0, err
	}
	at := nonce(frameData, uint32(i))
	dst = dst[:plain]
	stored := r.h.Codec == codecNone || flags&frameStored != 0
	if stored && sealed-tagSize == plain { // straight to where it goes
		if _, err := r.aead.Open(dst[:0], at[:], packed, r.ad); err != nil {
			return 0, errFrame
		}
	} else {
		opened, err := r.aead.Open(packed[:0], at[:], packed, r.ad)
		if err != nil || stored {
			return 0, errFrame
		}
		if err := r.v.codecs.decompress(r.h.Codec, dst, opened); err != nil {
			return 0, errFrame
		}
	}
	if r.whole {
		if len(r.lens) == i { // a step that is repeated finds its own entry
			r.lens = append(r.lens, 0)
		}
		r.lens[i] = uint32(sealed)
	}
	if r.prove && r.h.MACs {
		r.proved = append(r.proved[:i], r.h.Version.frameMAC(r.dataKey, dst))
	}
	return plain, nil
}

// readFooter checks what follows the last frame of a whole object, and that nothing follows that.
func (r *objectReader) readFooter() error {
	footer := make([]byte, r.h.footerSize())
	if r.pos+int64(len(footer)) > r.length {
		return errTruncated
	}
	if err := r.read(footer); err != nil {
		return err
	}
	if r.pos != r.length {
		return errTrailing
	}
	lens, err := r.checkFooter(footer)
	if err != nil {
		return err
	}
	for i, n := range lens {
		if n != r.lens[i] {
			return errIndex
		}
	}
	if r.prove && r.h.MACs && !slices.Equal(r.proved, r.macs) {
		return errContent
	}
	return nil
}

// read fills p from the object at pos, opening a body there when none is open.
func (r *objectReader) read(p []byte) error {
	if r.body == nil {
		if err := r.openBody(); err != nil {
			return err
		}
	}
	if err := r.v.rate.wait(r.ctx, len(p)); err != nil {
		return err
	}
	n, err := io.ReadFull(r.body, p)
	r.pos += int64(n)
	if err == nil {
		return nil
	}
	r.broke = true
	if err == io.EOF || err == io.ErrUnexpectedEOF || fault.KindOf(err) != "" {
		return err
	}
	return errBody
}

func (r *objectReader) openBody() error {
	s := r.sources[0]
	if r.pos > 0 || !r.whole {
		return r.openRange(s)
	}
	body, info, err := s.Get(r.ctx, r.key)
	if err != nil {
		return err
	}
	r.body, r.bodyTo = body, info.Size
	if r.named == nil {
		r.length = info.Size
	}
	if info.Size < r.length {
		return errTruncated
	}
	if info.Size > r.length {
		return errTrailing
	}
	return nil
}

// openRange opens the body at pos: to go on with a whole object, or for a part of one.
func (r *objectReader) openRange(s store.Store) error {
	switch {
	case r.named == nil: // this store's object may have another length
		info, err := s.Head(r.ctx, r.key)
		if err != nil {
			return err
		}
		r.length, r.bodyTo = info.Size, info.Size
	case r.whole:
		r.bodyTo = r.length
	case r.h == nil: // of a part, the header comes first
		r.bodyTo = int64(r.named.headerSize())
	}
	if r.bodyTo <= r.pos {
		return errTruncated
	}
	body, err := s.GetRange(r.ctx, r.key, r.pos, r.bodyTo-r.pos)
	r.body = body
	return err
}

// close ends reading and gives the frame's buffer back.
func (r *objectReader) close() {
	r.closeBody()
	if r.packed != nil {
		r.v.cfg.Budget.recycle(r.packed)
		r.packed = nil
	}
}

func (r *objectReader) closeBody() {
	if r.body != nil {
		_ = r.body.Close() // nothing is lost: what counts was read and checked
		r.body = nil
	}
}
