package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// reader reads bytes [at, end) of one version of an object. When the stream
// breaks or ends early it goes on with a new request for the rest, as often in a
// row without progress as the store tries a call.
type reader struct {
	ctx   context.Context
	store *Store
	key   string
	etag  string
	at    int64
	end   int64
	body  io.ReadCloser // nil between a broken stream and its successor
	idle  int           // broken streams since the last byte
	err   error         // final
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	for r.at < r.end {
		if r.body == nil {
			if r.err = r.reopen(); r.err != nil {
				return 0, r.err
			}
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.end-r.at)])
		r.at += int64(n)
		if n > 0 {
			r.idle = 0
		}
		if err != nil && r.at < r.end {
			if r.err = r.broken(err); r.err != nil {
				return n, r.err
			}
		}
		if n > 0 {
			return n, nil
		}
	}
	r.err = io.EOF
	return 0, r.err
}

// broken drops a stream that ended too early, and says when it is time to give up.
func (r *reader) broken(err error) error {
	_ = r.body.Close() // it has failed already; its error is the one that counts
	r.body = nil
	if r.ctx.Err() != nil {
		return fault.New(fault.StorageUnavailable, "get", store.Subject(r.store.name, r.key), r.ctx.Err())
	}
	r.idle++
	if r.idle < r.store.tries {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fault.New(fault.StorageUnavailable, "get", store.Subject(r.store.name, r.key),
		fmt.Errorf("the stream broke off %d times in a row at byte %d, %d bytes early: %w", r.idle, r.at, r.end-r.at, err))
}

func (r *reader) reopen() error {
	if r.idle > 1 { // the first time at once: a single cut is usual
		pause, err := r.store.retry.pause(r.idle, nil)
		if err != nil {
			return fault.New(fault.StorageUnavailable, "get", store.Subject(r.store.name, r.key), err)
		}
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
			return fault.New(fault.StorageUnavailable, "get", store.Subject(r.store.name, r.key), r.ctx.Err())
		}
	}
	body, _, err := r.store.open(r.ctx, r.key, r.etag, r.at, r.end-r.at)
	if err != nil {
		return err
	}
	r.body = body
	return nil
}

func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body, r.err = nil, os.ErrClosed
	return body.Close()
}
