package vault

import (
	"cmp"
	"context"
	"errors"
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
	GivenUp   bool   // a tombstone has the manifest's place: nothing of it can be used, or will be
	Expired   bool   // its manifest was removed after its retention; what is left goes, too, or is needed by others
	Replica   Copy   // whether the replica has its manifest; told by Backups alone
	Store     string // name of the store that was asked; the one with the manifest when it is complete
}

// Copy says whether a store holds a backup's manifest.
type Copy string

// What is known of a copy. With a replica that Lifeboat fills, a manifest there
// means that the whole backup is.
const (
	CopyUnknown Copy = "" // the store did not answer, or there is none
	CopyThere   Copy = "yes"
	CopyMissing Copy = "no"
)

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
		found, err := v.list(ctx, f, nil)
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

// Latest gives the newest complete backup. BackupUnknown: there is none. A name
// that is dated in the future is passed over: no run of ours gave it. A dump is never
// the newest, here and in what follows: no WAL leads on from it, so it is restored only
// when it is named.
func (v *Vault) Latest(ctx context.Context, f Filter) (Summary, error) {
	found, _, err := v.complete(ctx, f, v.usable)
	if err != nil {
		return Summary{}, err
	}
	return found[0], nil
}

// Opened is a backup that was chosen by its age.
type Opened struct {
	*Backup
	At         time.Time    // when it began, as its name says; zero when it was not chosen by its age
	PassedOver []string     // keys of complete backups that are dated in the future
	Incomplete []Incomplete // newer ones of which something is in no store, or that a verification found damaged
}

// OpenLatest opens the newest backup that is whole and sound: what Latest gives, or
// one before it when something of that is in no store that answers, or a verification
// found it damaged. BackupIncomplete, VerificationFailed: none is. When a manifest is damaged, planted, or sealed with another key, the
// hint names the newest backup before it that opens: which one is trusted instead is
// a person's choice.
func (v *Vault) OpenLatest(ctx context.Context, f Filter) (Opened, error) {
	found, passed, err := v.complete(ctx, f, v.usable)
	if err != nil {
		return Opened{}, err
	}
	return v.openFirst(ctx, f, Opened{PassedOver: passed}, found, nil)
}

// OpenNewest opens the newest whole backup that suits, as OpenLatest does, among
// those that began before a time; a zero time is the end of time. suits is given
// manifests, from the newest on; what it does not take is no fault of theirs and is
// not told. BackupUnknown: none suits.
func (v *Vault) OpenNewest(ctx context.Context, f Filter, before time.Time, suits func(*Manifest) (bool, error)) (Opened, error) {
	found, passed, err := v.complete(ctx, f, nil)
	if err != nil {
		return Opened{}, err
	}
	if !before.IsZero() {
		found = slices.DeleteFunc(found, func(s Summary) bool { return !s.At.Before(before) })
	}
	return v.openFirst(ctx, f, Opened{PassedOver: passed}, found, suits)
}

// openFirst opens the first backup that suits and is whole. With suits, all that
// there are were found; without, those behind the newest one are found when they are needed.
func (v *Vault) openFirst(ctx context.Context, f Filter, opened Opened, found []Summary, suits func(*Manifest) (bool, error)) (Opened, error) {
	var first *fault.Error // of the newest one
	for i := 0; i < len(found); i++ {
		backup, err := v.openSuitable(ctx, found[i].Key, suits)
		if err == nil && backup == nil {
			continue
		}
		if err == nil {
			opened.Backup, opened.At = backup, found[i].At
			return opened, nil
		}
		why, passable := whyPassed(err)
		if !passable {
			return Opened{}, v.advise(ctx, f, found[i], err)
		}
		opened.Incomplete = append(opened.Incomplete, Incomplete{Backup: found[i].Key, Why: why})
		if first != nil {
			continue
		}
		first, _ = errors.AsType[*fault.Error](err)
		if suits == nil { // the listing ended with the newest; now the others are of interest
			if found, err = v.from(ctx, f, found[i]); err != nil {
				return Opened{}, err
			}
		}
	}
	if first == nil {
		return Opened{}, fault.Newf(fault.BackupUnknown, "find backup", strings.Trim(f.Folder+"/"+f.Component, "/"), "none of the %d complete ones is old enough and leads there", len(found))
	}
	if first.Kind == fault.VerificationFailed {
		return Opened{}, first.WithHint("none of the %d backups up to it is whole and sound; %s", len(found), first.Hint)
	}
	return Opened{}, first.WithHint("none of the %d backups up to it is whole in the stores that answer: have the store answer that holds the rest", len(found))
}

// whyPassed says why a backup is passed over for one before it: something of it is
// nowhere, or a verification found it damaged. Nothing else is passed over.
func whyPassed(err error) (why string, ok bool) {
	if found, ok := errors.AsType[*lacking](err); ok {
		return found.Error(), true
	}
	if found, ok := errors.AsType[*damaged](err); ok {
		return found.Error(), true
	}
	return "", false
}

// openSuitable opens a backup of which all is there and which no verification found
// damaged; nil: it does not suit.
func (v *Vault) openSuitable(ctx context.Context, key string, suits func(*Manifest) (bool, error)) (*Backup, error) {
	if suits != nil {
		backup, err := v.Open(ctx, key)
		if err != nil {
			backup, err = v.OpenWhole(ctx, key) // which says whether that is because something is nowhere
		}
		if err != nil {
			return nil, err
		}
		if ok, err := suits(backup.Manifest()); err != nil || !ok {
			return nil, err
		}
	}
	backup, err := v.OpenWhole(ctx, key)
	if err != nil {
		return nil, err
	}
	return backup, backup.Sound(ctx)
}

// from lists the usable backups from this one on, newest first.
func (v *Vault) from(ctx context.Context, f Filter, newest Summary) ([]Summary, error) {
	found, _, err := v.complete(ctx, f, nil)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(found, func(s Summary) bool { return s.Key == newest.Key })
	return found[max(0, at):], nil
}

// advise adds to what is wrong with a backup that was chosen by its age which
// one may be taken instead.
func (v *Vault) advise(ctx context.Context, f Filter, chosen Summary, err error) error {
	failed, ok := errors.AsType[*fault.Error](err)
	if !ok || unreachable(err) {
		return err
	}
	hint := failed.Hint
	if failed.Kind == fault.IntegrityError {
		hint = "find out who can write to the bucket"
	}
	if older := v.olderThan(ctx, f, chosen); older != "" {
		return failed.WithHint("%s; the newest backup before it that opens is taken with: --to backup:%s", hint, older)
	}
	return failed.WithHint("%s; none of the backups before it opens", hint)
}

// mostOlder bounds how many backups are looked at for one that opens.
const mostOlder = 10

// olderThan gives the key of the newest backup before one that opens, or "".
func (v *Vault) olderThan(ctx context.Context, f Filter, newest Summary) string {
	found, _, err := v.complete(ctx, f, nil)
	if err != nil {
		return "" // the hint knows less, and what is wrong is told already
	}
	tried := 0
	for _, one := range found {
		if one.Key == newest.Key || one.At.After(newest.At) {
			continue
		}
		if _, err := v.openSuitable(ctx, one.Key, nil); err == nil {
			return one.Key
		}
		if tried++; tried == mostOlder {
			break
		}
	}
	return ""
}

// aheadOfTime is how far the clock of the host that took a backup may be ahead.
const aheadOfTime = 24 * time.Hour

// usable says whether a backup may be taken for the newest.
func (v *Vault) usable(s Summary) bool {
	return s.Complete && !IsDump(s.Kind) && !s.At.After(v.cfg.Now().Add(aheadOfTime))
}

// complete lists the usable backups, newest first and at least one, and the keys
// of those that are passed over.
func (v *Vault) complete(ctx context.Context, f Filter, until func(Summary) bool) (usable []Summary, passed []string, err error) {
	all, err := v.list(ctx, f, until)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range all {
		switch {
		case v.usable(s):
			usable = append(usable, s)
		case IsDump(s.Kind):
		case s.Complete:
			passed = append(passed, s.Key)
		}
	}
	if len(usable) > 0 {
		return usable, passed, nil
	}
	missing := fault.Newf(fault.BackupUnknown, "find newest backup", strings.Trim(f.Folder+"/"+f.Component, "/"), "there is no complete one")
	if len(passed) > 0 {
		return nil, passed, missing.WithHint("%s is dated in the future and was passed over: look at this host's clock, and at who can write to the bucket", passed[0])
	}
	return nil, nil, missing
}

// list merges what both stores have. With until, each store is read only as far
// back as the newest backup of each folder that it is true of.
func (v *Vault) list(ctx context.Context, f Filter, until func(Summary) bool) ([]Summary, error) {
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
		found, err := listStore(ctx, s, f, until)
		if err != nil {
			if ctx.Err() != nil || !elsewhere(err) {
				return nil, err
			}
			v.note(s, err)
			failed = append(failed, attempt{s, err})
			continue
		}
		copied := map[string]Copy{}
		for _, one := range found {
			if one.Complete {
				copied[one.Key] = CopyThere
			}
			if have, ok := merged[one.Key]; !ok || (one.Complete && !have.Complete) {
				merged[one.Key] = one
			}
		}
		if s != v.cfg.Replica {
			continue
		}
		for key, one := range merged {
			one.Replica = cmp.Or(copied[key], CopyMissing)
			merged[key] = one
		}
	}
	if len(failed) == len(stores) {
		return nil, failed.fault(strings.Join(f.folders(), ", "))
	}
	return slices.SortedFunc(maps.Values(merged), func(a, b Summary) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Key, b.Key))
	}), nil
}

func listStore(ctx context.Context, s store.Store, f Filter, until func(Summary) bool) ([]Summary, error) {
	var found []Summary
	for _, folder := range f.folders() {
		here, err := listFolder(ctx, s, folder+"/", 3, f, until)
		if err != nil {
			return nil, err
		}
		found = append(found, here...)
	}
	return found, nil
}

// listFolder walks years, months and days, newest first.
func listFolder(ctx context.Context, s store.Store, prefix string, depth int, f Filter, until func(Summary) bool) ([]Summary, error) {
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
			one.GivenUp = err == nil && !one.Complete
			if err != nil {
				if one.Expired, err = exists(ctx, s, markKey(one.Key)); err != nil {
					return nil, err
				}
			}
			one.Store = s.Name()
			found = append(found, one)
			if until != nil && f.Component != "" && until(one) {
				return found, nil // the day's other backups of the component are older
			}
		}
		return found, nil
	}
	for _, key := range below {
		here, err := listFolder(ctx, s, key, depth-1, f, until)
		if err != nil {
			return nil, err
		}
		found = append(found, here...)
		if until != nil && slices.ContainsFunc(here, until) {
			return found, nil
		}
	}
	return found, nil
}
