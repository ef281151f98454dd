package vault

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Chunk is one piece of a stream.
type Chunk struct {
	Index  int    // from 0
	Offset int64  // of Data in the stream
	Data   []byte // valid until write returns
}

// ReadChunks reads a stream's chunks in parallel and gives each, once it is
// authenticated whole, to write: concurrently, out of order, and each once. A
// chunk that skip (nil: none) wants left out is not read. The first error ends
// it all, once the calls of write that are running have returned.
func (b *Backup) ReadChunks(ctx context.Context, stream string, skip func(index int) bool, write func(context.Context, Chunk) error) error {
	return b.readChunks(ctx, stream, skip, func(ctx context.Context, e Extent, _ int64, data []byte) error { return b.readExtent(ctx, e, data) }, write)
}

// extentReader fills data with an extent's plaintext, which begins at an offset of its stream.
type extentReader func(ctx context.Context, e Extent, offset int64, data []byte) error

func (b *Backup) readChunks(ctx context.Context, stream string, skip func(index int) bool, read extentReader, write func(context.Context, Chunk) error) error {
	s, err := b.manifest.Stream(stream)
	if err != nil {
		return err
	}
	var size, packed int64
	for _, e := range s.Extents {
		size = max(size, e.Bytes)
		packed = max(packed, b.object(e).packedCost())
	}
	size = rounded(size)
	need := size + packed
	part, err := newShare(ctx, b.v.cfg.Budget, need, b.v.cfg.Parallel)
	if err != nil {
		return err
	}
	defer part.close()
	group, groupCtx := errgroup.WithContext(ctx)
	var offset int64
	for i, e := range s.Extents {
		at := offset
		offset += e.Bytes
		if skip != nil && skip(i) {
			continue
		}
		got, err := part.take(groupCtx, need, false)
		if err != nil {
			break // the group has the reason, or ctx
		}
		group.Go(func() error {
			defer part.give(got)
			buffer := b.v.cfg.Budget.buffer(int(size))
			defer b.v.cfg.Budget.recycle(buffer)
			data := (*buffer)[:e.Bytes]
			if err := read(groupCtx, e, at, data); err != nil {
				return err
			}
			return write(groupCtx, Chunk{Index: i, Offset: at, Data: data})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func (b *Backup) object(e Extent) *Object { return &b.manifest.Objects[e.Object] }

// readExtent fills data with an extent's plaintext.
func (b *Backup) readExtent(ctx context.Context, e Extent, data []byte) error {
	r := b.v.openRun(ctx, b.object(e), e.First, e.Frames)
	defer r.close()
	if r.whole {
		return r.fill(data)
	}
	known := b.heads.get(e.Object)
	if known != nil {
		r.adopt(known)
	}
	err := r.fill(data)
	if err == nil && known == nil {
		b.heads.put(e.Object, r.opened())
	}
	return err
}

// headsKept is how many objects' headers and indexes a reader remembers: those of
// a few hundred frames are some kilobytes.
const headsKept = 64

// heads are what is known of objects of which parts are read one by one.
type heads struct {
	mu    sync.Mutex
	of    map[int]*opened // by place in the manifest
	order []int           // the oldest first
}

func (h *heads) get(object int) *opened {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of[object]
}

func (h *heads) put(object int, o *opened) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of == nil {
		h.of = map[int]*opened{}
	}
	if h.of[object] == nil {
		h.order = append(h.order, object)
	}
	h.of[object] = o
	if len(h.order) > headsKept {
		delete(h.of, h.order[0])
		h.order = h.order[1:]
	}
}
