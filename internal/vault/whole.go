package vault

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// Incomplete is a backup whose manifest is there, and something that it needs is
// in no store that answers: a bucket that replicates by itself copies in any order.
// One that a verification found damaged is told the same way.
type Incomplete struct {
	Backup string // its key
	Why    string // what it lacks, or what is damaged
}

// lacking is why a backup with a manifest can't be used.
type lacking struct {
	object string // the first that is missing; a folder when all of it is
	count  int
	of     int
	silent []string // stores that did not answer
}

func (l *lacking) Error() string {
	told := "no store that answers has " + l.object
	if l.count > 1 {
		told += fmt.Sprintf(", nor %d more of the %d objects that it needs", l.count-1, l.of)
	}
	if len(l.silent) > 0 {
		told += "; no answer from " + strings.Join(l.silent, ", ")
	}
	return told
}

// OpenWhole is Open, and makes sure by listing, with no byte of them read, that
// everything the backup needs is in one of the stores. BackupIncomplete names
// what is not. A store that can't be reached is taken to have nothing.
func (v *Vault) OpenWhole(ctx context.Context, key string) (*Backup, error) {
	backup, err := v.open(ctx, key, v.hold)
	if why, ok := errors.AsType[*lacking](err); ok {
		return nil, fault.New(fault.BackupIncomplete, "open backup", cleanKey(key), why).
			WithHint("a part of it was never copied or is gone: choose another from: lifeboat backups list, or have the store answer that holds it")
	}
	return backup, err
}

// hold refuses a backup that names an object which is nowhere.
func (v *Vault) hold(ctx context.Context, needed []string) error {
	missing, silent, err := v.nowhere(ctx, needed)
	if err != nil || len(missing) == 0 {
		return err
	}
	return &lacking{object: missing[0], count: len(missing), of: len(needed), silent: silent}
}

// nowhere gives which of the objects are in no store that answers, and those that
// did not. The second store is asked only for what the first one lacks.
func (v *Vault) nowhere(ctx context.Context, needed []string) (missing, silent []string, err error) {
	missing = needed
	var failed attempts
	sources := v.sources()
	for _, s := range sources {
		if len(missing) == 0 {
			return nil, nil, nil
		}
		there, err := among(ctx, s, missing)
		switch {
		case ctx.Err() != nil:
			return nil, nil, context.Cause(ctx)
		case err == nil:
			missing = slices.DeleteFunc(slices.Clone(missing), func(key string) bool { return there[key] })
		case !elsewhere(err):
			return nil, nil, err
		default:
			v.note(s, err)
			failed, silent = append(failed, attempt{s, err}), append(silent, s.Name())
		}
	}
	if len(failed) == len(sources) {
		return nil, nil, failed.fault(path.Dir(needed[0]))
	}
	return missing, silent, nil
}

// among lists the folders of the objects, and tells which of them are there.
func among(ctx context.Context, s store.Store, keys []string) (map[string]bool, error) {
	listed, there := map[string]bool{}, map[string]bool{}
	for _, key := range keys {
		folder := path.Dir(key) + "/"
		if listed[folder] {
			continue
		}
		listed[folder] = true
		for info, err := range s.List(ctx, folder, store.ListOptions{}) {
			if err != nil {
				return nil, err
			}
			there[info.Key] = true
		}
	}
	return there, nil
}

// keyless says, with the folder of its copies, that a data key is in no store
// that answers; other reasons why it did not open are left as they are.
func (v *Vault) keyless(ctx context.Context, id string, failed error) error {
	if !fault.Has(failed, fault.KeyUnavailable) && !unreachable(failed) {
		return failed
	}
	folder, sources := "keys/"+id+"/", v.sources()
	var silent []string
	for _, s := range sources {
		some, err := filled(ctx, s, folder)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case some:
			return failed
		case err != nil:
			silent = append(silent, s.Name())
		}
	}
	if len(silent) == len(sources) {
		return failed
	}
	return &lacking{object: folder, count: 1, of: 1, silent: silent}
}

// holdKeys refuses a backup of which a data key is nowhere: those of objects of
// earlier backups, as the manifest's own has opened it.
func (v *Vault) holdKeys(ctx context.Context, m *Manifest) error {
	asked := map[string]bool{m.KeyID: true}
	for i := range m.Objects {
		id := m.Objects[i].KeyID
		if asked[id] {
			continue
		}
		asked[id] = true
		err := v.keyless(ctx, id, fault.New(fault.KeyUnavailable, "open", "keys/"+id+"/", nil))
		if _, nowhere := errors.AsType[*lacking](err); nowhere || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// filled says whether anything lies in a folder.
func filled(ctx context.Context, s store.Store, folder string) (bool, error) {
	for _, err := range s.List(ctx, folder, store.ListOptions{}) {
		return err == nil, err
	}
	return false, nil
}

// keysOf names the objects that streams are read from.
func (m *Manifest) keysOf() []string {
	needed := map[int]bool{}
	for _, s := range m.Streams {
		for _, e := range s.Extents {
			needed[e.Object] = true
		}
	}
	var names []string
	for i := range m.Objects {
		if needed[i] {
			names = append(names, m.Objects[i].Key)
		}
	}
	return names
}

// tablesOf names the objects that the manifest goes on in.
func (m *Manifest) tablesOf() []string {
	var names []string
	for i := range m.Tables {
		names = append(names, m.Tables[i].Key)
	}
	return names
}
