package vault

import (
	"context"
	"io"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
)

// maxSmall bounds the clear objects that are read whole: slots, intents, format.json.
const maxSmall = 1 << 20

// storeSlots keeps key slots in a store.
type storeSlots struct{ store store.Store }

var _ keys.Slots = storeSlots{}

func (s storeSlots) PutSlot(ctx context.Context, keyID, slot string, body []byte) error {
	_, err := s.store.Put(ctx, "keys/"+keyID+"/"+slot, body, store.PutOptions{IfNoneMatch: true})
	return err
}

func (s storeSlots) GetSlot(ctx context.Context, keyID, slot string) ([]byte, error) {
	return readSmall(ctx, s.store, "keys/"+keyID+"/"+slot)
}

// readSmall reads a clear object whole.
func readSmall(ctx context.Context, s store.Store, key string) ([]byte, error) {
	body, info, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }() // only read from
	if info.Size > maxSmall {
		return nil, fault.Newf(fault.IntegrityError, "read", key, "%d bytes are too many for what it should be", info.Size)
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxSmall+1))
	if err != nil && fault.KindOf(err) == "" {
		return nil, fault.New(fault.StorageUnavailable, "read", key, err)
	}
	if err == nil && int64(len(raw)) != info.Size {
		return nil, fault.New(fault.StorageUnavailable, "read", key, io.ErrUnexpectedEOF)
	}
	return raw, err
}
