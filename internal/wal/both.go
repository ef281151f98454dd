package wal

import (
	"context"
	"slices"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/vault"
)

// both lists what lies in either store, for one pin. The replica is asked for
// itself and not only where the primary shows a hole: WAL that is missing from
// the primary's end shows none.
type both struct {
	archive *Archive
	down    map[store.Store]error // stores that failed; a store that swallows requests costs a minute each time
	primary map[string]bool       // keys that the primary lists
}

func (a *Archive) both() *both {
	return &both{archive: a, down: map[store.Store]error{}, primary: map[string]bool{}}
}

// list is a listing, in order; one of the stores must answer.
func (b *both) list(ctx context.Context, prefix string, o store.ListOptions) ([]store.Info, error) {
	primary, replica := b.archive.cfg.Vault.Store(), b.archive.cfg.Vault.Replica()
	infos, err := b.one(ctx, primary, prefix, o)
	for _, info := range infos {
		b.primary[prefix+info.Key] = true
	}
	if replica == nil || ctx.Err() != nil {
		return infos, err
	}
	others, second := b.one(ctx, replica, prefix, o)
	if err != nil && second != nil {
		return nil, err
	}
	infos = append(infos, others...)
	slices.SortFunc(infos, byKey)
	return slices.CompactFunc(infos, func(x, y store.Info) bool { return x.Key == y.Key }), nil
}

func (b *both) one(ctx context.Context, s store.Store, prefix string, o store.ListOptions) ([]store.Info, error) {
	if err := b.down[s]; err != nil {
		return nil, err
	}
	infos, err := listIn(ctx, s, prefix, o)
	if err != nil && ctx.Err() == nil {
		b.down[s] = err
	}
	return infos, err
}

// tell reports, as a fallback, that the pin needs WAL which only the replica has.
func (b *both) tell(pin Pin, first, last uint64) {
	v := b.archive.cfg.Vault
	if v.Replica() == nil || b.down[v.Store()] != nil {
		return // what is read from the replica then is told as it is read
	}
	key, count := "", 0
	for number := first; number <= last; number++ {
		one := b.archive.key(pin.SystemID, pin.At(number).Name(pin.SegmentSize))
		if b.primary[one] {
			continue
		}
		if count++; key == "" {
			key = one
		}
	}
	if count > 0 {
		v.TellFallback(vault.Fallback{
			Key: key, From: v.Store().Name(), To: v.Replica().Name(),
			Reason: fault.Newf(fault.ObjectMissing, "pin WAL", key, "%d segments from here on are in the replica alone", count),
		})
	}
}
