package store

import (
	"context"
	"errors"
	"io"

	"github.com/frende/lifeboat/internal/fault"
)

// ReadAll reads a small object whole. One of more than most bytes is not what
// it should be: IntegrityError.
func ReadAll(ctx context.Context, s Store, key string, most int64) ([]byte, error) {
	body, info, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if info.Size > most {
		return nil, errors.Join(fault.Newf(fault.IntegrityError, "read", Subject(s.Name(), key), "it has %d bytes, at most %d are expected", info.Size, most), body.Close())
	}
	whole := make([]byte, info.Size)
	if _, err := io.ReadFull(body, whole); err != nil {
		_ = body.Close() // the first error is the one that counts
		if fault.KindOf(err) != "" {
			return nil, err
		}
		return nil, fault.New(fault.StorageUnavailable, "read", Subject(s.Name(), key), err)
	}
	if err := body.Close(); err != nil {
		return nil, fault.New(fault.StorageUnavailable, "read", Subject(s.Name(), key), err)
	}
	return whole, nil
}
