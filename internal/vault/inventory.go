package vault

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// Inventory is all that one store holds of backups: every object below their
// folders is listed, and every manifest opened.
type Inventory struct {
	Store   string
	Backups []Item   // by key, those without a manifest, too
	Unknown []string // folders and objects whose names are not those of backups

	sizes map[string]int64 // of every object, by key
}

// Item is one backup of an inventory.
type Item struct {
	Summary
	Objects int64     // in its folder
	Bytes   int64     // of those
	Newest  time.Time // when the last of them was stored, by the store's clock
	Marked  bool      // its removal was begun: see MarkExpired

	// Of a complete one.
	Ended  time.Time // the later of what its writer's clock said and when the store, by its own, took the manifest
	Root   Manifest  // without objects and extents
	Shares []string  // objects of other backups that it names
	Lacks  string    // the first object or data key that it names and this store does not have; "": it is whole

	etag string // of the manifest
}

// Named takes a backup's key apart; ok is false when it is none. Only what the
// name tells is in the summary.
func Named(key string) (Summary, bool) { return parseKey(cleanKey(key)) }

// Size is the length of an object of a backup; false when the store does not have it.
func (i *Inventory) Size(key string) (int64, bool) {
	size, there := i.sizes[key]
	return size, there
}

// Find gives a backup by its key; nil: the store has nothing of it.
func (i *Inventory) Find(key string) *Item {
	at, found := slices.BinarySearchFunc(i.Backups, key, func(b Item, key string) int { return strings.Compare(b.Key, key) })
	if !found {
		return nil
	}
	return &i.Backups[at]
}

// opening is how many manifests are opened at once.
const opening = 8

// Inventory lists and opens the backups of the primary store, and of no other.
// What can't be listed or opened is the error: an inventory is whole or it is none.
// before, which may be nil, is an earlier one of the same store, whose manifests
// are not opened again while they are the same.
func (v *Vault) Inventory(ctx context.Context, before *Inventory) (*Inventory, error) {
	v = v.WithStores(v.cfg.Store, nil)
	if err := v.recognize(ctx); err != nil {
		return nil, err
	}
	found := &Inventory{Store: v.cfg.Store.Name(), sizes: map[string]int64{}}
	items := map[string]*Item{}
	for _, folder := range (Filter{}).folders() {
		if err := v.listWhole(ctx, folder+"/", found, items); err != nil {
			return nil, err
		}
	}
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(opening)
	for _, item := range items {
		if !item.Complete {
			continue
		}
		if before != nil {
			if same := before.Find(item.Key); same != nil && same.etag != "" && same.etag == item.etag && same.Complete {
				item.Root, item.Shares, item.Lacks, item.Ended = same.Root, same.Shares, same.Lacks, same.Ended
				continue
			}
		}
		group.Go(func() error {
			opened, err := v.readManifest(groupCtx, item.Key)
			if err != nil {
				return err
			}
			lacks, err := v.lackingKey(groupCtx, opened)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			item.fill(opened, lacks, found.sizes)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(items)) {
		found.Backups = append(found.Backups, *items[key])
	}
	return found, nil
}

// listWhole notes every object of a folder, by backup.
func (v *Vault) listWhole(ctx context.Context, folder string, found *Inventory, items map[string]*Item) error {
	for info, err := range v.cfg.Store.List(ctx, folder, store.ListOptions{}) {
		if err != nil {
			return err
		}
		found.sizes[info.Key] = info.Size
		parts := strings.SplitN(info.Key, "/", 6)
		summary, ok := parseKey(strings.Join(parts[:min(5, len(parts))], "/"))
		if !ok || len(parts) < 6 {
			if strings.HasSuffix(info.Key, "/manifest") {
				return fault.Newf(fault.FormatUnsupported, "take inventory of", info.Key, "it is the manifest of something whose name is not that of a backup")
			}
			found.Unknown = append(found.Unknown, info.Key)
			continue
		}
		item := items[summary.Key]
		if item == nil {
			summary.Store = found.Store
			item = &Item{Summary: summary}
			items[summary.Key] = item
		}
		item.Objects++
		item.Bytes += info.Size
		if info.Modified.After(item.Newest) {
			item.Newest = info.Modified.UTC()
		}
		switch parts[5] {
		case "manifest":
			item.Complete, item.GivenUp = info.Size >= tombstoneBelow, info.Size < tombstoneBelow
			item.etag, item.Ended = info.ETag, info.Modified.UTC()
		case expiredName:
			item.Marked = true
		}
	}
	return nil
}

// fill takes what is of interest here out of a manifest.
func (i *Item) fill(m *Manifest, lacks string, sizes map[string]int64) {
	if m.Finished.After(i.Ended) {
		i.Ended = m.Finished.UTC()
	}
	i.Lacks = lacks
	for _, named := range [][]Object{m.Tables, m.Objects} {
		for n := range named {
			key := named[n].Key
			if size, there := sizes[key]; i.Lacks == "" && (!there || size != named[n].Length) {
				i.Lacks = key
			}
			if !strings.HasPrefix(key, i.Key+"/") {
				i.Shares = append(i.Shares, key)
			}
		}
	}
	i.Root = *m
	i.Root.Objects, i.Root.Tables, i.Root.Streams = nil, nil, nil
}

// lackingKey gives the folder of the first data key of a foreign object that the
// store does not have, or "". The manifest's own has opened it.
func (v *Vault) lackingKey(ctx context.Context, m *Manifest) (string, error) {
	tried := map[string]bool{m.KeyID: true}
	for n := range m.Objects {
		id := m.Objects[n].KeyID
		if tried[id] {
			continue
		}
		tried[id] = true
		there, err := filled(ctx, v.cfg.Store, "keys/"+id+"/")
		if err != nil {
			return "", err
		}
		if !there {
			return "keys/" + id + "/", nil
		}
	}
	return "", nil
}
