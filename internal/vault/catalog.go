package vault

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// Summary is what a backup's name and place say of it. Nothing is opened for it.
type Summary struct {
	Key       string
	Folder    string
	Component string
	Kind      string
	At        time.Time
	Complete  bool   // it has a manifest
	Store     string // name of the store that was asked; the one with the manifest when it is complete
}

// Filter narrows a listing. Empty fields let everything through.
type Filter struct {
	Folder    string
	Component string
}

func (f Filter) folders() []string {
	if f.Folder != "" {
		return []string{f.Folder}
	}
	return slices.Sorted(maps.Keys(words()))
}

// Backups lists the backups of both stores, each once, newest first. A store
// that can't be reached is passed over while the other one answers.
func (v *Vault) Backups(ctx context.Context, f Filter) iter.Seq2[Summary, error] {
	return func(yield func(Summary, error) bool) {
		found, err := v.list(ctx, f, false)
		if err != nil {
			yield(Summary{}, err)
			return
		}
		for _, s := range found {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// Latest gives the newest complete backup. BackupUnknown: there is none.
func (v *Vault) Latest(ctx context.Context, f Filter) (Summary, error) {
	found, err := v.list(ctx, f, true)
	if err != nil {
		return Summary{}, err
	}
	for _, s := range found {
		if s.Complete {
			return s, nil
		}
	}
	return Summary{}, fault.Newf(fault.BackupUnknown, "find newest backup", strings.Trim(f.Folder+"/"+f.Component, "/"), "there is no complete one")
}

// list merges what both stores have. With latest, each store is read only as
// far back as its newest complete backup of each folder.
func (v *Vault) list(ctx context.Context, f Filter, latest bool) ([]Summary, error) {
	if err := v.recognize(ctx); err != nil {
		return nil, err
	}
	stores := []store.Store{v.cfg.Store}
	if v.cfg.Replica != nil {
		stores = append(stores, v.cfg.Replica)
	}
	merged := map[string]Summary{}
	var failed attempts
	for _, s := range stores {
		found, err := listStore(ctx, s, f, latest)
		if err != nil {
			if ctx.Err() != nil || !elsewhere(err) {
				return nil, err
			}
			v.note(s, err)
			failed = append(failed, attempt{s, err})
			continue
		}
		for _, one := range found {
			if have, ok := merged[one.Key]; !ok || (one.Complete && !have.Complete) {
				merged[one.Key] = one
			}
		}
	}
	if len(failed) == len(stores) {
		return nil, failed.fault(strings.Join(f.folders(), ", "))
	}
	return slices.SortedFunc(maps.Values(merged), func(a, b Summary) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Key, b.Key))
	}), nil
}

func listStore(ctx context.Context, s store.Store, f Filter, latest bool) ([]Summary, error) {
	var found []Summary
	for _, folder := range f.folders() {
		here, err := listFolder(ctx, s, folder+"/", 3, f, latest)
		if err != nil {
			return nil, err
		}
		found = append(found, here...)
	}
	return found, nil
}

// listFolder walks years, months and days, newest first.
func listFolder(ctx context.Context, s store.Store, prefix string, depth int, f Filter, latest bool) ([]Summary, error) {
	var below []string
	for info, err := range s.List(ctx, prefix, store.ListOptions{Delimiter: "/"}) {
		if err != nil {
			return nil, err
		}
		if info.IsPrefix {
			below = append(below, info.Key)
		}
	}
	slices.Reverse(below)
	var found []Summary
	if depth == 0 {
		for _, key := range below {
			one, ok := parseKey(strings.TrimSuffix(key, "/"))
			if !ok || (f.Component != "" && one.Component != f.Component) {
				continue
			}
			info, err := s.Head(ctx, manifestKey(one.Key))
			if err != nil && !fault.Has(err, fault.ObjectMissing) {
				return nil, err
			}
			one.Complete = err == nil && info.Size >= tombstoneBelow
			one.Store = s.Name()
			found = append(found, one)
			if latest && f.Component != "" && one.Complete {
				return found, nil // the day's other backups of the component are older
			}
		}
		return found, nil
	}
	for _, key := range below {
		here, err := listFolder(ctx, s, key, depth-1, f, latest)
		if err != nil {
			return nil, err
		}
		found = append(found, here...)
		if latest && slices.ContainsFunc(here, func(one Summary) bool { return one.Complete }) {
			return found, nil
		}
	}
	return found, nil
}
