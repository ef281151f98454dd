package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// DefaultSweepAfter is how long the lease of an unfinished backup must have been
// over before Sweep takes it for abandoned: longer than any clock is wrong by
// that people have not noticed.
const DefaultSweepAfter = 24 * time.Hour

// SweepOptions say how a sweep goes about.
type SweepOptions struct {
	After  time.Duration // how long a lease must have been over; 0: DefaultSweepAfter
	By     string        // host or person, for the tombstone
	DryRun bool          // only say what would be removed

	// Running says whether a run, by the id that its intent names, still works.
	// Whatever the leases say, its backup is kept. May be nil.
	Running func(ctx context.Context, runID string) (bool, error)

	Progress func(done, total int64) // in bytes; may be nil
}

// Swept is one unfinished backup, and what became of it.
type Swept struct {
	Summary
	RunID   string
	Objects int64 // that lay there besides the intent
	Bytes   int64
	Removed bool // with DryRun: it would be
	Why     string
}

// Sweep removes what unfinished backups left in the primary store, when their
// writer is long gone. Before it deletes anything it takes the manifest's place with a
// tombstone, so that a writer that wakes up can't finish; a writer that was
// faster keeps its backup. The intent and the tombstone stay. A backup with a
// manifest is never touched, nor what the removal of one has left, nor one that was finished and
// has lost its manifest to somebody else, nor anything in the replica. Sweep may be
// interrupted and repeated.
func (v *Vault) Sweep(ctx context.Context, o SweepOptions) ([]Swept, error) {
	if o.After <= 0 {
		o.After = DefaultSweepAfter
	}
	primary := v.WithStores(v.cfg.Store, nil)
	found, err := primary.list(ctx, Filter{}, nil)
	if err != nil {
		return nil, err
	}
	once := &finished{replica: v.cfg.Replica, primary: primary}
	all := []Swept{}
	for _, summary := range found {
		if summary.Complete || summary.Expired {
			continue // what is left of a finished one may be needed by others
		}
		one, err := primary.sweep(ctx, summary, once, o)
		if err != nil {
			return all, err
		}
		if !summary.GivenUp || one.Objects > 0 { // else nothing is left to remove
			all = append(all, one)
		}
	}
	return all, nil
}

func (v *Vault) sweep(ctx context.Context, summary Summary, once *finished, o SweepOptions) (Swept, error) {
	one := Swept{Summary: summary}
	left, err := v.remains(ctx, summary.Key)
	if err != nil {
		return one, err
	}
	for _, info := range left.objects {
		one.Objects++
		one.Bytes += info.Size
	}
	if !summary.GivenUp {
		if one.RunID, one.Why, err = v.alive(ctx, summary, left, o); err != nil || one.Why != "" {
			return one, err
		}
	}
	if len(left.objects) > 0 {
		if one.Why, err = once.why(ctx, summary.Key, left); err != nil || one.Why != "" {
			return one, err
		}
	}
	one.Why = fmt.Sprintf("run %s left it unfinished; its last sign of life was %s", one.RunID, left.newest.UTC().Format(time.RFC3339))
	if summary.GivenUp {
		one.Why = "it was given up before, and these objects remained"
	}
	one.Removed = true
	if o.DryRun {
		return one, nil
	}
	if err := v.giveUp(ctx, summary.Key, o.By); fault.Has(err, fault.BackupConflict) {
		one.Removed, one.Why = false, "its writer finished it meanwhile"
		return one, nil
	} else if err != nil {
		return one, err
	}
	var done int64
	for _, info := range left.objects {
		err := v.deleteForGood(ctx, info.Key)
		if fault.Has(err, fault.StorageDenied) {
			one.Removed, one.Why = false, "it was given up, but the store refuses to delete "+info.Key+": an object lock, or the bucket's policy"
			return one, nil
		}
		if err != nil {
			return one, err
		}
		done += info.Size
		if o.Progress != nil {
			o.Progress(done, one.Bytes)
		}
	}
	return one, nil
}

// remains is what lies under an unfinished backup.
type remains struct {
	objects []store.Info // but the intent and the manifest's place
	lease   string       // key of the newest
	newest  time.Time    // when the newest object was stored, by the store's clock
}

func (v *Vault) remains(ctx context.Context, backup string) (remains, error) {
	var r remains
	for info, err := range v.cfg.Store.List(ctx, backup+"/", store.ListOptions{}) {
		if err != nil {
			return r, err
		}
		name := strings.TrimPrefix(info.Key, backup+"/")
		if name == expiredName {
			continue // no writer's
		}
		if info.Modified.After(r.newest) {
			r.newest = info.Modified
		}
		switch {
		case name == "intent", name == "manifest":
			continue
		case strings.HasPrefix(name, "lease/"):
			r.lease = info.Key // their names sort by time
		}
		r.objects = append(r.objects, info)
	}
	return r, nil
}

// alive says why an unfinished backup may still have a writer; "" when it has not.
func (v *Vault) alive(ctx context.Context, summary Summary, left remains, o SweepOptions) (runID, why string, err error) {
	raw, err := readSmall(ctx, v.cfg.Store, summary.Key+"/intent")
	if fault.Has(err, fault.ObjectMissing) {
		return "", "it has no intent: Lifeboat did not begin it", nil
	}
	if err != nil {
		return "", "", err
	}
	var intent intentRecord
	if !reads(raw, &intent) || intent.Key != summary.Key || intent.Version != formatVersion {
		return "", "its intent is not what this release of Lifeboat writes", nil
	}
	if o.Running != nil {
		running, err := o.Running(ctx, intent.RunID)
		if err != nil {
			return intent.RunID, "", err
		}
		if running {
			return intent.RunID, "run " + intent.RunID + " still works on it", nil
		}
	}
	// A writer that came no further than its intent counts as if it had a lease since then.
	until := left.newest.Add(leaseFor)
	if left.lease != "" {
		var lease leaseRecord
		if raw, err = readSmall(ctx, v.cfg.Store, left.lease); err != nil {
			return intent.RunID, "", err
		}
		if !reads(raw, &lease) {
			return intent.RunID, "its lease is not what Lifeboat writes", nil
		}
		if lease.Until.After(until) {
			until = lease.Until
		}
	}
	if free := until.Add(o.After); v.now().Before(free) {
		return intent.RunID, "its lease may be renewed; it counts as abandoned from " + free.UTC().Format(time.RFC3339), nil
	}
	return intent.RunID, "", nil
}

// reads says whether a clear record is what Lifeboat writes.
func reads(raw []byte, into any) bool { return json.Unmarshal(raw, into) == nil }

// tombstone ends a backup that was never finished.
type tombstone struct {
	Tombstone bool      `json:"tombstone"`
	By        string    `json:"by,omitempty"`
	At        time.Time `json:"at"`
}

// giveUp takes the manifest's place. BackupConflict: there is a manifest.
func (v *Vault) giveUp(ctx context.Context, backup, by string) error {
	raw, err := json.Marshal(tombstone{Tombstone: true, By: by, At: v.now()})
	if err == nil && len(raw) >= tombstoneBelow { // or it would be taken for a manifest
		raw, err = json.Marshal(tombstone{Tombstone: true, At: v.now()})
	}
	if err != nil {
		return fault.New(fault.InputInvalid, "give up", backup, err)
	}
	_, err = v.cfg.Store.Put(ctx, manifestKey(backup), raw, store.PutOptions{IfNoneMatch: true})
	if fault.Has(err, fault.ObjectExists) {
		if v.isTombstone(ctx, manifestKey(backup)) {
			return nil // ours, or another sweep's
		}
		return fault.Newf(fault.BackupConflict, "give up", backup, "it has a manifest")
	}
	return err
}

// mostVersions bounds how often one object is deleted. There are more than one
// when a put was repeated.
const mostVersions = 100

// deleteForGood removes every version of an object.
func (v *Vault) deleteForGood(ctx context.Context, key string) error {
	for range mostVersions {
		info, err := v.cfg.Store.Head(ctx, key)
		if fault.Has(err, fault.ObjectMissing) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := v.cfg.Store.Delete(ctx, key, info.Version); err != nil {
			return err
		}
	}
	return fault.Newf(fault.StorageUnavailable, "delete", key, "it is still there after %d deletions", mostVersions)
}
