package vault

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/frende/lifeboat/internal/fault"
)

// MACsStream is the stream in which a backup has the MACs of all its objects' frames
// once more, one object behind the other: who looks for many asks the store
// twice for each object otherwise. What an object's own index says decides.
const MACsStream = "macs"

// macsWriter makes the table while the backup is written. A nil one makes none.
type macsWriter struct {
	out *StreamWriter

	mu     sync.Mutex
	next   int64          // in MACs
	shared map[int]*int64 // where those of a donor's object begin, by its place in that one's manifest
}

func (w *Writer) createTable(ctx context.Context) (*macsWriter, error) {
	out, err := w.Create(ctx, MACsStream)
	return &macsWriter{out: out, shared: map[int]*int64{}}, err
}

// is says whether the table is in this stream. Its own frames need no MACs.
func (t *macsWriter) is(s *StreamWriter) bool { return t != nil && t.out == s }

// add takes the MACs of a chunk's own object, and of those that it shares. It may wait
// for the table's memory, so its caller holds none, and no place to put.
func (t *macsWriter) add(w *Writer, chunk *storedChunk, macs [][frameMACSize]byte) (err error) {
	if t == nil {
		return nil
	}
	if len(macs) > 0 {
		if chunk.object.MACsAt, err = t.put(macs); err != nil {
			return err
		}
	}
	for _, p := range chunk.pieces {
		if p.shared && !t.has(p.extent.Object) {
			if err := t.share(w, p.extent.Object); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *macsWriter) has(object int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shared[object] != nil
}

// share takes over the MACs of a donor's object. One whose MACs can't be had is not in the table.
func (t *macsWriter) share(w *Writer, object int) error {
	macs, err := w.donor.macs(w.ctx, object)
	if err != nil {
		return w.ctx.Err()
	}
	at, err := t.put(macs)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shared[object] = at // of two at once, either
	return nil
}

func (t *macsWriter) put(macs [][frameMACSize]byte) (*int64, error) {
	raw := make([]byte, 0, len(macs)*frameMACSize)
	for _, mac := range macs {
		raw = append(raw, mac[:]...)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.next
	_, err := t.out.Write(raw)
	t.next += int64(len(macs))
	return &at, err
}

// of is where the MACs of a donor's object begin; nil: they are not in the table.
func (t *macsWriter) of(object int) *int64 {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shared[object]
}

func (t *macsWriter) close() error {
	if t == nil {
		return nil
	}
	return t.out.Close()
}

const (
	macsBlock  = 512 << 10 // of the table that is read at once, in bytes: the MACs of 2 GiB in frames of 64 KiB
	macsBlocks = 8         // that are remembered
)

// macsReader reads the table of a backup, from the primary store. A nil one is that of
// a backup without.
type macsReader struct {
	b      *Backup
	stream *Stream

	mu     sync.Mutex
	blocks map[int64]func() ([]byte, error)
}

func (b *Backup) macsTable() *macsReader {
	stream, err := b.manifest.Stream(MACsStream)
	if err != nil {
		return nil
	}
	primary := b.v
	if primary.cfg.Replica != nil {
		primary = primary.WithStores(primary.cfg.Store, nil)
	}
	return &macsReader{b: &Backup{v: primary, manifest: b.manifest}, stream: stream, blocks: map[int64]func() ([]byte, error){}}
}

// macs gives the MACs of an object's frames; nil without an error: the table does not have them.
func (t *macsReader) macs(ctx context.Context, o *Object) ([][frameMACSize]byte, error) {
	if t == nil || o.MACsAt == nil {
		return nil, nil
	}
	n := int64(o.frames())
	if *o.MACsAt < 0 || *o.MACsAt > t.stream.Bytes/frameMACSize-n {
		return nil, nil
	}
	from := *o.MACsAt * frameMACSize
	raw := make([]byte, 0, n*frameMACSize)
	for len(raw) < cap(raw) {
		at := from + int64(len(raw))
		block, err := t.block(ctx, at/macsBlock)
		if err != nil {
			return nil, err
		}
		rest := block[at%macsBlock:]
		raw = append(raw, rest[:min(len(rest), cap(raw)-len(raw))]...)
	}
	macs := make([][frameMACSize]byte, n)
	for i := range macs {
		macs[i] = [frameMACSize]byte(raw[i*frameMACSize:])
	}
	return macs, nil
}

func (t *macsReader) block(ctx context.Context, number int64) ([]byte, error) {
	t.mu.Lock()
	known := t.blocks[number]
	if known == nil {
		for old := range t.blocks { // any: objects are asked for in the order of their MACs, nearly
			if len(t.blocks) < macsBlocks {
				break
			}
			delete(t.blocks, old)
		}
		known = sync.OnceValues(func() ([]byte, error) { return t.read(ctx, number*macsBlock) })
		t.blocks[number] = known
	}
	t.mu.Unlock()
	return known()
}

// read reads a block. Its caller may hold memory of the budget, so it waits for none: what
// is remembered lies beside it, as indexes do.
func (t *macsReader) read(ctx context.Context, at int64) ([]byte, error) {
	n := min(macsBlock, t.stream.Bytes-at)
	extents, skip := t.b.trim(t.stream.Extents, at, n)
	var raw []byte
	for _, e := range extents {
		part := make([]byte, e.Bytes)
		if err := t.b.readExtent(ctx, e, part); err != nil {
			return nil, err
		}
		raw = append(raw, part...)
	}
	return raw[skip : skip+n], nil
}

var errTable = errors.New("the backup's table of MACs contradicts this object's own index")

// agrees fails with IntegrityError when the table says something else of an object than its own
// index: a later backup would compare with it. A store that does not answer is told as that.
func (t *macsReader) agrees(ctx context.Context, o *Object, index [][frameMACSize]byte) error {
	if o.MACsAt == nil {
		return nil
	}
	macs, err := t.macs(ctx, o)
	if err != nil || slices.Equal(macs, index) {
		return err
	}
	return fault.New(fault.IntegrityError, "read", o.Key, errTable)
}
