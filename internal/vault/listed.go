package vault

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// Listing holds backups against what the primary store lists: proof level L0. Folders
// are listed once, however many backups name objects in them. It is for one
// goroutine, and for a look that is over soon.
type Listing struct {
	vault *Vault // over the one store
	sizes map[string]map[string]int64
}

// NewListing begins a look at the primary store. The replica never steps in: to look
// at that one, list WithStores of it.
func (v *Vault) NewListing() *Listing {
	return &Listing{vault: v.WithStores(v.cfg.Store, nil), sizes: map[string]map[string]int64{}}
}

// Listed is what the store tells of a backup without a byte of its data being read.
type Listed struct {
	Objects     int64
	Bytes       int64 // as stored
	Finished    time.Time
	LockedUntil time.Time // of the manifest; zero: it is not locked, or these credentials may not see that
	LegalHold   bool      // of the manifest
}

// Look finds every object that a backup needs, of the length that its manifest
// says. BackupIncomplete: something is missing, and how much. IntegrityError:
// something has another length. ObjectMissing: the manifest is gone, as the backup's retention
// is over.
func (l *Listing) Look(ctx context.Context, key string) (Listed, error) {
	v := l.vault
	root, err := v.cfg.Store.Head(ctx, manifestKey(key))
	if err != nil {
		return Listed{}, err
	}
	m, err := v.readRoot(ctx, key, true)
	if why, ok := errors.AsType[*lacking](err); ok {
		return Listed{}, v.incomplete(key, why)
	}
	if err == nil {
		err = v.moveIn(ctx, m)
	}
	if err != nil {
		return Listed{}, err
	}
	found := Listed{Objects: 1, Bytes: root.Size, Finished: m.Finished, LockedUntil: root.LockedUntil, LegalHold: root.LegalHold}
	needed := map[int]bool{}
	for _, s := range m.Streams {
		for _, e := range s.Extents {
			needed[e.Object] = true
		}
	}
	objects := m.Tables
	for i, o := range m.Objects {
		if needed[i] {
			objects = append(objects, o)
		}
	}
	missing := lacking{of: len(objects)}
	for i := range objects {
		o := &objects[i]
		size, there, err := l.size(ctx, o.Key)
		if err != nil {
			return Listed{}, err
		}
		switch {
		case !there && missing.count == 0:
			missing.object, missing.count = o.Key, 1
		case !there:
			missing.count++
		case size != o.Length:
			return Listed{}, fault.New(fault.IntegrityError, "list", o.Key, fmt.Errorf("it has %d bytes, and %d were stored", size, o.Length))
		}
		found.Objects++
		found.Bytes += size
	}
	if missing.count == 0 {
		return found, nil
	}
	if _, err := v.cfg.Store.Head(ctx, manifestKey(key)); err != nil {
		return Listed{}, err // it was removed meanwhile
	}
	return Listed{}, v.incomplete(key, &missing)
}

func (v *Vault) incomplete(key string, why *lacking) error {
	return fault.New(fault.BackupIncomplete, "list", key, why).
		WithHint("a recovery takes it from the other store, or the backup before it; find out what removes objects from %s, and take a new backup", v.cfg.Store.Name())
}

// size is how long an object is, as a listing of its folder says.
func (l *Listing) size(ctx context.Context, key string) (size int64, there bool, err error) {
	folder := path.Dir(key) + "/"
	if l.sizes[folder] == nil {
		sizes := map[string]int64{}
		for info, err := range l.vault.cfg.Store.List(ctx, folder, store.ListOptions{}) {
			if err != nil {
				return 0, false, err
			}
			sizes[info.Key] = info.Size
		}
		l.sizes[folder] = sizes
	}
	size, there = l.sizes[folder][key]
	return size, there, nil
}
