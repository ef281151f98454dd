package vault

import (
	"context"
	"fmt"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// finished tells a backup that was never finished from one that was, and whose
// manifest somebody has deleted since or written a tombstone over: neither says who did it,
// and who may only write must not have a sweep delete for him.
type finished struct {
	primary *Vault
	replica store.Store // nil: there is none

	asked  bool
	shared map[string]string // objects that finished backups name in folders of others, with one that does
	failed error             // why that is not known
}

// lost is what to do about it.
const lost = "its manifest was deleted or written over, and not by Lifeboat: find out by whom, and bring it back from the replica or from its older version"

// why says what shows that the backup was finished once, or that it can't be known; "" when nothing does.
func (f *finished) why(ctx context.Context, backup string, left remains) (string, error) {
	for _, info := range left.objects {
		if name := strings.TrimPrefix(info.Key, backup+"/"); !strings.Contains(name, "/") || strings.HasPrefix(info.Key, verdictFolder(backup)) {
			return name + " is only put once there is a manifest: " + lost, nil
		}
	}
	if f.replica != nil {
		info, err := f.replica.Head(ctx, manifestKey(backup))
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err == nil && info.Size >= tombstoneBelow:
			return f.replica.Name() + " has its manifest: " + lost, nil
		case err != nil && !fault.Has(err, fault.ObjectMissing):
			return "whether the replica has its manifest is not known: " + err.Error(), nil
		}
	}
	if err := f.ask(ctx); err != nil {
		return "", err
	}
	if f.failed != nil {
		return "whether finished backups are made of it is not known: " + f.failed.Error(), nil //nolint:nilerr // told, and nothing is deleted
	}
	count, by := 0, ""
	for _, info := range left.objects {
		if name, needed := f.shared[info.Key]; needed {
			count++
			by = max(by, name)
		}
	}
	if count == 0 {
		return "", nil
	}
	return fmt.Sprintf("%s is made of %d of its objects, too: %s", by, count, lost), nil
}

// ask reads what finished backups are made of, once for a sweep.
func (f *finished) ask(ctx context.Context) error {
	if f.asked {
		return nil
	}
	f.asked = true
	var inventory *Inventory
	if inventory, f.failed = f.primary.Inventory(ctx, nil); f.failed != nil {
		return context.Cause(ctx) // only the caller's end ends the sweep
	}
	f.shared = map[string]string{}
	for i := range inventory.Backups {
		for _, object := range inventory.Backups[i].Shares {
			f.shared[object] = inventory.Backups[i].Key
		}
	}
	return nil
}
