package vault

import (
	"context"
	"fmt"
	"sync"

	"github.com/frende/lifeboat/internal/fault"
)

// maxFloor is the plaintext of the chunk that every open stream can always fill.
const maxFloor = 4 << 20

// StreamWriter takes the bytes of one stream. Write only copies: compressing,
// sealing and putting go on behind it. An error of these comes with a later
// Write or with Close.
type StreamWriter struct {
	w     *Writer
	name  string
	share *share
	jobs  sync.WaitGroup

	mu      sync.Mutex // held while writing
	current *chunkBuffer
	chunks  int
	closed  bool
	aligned bool   // frames are counted from the last Align on
	since   int64  // bytes since then
	like    string // stream of the donor that is compared with; "": none
	from    int64  // its offset of what followed the last Align

	done   sync.Mutex // held for the results of jobs
	stored []storedChunk
	err    error
}

// storedChunk is where a chunk's plaintext lies: in an object of its own and in others.
type storedChunk struct {
	object Object // Key is "" when all of it is shared
	pieces []piece
}

// piece is a run of frames. The extent's Object is the donor's place of a shared
// one, and means nothing in the chunk's own object.
type piece struct {
	extent Extent
	shared bool
}

// chunkBuffer is where a chunk is gathered and sealed in place.
type chunkBuffer struct {
	grant   grant
	buffer  *[]byte
	sealed  int // bytes of buffer for the object; the rest is scratch
	room    int // where plaintext begins
	most    int // plaintext at most
	content int // plaintext so far
	like    string
	from    int64 // of the donor's stream, where the chunk begins
}

// Create opens a stream. Several may be open at once, and each may be written
// by its own goroutine. It may wait for memory, holding none of its own.
func (w *Writer) Create(ctx context.Context, stream string) (*StreamWriter, error) {
	if stream == "" || len(stream) > 255 {
		return nil, fault.Newf(fault.InputInvalid, "create stream", w.intent.Key, "a stream's name has 1 to 255 bytes")
	}
	if w.committed != nil {
		return nil, fault.Newf(fault.InputInvalid, "create stream", w.intent.Key, "the backup is finished")
	}
	_, floor := w.sizes(w.floor())
	part, err := newShare(ctx, w.v.cfg.Budget, floor, w.v.cfg.Parallel+1)
	if err != nil {
		return nil, err
	}
	s := &StreamWriter{w: w, name: stream, share: part}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, other := range w.streams {
		if other.name == stream {
			part.close()
			return nil, fault.Newf(fault.InputInvalid, "create stream", w.intent.Key, "it has a stream %q already", stream)
		}
	}
	if w.closed {
		part.close()
		return nil, context.Cause(w.ctx)
	}
	w.streams = append(w.streams, s)
	part.lends(s.lend)
	return s, nil
}

// floor is the plaintext that fits a stream's floor: whole frames.
func (w *Writer) floor() int {
	frame := w.frame
	n := int(min(w.v.cfg.Budget.Limit()/64, maxFloor, int64(w.v.cfg.ChunkSize)))
	return max(n/frame, 1) * frame
}

// sizes are the object's and the whole buffer's for a chunk of so much plaintext.
func (w *Writer) sizes(plain int) (sealed int, whole int64) {
	sealed = boundFor(w.codec, w.frame, plain)
	return sealed, int64(sealed + scratchSize(w.codec, w.frame))
}

// Name is the stream's.
func (s *StreamWriter) Name() string { return s.name }

// Write takes p. It blocks while no memory is free, and fails with what a chunk failed with.
func (s *StreamWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	written := 0
	for len(p) > 0 {
		if err := s.failed(); err != nil {
			return written, err
		}
		if s.closed {
			return written, fault.Newf(fault.InputInvalid, "write stream", s.w.intent.Key, "stream %q is closed", s.name)
		}
		if s.current == nil {
			if err := s.begin(); err != nil {
				return written, err
			}
		}
		c := s.current
		n := copy((*c.buffer)[c.room+c.content:c.room+c.most], p)
		c.content += n
		written += n
		p = p[n:]
		s.since += int64(n)
		s.w.in.Add(int64(n))
		if c.content == c.most {
			s.dispatch()
		}
	}
	return written, nil
}

// begin takes memory for the next chunk: a stream's first is its floor, as most streams are short.
func (s *StreamWriter) begin() error {
	most := s.w.v.cfg.ChunkSize
	_, want := s.w.sizes(most)
	got, err := s.share.take(s.w.ctx, want, s.chunks == 0)
	if err != nil {
		return context.Cause(s.w.ctx)
	}
	if !got.extra {
		most = s.w.floor()
	}
	sealed, whole := s.w.sizes(most)
	s.current = &chunkBuffer{
		grant: got, buffer: s.w.v.cfg.Budget.buffer(int(whole)), sealed: sealed, most: most,
		room: roomFor(s.w.codec, s.w.frame, most),
	}
	s.place(s.current)
	return nil
}

// place says where in the donor a chunk that is still empty is to be looked for.
// One that begins within a frame, since the one before was stored early, ends with it.
func (s *StreamWriter) place(c *chunkBuffer) {
	c.like, c.from = s.like, s.from+s.since
	if within := int(s.since % int64(s.w.frame)); s.aligned && within > 0 {
		c.most = min(c.most, s.w.frame-within)
	}
}

// Align begins a new frame, and says that what is written next may be what the
// donor's stream of that name holds from the offset on; "" is no stream. Whether
// it is, is found by its content: a wrong guess costs time and room, nothing else.
func (s *StreamWriter) Align(like string, offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w.donor == nil {
		like = ""
	}
	if s.current != nil && s.current.content > 0 && !s.closed {
		s.dispatch()
	}
	s.aligned, s.since, s.like, s.from = true, 0, like, offset
	if s.current != nil {
		s.place(s.current)
	}
}

// lend stores the chunk that is gathered in extra memory as it is: shorter than others.
func (s *StreamWriter) lend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.grant.extra && !s.closed {
		s.dispatch()
	}
}

// dispatch hands the chunk over to be sealed and put.
func (s *StreamWriter) dispatch() {
	c, number := s.current, s.chunks
	s.current = nil
	s.chunks++
	s.jobs.Go(func() {
		stored, macs, err := s.store(c, number)
		s.w.v.cfg.Budget.recycle(c.buffer)
		s.share.give(c.grant)
		if err == nil && !s.w.table.is(s) { // which may wait for what was given back just now
			err = s.w.table.add(s.w, &stored, macs)
		}
		s.done.Lock()
		defer s.done.Unlock()
		if err != nil {
			if s.err == nil {
				s.err = err
			}
			s.w.cancel(err)
			return
		}
		for len(s.stored) <= number {
			s.stored = append(s.stored, storedChunk{})
		}
		s.stored[number] = stored
	})
}

// store puts what of the chunk no earlier backup has.
// It gives the MACs of these frames.
func (s *StreamWriter) store(c *chunkBuffer, number int) (storedChunk, [][frameMACSize]byte, error) {
	w := s.w
	select {
	case w.puts <- struct{}{}:
		defer func() { <-w.puts }()
	case <-w.ctx.Done():
		return storedChunk{}, nil, context.Cause(w.ctx)
	}
	if err := w.ctx.Err(); err != nil {
		return storedChunk{}, nil, context.Cause(w.ctx)
	}
	plain := (*c.buffer)[c.room : c.room+c.content]
	pieces := s.compare(c, plain)
	own := pack(plain, pieces)
	if own == 0 {
		return storedChunk{pieces: pieces}, nil, w.renew()
	}
	key := fmt.Sprintf("%s/chunk/%s/%06d", w.intent.Key, w.attempt, w.next.Add(1)-1)
	seal := sealing{codecs: w.v.codecs, dense: w.dense, key: w.dataKey, header: header{
		Version: w.v.writes, Kind: kindChunk, Codec: w.codec, KeyID: w.intent.KeyID,
		Key: key, Stream: s.name, Chunk: uint32(number), FrameSize: uint32(w.frame), MACs: w.macs && !w.table.is(s),
	}}
	buffer := *c.buffer
	body, tag, err := seal.seal(buffer[:c.sealed], buffer[c.sealed:], plain[:own])
	if err != nil {
		return storedChunk{}, nil, err
	}
	if err := w.v.putOnce(w.ctx, key, body); err != nil {
		return storedChunk{}, nil, err
	}
	w.stored.Add(int64(len(body)))
	return storedChunk{object: objectOf(&seal.header, int64(len(body)), tag), pieces: pieces}, seal.macs, w.renew()
}

// Close stores what is left and waits until all of the stream is stored.
func (s *StreamWriter) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		if s.current != nil {
			s.dispatch()
		}
		s.jobs.Wait()
		s.share.close()
	}
	return s.failed()
}

// abandon ends the stream without storing what is left; the writer's context is done.
func (s *StreamWriter) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.jobs.Wait()
	if s.current != nil {
		s.w.v.cfg.Budget.recycle(s.current.buffer)
		s.share.give(s.current.grant)
		s.current = nil
	}
	s.share.close()
	s.done.Lock()
	defer s.done.Unlock()
	if s.err == nil {
		s.err = context.Cause(s.w.ctx)
	}
}

func (s *StreamWriter) failed() error {
	s.done.Lock()
	defer s.done.Unlock()
	return s.err
}

// finished gives the stream's chunks in order, once it is closed.
func (s *StreamWriter) finished() ([]storedChunk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		return nil, fault.Newf(fault.InputInvalid, "finish backup", s.w.intent.Key, "stream %q is still open", s.name)
	}
	return s.stored, s.failed()
}
