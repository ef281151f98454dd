package postgres

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/fault"
)

const (
	pieceSize = 1 << 20 // of rows that a session is given at once
	rowsEnd   = "\\.\n\n\n"
	pieceHold = 8 // more than rowsEnd: it is never cut
)

// loadSettings are what pg_restore sets for rows, and what undoes the database's own
// settings for the application. Rows are not synced one by one: what is restored is
// synced by the commit that puts it in place.
const loadSettings = `SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET default_transaction_read_only = off;
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout');
SET synchronous_commit = off; SET client_min_messages = warning; SET check_function_bodies = off; SET xmloption = content; SET row_security = off;
SET datestyle = iso; SET intervalstyle = postgres;
`

// loader copies the rows of a dump into their tables while they are read, with
// several sessions, also of one table: whoever is free takes the next whole rows of it.
// It holds a piece for each session and two more, however long a row is: one that fits
// no piece goes to its session bit by bit. That is 10 MiB for 8 sessions, and 64 KiB of
// the driver for each; it is no part of the budget of buffers, but of what a worker's heap
// holds besides.
type loader struct {
	into     incarnation
	settings string
	ctx      context.Context // ends with the first error, which is its cause
	cancel   context.CancelCauseFunc
	sessions sync.WaitGroup
	free     chan struct{}  // sessions that may still work
	idle     chan *pgx.Conn // those that are connected
	buffers  chan []byte
}

// piece is whole rows in text format, but for the last of them when there is a rest.
type piece struct {
	rows []byte
	rest chan []byte // of a row that fits no piece; nil: none
}

func newLoader(ctx context.Context, into incarnation, jobs int, settings string) *loader {
	l := &loader{
		into: into, settings: loadSettings + settings,
		free: make(chan struct{}, jobs), idle: make(chan *pgx.Conn, jobs), buffers: make(chan []byte, jobs+2),
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	return l
}

// table copies the blocks that follow in the dump into one table. It returns when
// the last of them is read.
func (l *loader) table(r *customReader, item *customItem) (err error) {
	t := &tableRows{l: l, item: item, pieces: make(chan piece), buffer: l.buffer()}
	defer func() {
		if err != nil {
			l.cancel(err) // before the sessions take what they have for all
		}
		close(t.pieces)
	}()
	for {
		n, err := r.block()
		if err != nil {
			return err
		}
		if n == 0 {
			return t.end()
		}
		if err := t.read(r.from, n); err != nil {
			return err
		}
	}
}

// wait waits until all is in the tables, and fails with the first error of all.
func (l *loader) wait() error {
	l.sessions.Wait()
	close(l.idle)
	for conn := range l.idle {
		closeConn(l.ctx, conn)
	}
	defer l.cancel(nil)
	return context.Cause(l.ctx)
}

func (l *loader) buffer() []byte {
	select {
	case b := <-l.buffers:
		return b
	default:
		return make([]byte, 0, pieceSize)
	}
}

func (l *loader) recycle(b []byte) {
	select {
	case l.buffers <- b[:0]:
	default:
	}
}

// session begins to copy pieces of a table, in a place of those that are free.
func (l *loader) session(t *tableRows) {
	l.sessions.Go(func() {
		defer func() { <-l.free }()
		conn, err := l.connect()
		if err != nil {
			l.cancel(err)
			return
		}
		if _, err := conn.PgConn().CopyFrom(l.ctx, &rowReader{t: t}, t.item.copy); err != nil {
			l.cancel(l.fault(t.item, err))
			closeConn(l.ctx, conn)
			return
		}
		l.idle <- conn // has room for all
	})
}

func (l *loader) connect() (*pgx.Conn, error) {
	select {
	case conn := <-l.idle:
		return conn, nil
	default:
	}
	conn, err := l.into.connect(l.ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.PgConn().Exec(l.ctx, l.settings).ReadAll(); err != nil {
		closeConn(l.ctx, conn)
		return nil, queryFault(l.ctx, restoreOp, l.into.String(), err)
	}
	return conn, nil
}

// fault tells rows that were refused, which will be again, from a server that went away.
func (l *loader) fault(item *customItem, err error) error {
	told := queryFault(l.ctx, restoreOp, l.into.String(), err)
	said := pgError(err)
	if said == nil || !fault.Has(told, fault.ServerFailed) {
		return told
	}
	return fault.Newf(fault.DumpFailed, restoreOp, l.into.String(), "%s: %s", item.name, said.Message)
}

// tableRows is a table whose rows are being read.
type tableRows struct {
	l      *loader
	item   *customItem
	pieces chan piece
	began  bool
	buffer []byte      // not given to a session yet
	rest   chan []byte // where a row goes on that was begun; nil: at its end
}

// read takes n bytes of rows.
func (t *tableRows) read(from io.Reader, n int) error {
	for n > 0 {
		if len(t.buffer) == cap(t.buffer) {
			if err := t.give(); err != nil {
				return err
			}
		}
		at := len(t.buffer)
		t.buffer = t.buffer[:min(cap(t.buffer), at+n)]
		read, err := io.ReadFull(from, t.buffer[at:])
		n -= read
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// give hands over what is whole of a full buffer. In the text format a newline ends
// a row and nothing else: in a value it is written as \n.
func (t *tableRows) give() error {
	full := t.buffer
	ready := full[:len(full)-pieceHold]
	whole := bytes.LastIndexByte(ready, '\n') + 1
	if whole > 0 {
		ready = ready[:whole]
	}
	t.buffer = append(t.l.buffer(), full[len(ready):]...)
	return t.send(ready, whole > 0)
}

// send hands rows to whichever session takes them, and those that begin with the
// rest of a row to the session that has its beginning.
func (t *tableRows) send(rows []byte, whole bool) error {
	if t.rest != nil {
		select {
		case t.rest <- rows:
		case <-t.l.ctx.Done():
			return context.Cause(t.l.ctx)
		}
		if whole {
			close(t.rest)
			t.rest = nil
		}
		return nil
	}
	p := piece{rows: rows}
	if !whole {
		t.rest = make(chan []byte)
		p.rest = t.rest
	}
	if t.began {
		select {
		case t.pieces <- p:
			return nil
		default:
		}
	}
	// Everybody who copies this table is busy: one more, if there is one, and at least one.
	begin := t.l.free
	for {
		select {
		case begin <- struct{}{}:
			t.l.session(t)
			t.began, begin = true, nil
		case t.pieces <- p:
			return nil
		case <-t.l.ctx.Done():
			return context.Cause(t.l.ctx)
		}
	}
}

// end hands over the last rows, without the line that ends them.
func (t *tableRows) end() error {
	rows, ended := bytes.CutSuffix(t.buffer, []byte(rowsEnd))
	if !ended || len(rows) > 0 && rows[len(rows)-1] != '\n' || len(rows) == 0 && t.rest != nil {
		return errCustom
	}
	if len(rows) == 0 {
		t.l.recycle(t.buffer)
		return nil
	}
	return t.send(rows, true)
}

// rowReader gives one session the pieces that it gets of a table.
type rowReader struct {
	t     *tableRows
	piece piece
	left  []byte // of the piece
}

func (r *rowReader) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		if r.piece.rows != nil {
			r.t.l.recycle(r.piece.rows)
			r.piece.rows = nil
		}
		if err := r.advance(); err != nil {
			return 0, err
		}
		r.left = r.piece.rows
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *rowReader) advance() error {
	if r.piece.rest != nil {
		select {
		case rows, more := <-r.piece.rest:
			r.piece.rows = rows
			if !more {
				r.piece.rest = nil
			}
			return nil
		case <-r.t.l.ctx.Done():
			return context.Cause(r.t.l.ctx)
		}
	}
	select {
	case next, more := <-r.t.pieces:
		if !more && r.t.l.ctx.Err() == nil {
			return io.EOF
		}
		r.piece = next
		return context.Cause(r.t.l.ctx)
	case <-r.t.l.ctx.Done():
		return context.Cause(r.t.l.ctx)
	}
}
