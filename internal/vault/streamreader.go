package vault

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/frende/lifeboat/internal/fault"
)

// Open reads a stream in order. Chunks ahead are read in parallel as far as
// memory allows; with none to spare it goes on frame by frame.
func (b *Backup) Open(ctx context.Context, stream string) (io.ReadCloser, error) {
	s, err := b.manifest.Stream(stream)
	if err != nil {
		return nil, err
	}
	return b.open(ctx, s.Extents, 0, s.Bytes)
}

// ReadRange reads n bytes from offset off of a stream, and of the store only
// the frames that have them. InputInvalid: the range goes past the stream.
func (b *Backup) ReadRange(ctx context.Context, stream string, off, n int64) (io.ReadCloser, error) {
	s, err := b.manifest.Stream(stream)
	if err != nil {
		return nil, err
	}
	if off < 0 || n < 0 || off > s.Bytes || n > s.Bytes-off {
		return nil, fault.Newf(fault.InputInvalid, "read range", b.manifest.Key, "%d bytes from %d of stream %q, which has %d", n, off, stream, s.Bytes)
	}
	extents, skip := b.trim(s.Extents, off, n)
	return b.open(ctx, extents, skip, n)
}

// trim gives the frames that hold [off, off+n), and how much of the first one comes before.
func (b *Backup) trim(extents []Extent, off, n int64) (kept []Extent, skip int64) {
	var start int64
	for _, e := range extents {
		end := start + e.Bytes
		if n > 0 && end > off && start < off+n {
			o := b.object(e)
			frame := int64(o.FrameSize)
			head := int((max(off, start) - start) / frame)
			tail := int((min(off+n, end) - start + frame - 1) / frame)
			if len(kept) == 0 {
				skip = off - start - int64(head)*frame
			}
			kept = append(kept, Extent{Object: e.Object, First: e.First + head, Frames: tail - head, Bytes: o.span(e.First+head, tail-head)})
		}
		start = end
	}
	return kept, skip
}

// streamReader joins extents, in order. Its floor is a frame: with that alone it
// reads the next extent itself, frame by frame. With extras it has the extents
// ahead read in the background.
type streamReader struct {
	b      *Backup
	ctx    context.Context
	cancel context.CancelFunc
	share  *share

	mu      sync.Mutex // held while reading and lending
	extents []Extent   // not begun yet
	ahead   []*prefetch
	size    int // of the buffers ahead

	run   *objectReader // the extent that is read frame by frame
	floor grant
	frame *[]byte
	chunk *prefetch // the extent that data is of

	data []byte // not given yet
	skip int64  // bytes to leave out first
	left int64  // bytes to give
	err  error
}

// prefetch is an extent that is read in the background.
type prefetch struct {
	extent Extent
	grant  grant
	buffer *[]byte
	data   []byte
	err    error
	done   chan struct{}
}

func (b *Backup) open(ctx context.Context, extents []Extent, skip, n int64) (io.ReadCloser, error) {
	var frame, packed, size int64
	for _, e := range extents {
		o := b.object(e)
		frame, packed, size = max(frame, int64(o.FrameSize)), max(packed, o.packedCost()), max(size, e.Bytes)
	}
	size = rounded(size)
	part, err := newShare(ctx, b.v.cfg.Budget, frame+packed, b.v.cfg.Parallel+1)
	if err != nil {
		return nil, err
	}
	r := &streamReader{b: b, share: part, extents: extents, size: int(size), skip: skip, left: n}
	r.ctx, r.cancel = context.WithCancel(ctx)
	if r.floor, err = part.take(ctx, 0, true); err != nil {
		part.close()
		r.cancel()
		return nil, err
	}
	r.frame = b.v.cfg.Budget.buffer(int(frame))
	part.lends(r.lend)
	return r, nil
}

// Read gives bytes that were authenticated.
func (r *streamReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.data) == 0 && r.err == nil && r.left > 0 {
		r.err = r.advance()
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if len(r.data) == 0 {
		return 0, r.err
	}
	n := copy(p, r.data[:min(int64(len(r.data)), r.left)])
	r.data = r.data[n:]
	r.left -= int64(n)
	return n, nil
}

// advance gets the next bytes into data.
func (r *streamReader) advance() error {
	r.drop(r.chunk)
	r.chunk = nil
	r.readAhead()
	switch {
	case r.run != nil:
		n, err := r.run.next(*r.frame)
		if errors.Is(err, errEnd) {
			r.run.close()
			r.run = nil
			return nil
		}
		r.use((*r.frame)[:n])
		return err
	case len(r.ahead) > 0:
		r.chunk, r.ahead = r.ahead[0], r.ahead[1:]
		<-r.chunk.done
		r.use(r.chunk.data)
		return r.chunk.err
	case len(r.extents) > 0:
		e := r.extents[0]
		r.extents = r.extents[1:]
		r.run = r.b.v.openRun(r.ctx, r.b.object(e), e.First, e.Frames)
		return nil
	}
	return fault.New(fault.IntegrityError, "read", manifestKey(r.b.manifest.Key), errManifest)
}

func (r *streamReader) use(data []byte) {
	n := min(r.skip, int64(len(data)))
	r.skip -= n
	r.data = data[n:]
}

// readAhead begins as many extents as there is memory for at once.
func (r *streamReader) readAhead() {
	for len(r.extents) > 0 {
		e := r.extents[0]
		got, ok := r.share.try(int64(r.size) + r.b.object(e).packedCost())
		if !ok {
			return
		}
		r.extents = r.extents[1:]
		p := &prefetch{extent: e, grant: got, buffer: r.b.v.cfg.Budget.buffer(r.size), done: make(chan struct{})}
		r.ahead = append(r.ahead, p)
		go func() {
			defer close(p.done)
			p.data = (*p.buffer)[:e.Bytes]
			if p.err = r.b.readExtent(r.ctx, e, p.data); p.err != nil {
				p.data = nil
			}
		}()
	}
}

func (r *streamReader) drop(p *prefetch) {
	if p == nil {
		return
	}
	r.b.v.cfg.Budget.recycle(p.buffer)
	r.share.give(p.grant)
}

// lend gives all extras back: what was not given of the current chunk, and what
// was read ahead, is read again when it is asked for.
func (r *streamReader) lend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var again []Extent
	if r.chunk != nil {
		if left := int64(len(r.data)); left > 0 {
			again, r.skip = r.b.trim([]Extent{r.chunk.extent}, r.chunk.extent.Bytes-left, left)
			r.data = nil
		}
		r.drop(r.chunk)
		r.chunk = nil
	}
	for _, p := range r.ahead {
		<-p.done
		again = append(again, p.extent)
		r.drop(p)
	}
	r.ahead = nil
	r.extents = append(again, r.extents...)
}

// Close ends what is read ahead and gives the memory back.
func (r *streamReader) Close() error {
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frame == nil {
		return nil
	}
	if r.run != nil {
		r.run.close()
	}
	r.drop(r.chunk)
	for _, p := range r.ahead {
		<-p.done
		r.drop(p)
	}
	r.b.v.cfg.Budget.recycle(r.frame)
	r.share.give(r.floor)
	r.share.close()
	r.frame, r.run, r.chunk, r.ahead, r.data = nil, nil, nil, nil, nil
	r.err = fault.Newf(fault.InputInvalid, "read", r.b.manifest.Key, "the stream is closed")
	return nil
}
