package vault

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// primaryRest is how long the replica goes first after the primary store could
// not be reached, so that a lost region is not asked again for each object.
const primaryRest = 30 * time.Second

// health remembers when the primary store failed.
type health struct{ restUntil atomic.Int64 }

func (h *health) failed(now time.Time) { h.restUntil.Store(now.Add(primaryRest).UnixNano()) }

func (h *health) resting(now time.Time) bool { return now.UnixNano() < h.restUntil.Load() }

// sources are the stores in the order in which to read.
func (v *Vault) sources() []store.Store {
	switch {
	case v.cfg.Replica == nil:
		return []store.Store{v.cfg.Store}
	case v.health.resting(v.cfg.Now()):
		return []store.Store{v.cfg.Replica, v.cfg.Store}
	default:
		return []store.Store{v.cfg.Store, v.cfg.Replica}
	}
}

// elsewhere says whether another store may do what this one failed at.
func elsewhere(err error) bool {
	switch fault.KindOf(err) {
	case fault.ObjectMissing, fault.StorageUnavailable, fault.StorageDenied, fault.StorageMissing, fault.IntegrityError, fault.KeyUnavailable:
		return true
	}
	return false
}

// unreachable says whether the store as a whole failed, not this object.
func unreachable(err error) bool {
	kind := fault.KindOf(err)
	return kind == fault.StorageUnavailable || kind == fault.StorageMissing || kind == fault.StorageDenied
}

// eachStore does the reading of one object in one store after the other until
// it succeeds, and reports when it was not the primary that did.
func (v *Vault) eachStore(ctx context.Context, key string, read func(store.Store) error) error {
	var failed attempts
	for _, s := range v.sources() {
		err := read(s)
		if err == nil {
			v.report(key, s, failed)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !elsewhere(err) {
			return err
		}
		v.note(s, err)
		failed = append(failed, attempt{s, err})
	}
	return failed.fault(key)
}

// note remembers that the primary is out of reach.
func (v *Vault) note(s store.Store, err error) {
	if s == v.cfg.Store && unreachable(err) {
		v.health.failed(v.cfg.Now())
	}
}

// report tells of a fallback: to any store after a failure, or straight to the
// replica while the primary rests.
func (v *Vault) report(key string, used store.Store, failed attempts) {
	if used == v.cfg.Store {
		return
	}
	reason := error(fault.Newf(fault.StorageUnavailable, "read", key, "%s failed moments ago", v.cfg.Store.Name()))
	if len(failed) > 0 {
		reason = failed[0].err
	}
	v.cfg.OnFallback(Fallback{Key: key, Reason: reason, From: v.cfg.Store.Name(), To: used.Name()})
}

// attempt is one store that failed to give an object.
type attempt struct {
	store store.Store
	err   error
}

type attempts []attempt

// fault is the one error for an object that no store gave. Damage outweighs
// everything, as it needs a person; what may pass by itself outweighs what
// won't. With one store it is that store's own error.
func (a attempts) fault(key string) error {
	worst := a[0].err
	for _, one := range a[1:] {
		if weight(one.err) > weight(worst) {
			worst = one.err
		}
	}
	if len(a) == 1 {
		return worst
	}
	text := ""
	for i, one := range a {
		if i > 0 {
			text += "; "
		}
		text += one.store.Name() + ": " + reason(one.err)
	}
	hint := fault.HintOf(worst)
	if fault.Has(worst, fault.IntegrityError) {
		hint = "no store holds a good copy: recover from an older backup (lifeboat backups list, then --to backup:KEY); trust nothing that needs this object"
	}
	return fault.New(fault.KindOf(worst), "read", key, errors.New(text)).WithHint("%s", hint)
}

func weight(err error) int {
	switch fault.KindOf(err) {
	case fault.IntegrityError:
		return 3
	case fault.StorageUnavailable:
		return 2
	case fault.StorageDenied, fault.StorageMissing:
		return 1
	}
	return 0
}

// reason is an error without its operation and subject: its cause, when it has one.
func reason(err error) string {
	found, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err.Error()
	}
	if found.Cause == nil {
		return found.Kind.Definition().Summary
	}
	return found.Cause.Error()
}
