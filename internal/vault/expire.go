package vault

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// A finished backup is removed from the primary store in this order: MarkExpired,
// RemoveManifest, RemoveRemains. The mark tells what is left of it from what an
// unfinished backup left, and goes last. Each of the three may be repeated.

// expiredName is the mark's name in a backup's folder. It is never replicated.
const expiredName = "expired"

// expiredMark says, in clear, that a backup's removal was begun.
type expiredMark struct {
	Version int       `json:"version"`
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at"`
}

// MarkExpired notes that the removal of a finished backup begins. As long as its
// manifest is there, the backup is what it was.
func (v *Vault) MarkExpired(ctx context.Context, key, by string) error {
	raw, err := json.Marshal(expiredMark{Version: formatVersion, By: by, At: v.now()})
	if err != nil {
		return fault.New(fault.InputInvalid, "mark", key, err)
	}
	_, err = v.cfg.Store.Put(ctx, markKey(key), raw, store.PutOptions{IfNoneMatch: true})
	if fault.Has(err, fault.ObjectExists) {
		return nil // an earlier run's
	}
	return err
}

// UnmarkExpired takes the mark away again.
func (v *Vault) UnmarkExpired(ctx context.Context, key string) error {
	return v.deleteForGood(ctx, markKey(key))
}

// Marked says whether the removal of a backup was begun in the primary store.
func (v *Vault) Marked(ctx context.Context, key string) (bool, error) {
	return exists(ctx, v.cfg.Store, markKey(key))
}

// Locked says until when the store keeps a backup's manifest from being deleted,
// and whether a legal hold does. A lock that these credentials may not see is none.
func (v *Vault) Locked(ctx context.Context, key string) (until time.Time, legalHold bool, err error) {
	info, err := v.cfg.Store.Head(ctx, manifestKey(key))
	return info.LockedUntil, info.LegalHold, err
}

// RemoveManifest removes every version of a backup's manifest from the primary
// store: from then on there is no such backup in it. StorageDenied: a lock, or the
// bucket's policy.
func (v *Vault) RemoveManifest(ctx context.Context, key string) error {
	return v.deleteForGood(ctx, manifestKey(key))
}

// Remains says what RemoveRemains did.
type Remains struct {
	Objects int64 // removed
	Bytes   int64
	Needed  int64 // kept: other backups name them
}

// removing is how many objects are deleted at once.
const removing = 8

// RemoveRemains removes every version of what is left of a backup without a
// manifest from the primary store, but for the objects that are needed, and the
// intent and the mark as long as there are such. BackupConflict: it has a manifest.
func (v *Vault) RemoveRemains(ctx context.Context, key string, needed func(object string) bool, progress func(bytes int64)) (Remains, error) {
	var r Remains
	there, err := exists(ctx, v.cfg.Store, manifestKey(key))
	if err != nil {
		return r, err
	}
	if there {
		return r, fault.Newf(fault.BackupConflict, "remove remains of", key, "it has a manifest")
	}
	var objects, last []store.Info
	for info, err := range v.cfg.Store.List(ctx, key+"/", store.ListOptions{}) {
		if err != nil {
			return r, err
		}
		switch name := strings.TrimPrefix(info.Key, key+"/"); {
		case name == "intent":
			last = append([]store.Info{info}, last...)
		case name == expiredName:
			last = append(last, info)
		case needed(info.Key):
			r.Needed++
		default:
			objects = append(objects, info)
		}
	}
	var mu sync.Mutex
	remove := func(ctx context.Context, info store.Info) error {
		if err := v.deleteForGood(ctx, info.Key); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		r.Objects++
		r.Bytes += info.Size
		if progress != nil {
			progress(info.Size)
		}
		return nil
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(removing)
	for _, info := range objects {
		group.Go(func() error { return remove(groupCtx, info) })
	}
	if err := group.Wait(); err != nil || r.Needed > 0 {
		return r, err
	}
	for _, info := range last {
		if err := remove(ctx, info); err != nil {
			return r, err
		}
	}
	return r, nil
}

// Writing says why what is left of a backup without a manifest may still have a
// writer; "" when it has none.
func (v *Vault) Writing(ctx context.Context, key string, running func(ctx context.Context, runID string) (bool, error)) (string, error) {
	left, err := v.remains(ctx, key)
	if err != nil {
		return "", err
	}
	if has, err := exists(ctx, v.cfg.Store, key+"/intent"); err != nil || !has {
		return "", err // the intent is the last that goes
	}
	_, why, err := v.alive(ctx, Summary{Key: key}, left, SweepOptions{After: DefaultSweepAfter, Running: running})
	return why, err
}

// RemoveObject removes every version of one object from the primary store.
func (v *Vault) RemoveObject(ctx context.Context, key string) error {
	return v.deleteForGood(ctx, key)
}

func markKey(backup string) string { return backup + "/" + expiredName }

func exists(ctx context.Context, s store.Store, key string) (bool, error) {
	_, err := s.Head(ctx, key)
	if fault.Has(err, fault.ObjectMissing) {
		return false, nil
	}
	return err == nil, err
}
