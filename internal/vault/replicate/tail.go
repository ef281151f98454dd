package replicate

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/store"
)

// overlap is how many keys behind the newest one a folder is looked at again:
// those who archive in parallel may store a few segments out of their order.
const overlap = 64

// tail sees what is new in a store without listing all of it: the ends of the
// WAL's and the ledger's folders, and the backups of these days.
type tail struct {
	*copying
	recent map[string][]string // folder: its newest keys, oldest first
	whole  map[string]bool     // backups whose manifest is in the replica
	late   map[string]bool     // backups that are looked at however long ago they began: they had no manifest
}

func newTail(r *copying) *tail {
	return &tail{copying: r, recent: map[string][]string{}, whole: map[string]bool{}, late: r.unfinished}
}

// pass copies what is new since the last one.
func (t *tail) pass(ctx context.Context) error {
	var ordered []store.Info
	folders, err := t.folders(ctx)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		lacking, err := t.end(ctx, folder)
		if err != nil {
			return err
		}
		ordered = append(ordered, lacking...)
	}
	backups, err := t.backups(ctx)
	if err != nil {
		return err
	}
	var lacking []part
	for _, backup := range backups {
		one := part{backup: backup}
		// The manifest is looked for first: whatever it names is in the listing after it.
		_, err := t.From.Head(ctx, backup+"manifest")
		one.complete = err == nil
		if !one.complete {
			if _, err := t.From.Head(ctx, backup+"expired"); err == nil { // what is left of one that was removed
				delete(t.late, backup)
				t.whole[backup] = true
				continue
			}
			t.late[backup] = true
		}
		err = t.compare(ctx, backup, "", func(string) bool { return true }, func(info store.Info) {
			switch {
			case !isManifest(info.Key):
				one.loose = append(one.loose, info)
			case one.complete:
				one.manifest = append(one.manifest, info)
			}
		})
		if err != nil {
			return err
		}
		if one.complete || len(one.loose) > 0 { // of a complete one it is then known that it is whole
			lacking = append(lacking, one)
		}
	}
	if len(ordered)+len(lacking) == 0 {
		return nil
	}
	// Whatever is new may be sealed under a new key, which goes first.
	var keys []store.Info
	if err := t.compare(ctx, "keys/", "", func(string) bool { return true }, func(info store.Info) { keys = append(keys, info) }); err != nil {
		return err
	}
	if err := t.inOrder(ctx, keys, ordered, nil); err != nil {
		return err
	}
	// Small ones do not wait until a large one is whole there. In a folder the order
	// is that of age, for a manifest may name objects of an earlier backup.
	bytes := map[string]int64{}
	for _, one := range lacking {
		bytes[one.folder()] += one.size()
	}
	slices.SortStableFunc(lacking, func(a, b part) int {
		return cmp.Or(cmp.Compare(bytes[a.folder()], bytes[b.folder()]), cmp.Compare(a.folder(), b.folder()))
	})
	for _, one := range lacking {
		if err := t.inOrder(ctx, one.loose, nil, one.manifest); err != nil {
			return err
		}
		if one.complete {
			t.whole[one.backup] = true
			delete(t.late, one.backup)
		}
	}
	return nil
}

// part is what the replica lacks of a backup.
type part struct {
	backup          string
	complete        bool // it has its manifest in the source
	loose, manifest []store.Info
}

func (p part) folder() string {
	folder, _, _ := strings.Cut(p.backup, "/")
	return folder
}

func (p part) size() (bytes int64) {
	for _, info := range p.loose {
		bytes += info.Size
	}
	return bytes
}

// folders lists those whose keys sort by age: of the WAL's timelines and
// incarnations, and of the ledger's writers.
func (t *tail) folders(ctx context.Context) ([]string, error) {
	found, err := t.below(ctx, "ledger/", 1)
	if err != nil {
		return nil, err
	}
	archives, err := t.below(ctx, "wal/", 3) // cluster, system identifier, timeline
	return append(archives, found...), err
}

// below lists the folders that lie some levels below a prefix.
func (t *tail) below(ctx context.Context, prefix string, levels int) ([]string, error) {
	if levels == 0 {
		return []string{prefix}, nil
	}
	var found []string
	for info, err := range t.From.List(ctx, prefix, store.ListOptions{Delimiter: "/"}) {
		if err != nil {
			return nil, err
		}
		if !info.IsPrefix {
			continue
		}
		deeper, err := t.below(ctx, info.Key, levels-1)
		if err != nil {
			return nil, err
		}
		found = append(found, deeper...)
	}
	return found, nil
}

// end gives what the replica lacks at the end of a folder.
func (t *tail) end(ctx context.Context, folder string) ([]store.Info, error) {
	known := t.recent[folder]
	after := ""
	if len(known) > 0 {
		after = known[0]
	}
	newest := append([]string{}, known[:min(1, len(known))]...)
	var lacking []store.Info
	err := join(ctx, t.From, t.To, folder, after, func(info, there store.Info, present bool) error {
		newest = append(newest, info.Key)
		if len(newest) > overlap {
			newest = newest[1:]
		}
		switch {
		case !present:
			lacking = append(lacking, info)
		case there.Size != info.Size:
			return t.conflict(info.Key)
		}
		return nil
	})
	t.recent[folder] = newest
	return lacking, err
}

// backups lists those of today and yesterday that are not known to be whole, and
// before them those that began earlier and have not been finished: once they are, newer
// ones may be made of their objects.
func (t *tail) backups(ctx context.Context) ([]string, error) {
	found := slices.Sorted(maps.Keys(t.late))
	for _, kind := range []string{"config-backups/", "database-backups/", "file-backups/", "redis-backups/"} {
		for _, age := range []time.Duration{24 * time.Hour, 0} {
			day := kind + t.Now().Add(-age).UTC().Format("2006/01/02") + "/"
			there, err := t.below(ctx, day, 1)
			if err != nil {
				return nil, err
			}
			for _, backup := range there {
				if !t.whole[backup] && !t.late[backup] && strings.Count(backup, "/") == 5 {
					found = append(found, backup)
				}
			}
		}
	}
	return found, nil
}
