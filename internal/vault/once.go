package vault

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// putOnce stores an object that this attempt alone writes, and never over
// another: a bucket's policy may demand that of every write, so that whoever
// stole a writer's credentials can replace nothing. A key that is taken by just
// these bytes is success: the acknowledgement of an earlier try was lost.
func (v *Vault) putOnce(ctx context.Context, key string, body []byte) error {
	_, err := v.cfg.Store.Put(ctx, key, body, store.PutOptions{IfNoneMatch: true})
	if !fault.Has(err, fault.ObjectExists) {
		return err
	}
	same, err := holds(ctx, v.cfg.Store, key, body)
	if err == nil && !same {
		err = fault.Newf(fault.BackupConflict, "write backup", key, "another object lies under this key").
			WithHint("find out who else writes to this store before anything else; nothing was overwritten")
	}
	return err
}

// holds says whether the object under key is body. It reads in small pieces.
func holds(ctx context.Context, s store.Store, key string, body []byte) (bool, error) {
	reader, info, err := s.Get(ctx, key)
	if err != nil {
		return false, err
	}
	defer reader.Close()
	if info.Size != int64(len(body)) {
		return false, nil
	}
	piece := make([]byte, 64<<10)
	for at := 0; at < len(body); {
		n, err := io.ReadFull(reader, piece[:min(len(piece), len(body)-at)])
		if err != nil {
			if fault.KindOf(err) != "" || errors.Is(err, context.Canceled) {
				return false, err
			}
			return false, fault.New(fault.StorageUnavailable, "read object", key, err)
		}
		if !bytes.Equal(piece[:n], body[at:at+n]) {
			return false, nil
		}
		at += n
	}
	return true, nil
}
