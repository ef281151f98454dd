package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// Verdict is what a verification found of a finished backup.
type Verdict struct {
	Level  string    `json:"level"` // proof level that was tried: "L1" to "L3"
	Passed bool      `json:"passed"`
	Run    string    `json:"run"`
	At     time.Time `json:"at"`
	What   string    `json:"what,omitempty"` // what is damaged, when it did not pass
}

// verdictTime is the time in a verdict's name, which sorts.
const verdictTime = "20060102T150405Z"

func verdictFolder(backup string) string { return backup + "/proof/" }

// Judge puts a verdict beside the backup, sealed under its data key, so that
// nobody without it can make one. The same verdict of the same run again is success.
func (b *Backup) Judge(ctx context.Context, verdict Verdict) error {
	if verdict.Level == "" || verdict.At.IsZero() {
		return fault.Newf(fault.InputInvalid, "judge backup", b.manifest.Key, "a verdict needs a level and a time")
	}
	key := verdictFolder(b.manifest.Key) + verdict.At.UTC().Format(verdictTime) + "-" + verdict.Level
	return b.keep(ctx, key, verdict)
}

// Keep puts a fact beside a finished backup that belongs to it, sealed under its
// data key and never changed: what the source held when it was made. Keeping the
// same again is success; another fact of this name is ObjectExists.
func (b *Backup) Keep(ctx context.Context, name string, fact any) error {
	return b.keep(ctx, b.manifest.Key+"/"+name, fact)
}

func (b *Backup) keep(ctx context.Context, key string, fact any) error {
	body, err := json.Marshal(fact)
	if err != nil {
		return fault.New(fault.InputInvalid, "keep", key, err)
	}
	err = b.v.PutSealed(ctx, key, b.manifest.KeyID, body, SealedOptions{IfNoneMatch: true})
	if !fault.Has(err, fault.ObjectExists) {
		return err
	}
	same, equalErr := b.v.SealedEqual(ctx, key, body)
	if equalErr != nil || same {
		return equalErr
	}
	return err
}

// Kept reads what Keep has put there. It is ObjectMissing when nothing is.
func (b *Backup) Kept(ctx context.Context, name string, into any) error {
	return b.v.kept(ctx, b.manifest.Key+"/"+name, b.manifest.KeyID, into)
}

// kept reads a fact that has to be sealed under just this data key: under another
// one that somebody can write, it says nothing.
func (v *Vault) kept(ctx context.Context, key, keyID string, into any) error {
	r := v.openSingle(ctx, key, kindSingle)
	plain, err := v.readWhole(ctx, r, nil)
	if err != nil {
		return err
	}
	if r.h.KeyID != keyID {
		return fault.Newf(fault.IntegrityError, "read", key, "it is sealed under data key %q, not its backup's", r.h.KeyID)
	}
	if err := json.Unmarshal(plain, into); err != nil {
		return fault.New(fault.IntegrityError, "read", key, err)
	}
	return nil
}

// Verdicts gives what verifications found of the backup, the oldest first. What
// is no authentic verdict is none. A store that can't be reached is passed over
// while another one answers.
func (b *Backup) Verdicts(ctx context.Context) ([]Verdict, error) {
	names := map[string]bool{}
	var failed attempts
	sources := b.v.sources()
	for _, s := range sources {
		for info, err := range s.List(ctx, verdictFolder(b.manifest.Key), store.ListOptions{}) {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err != nil {
				b.v.note(s, err)
				failed = append(failed, attempt{s, err})
				break
			}
			names[info.Key] = true
		}
	}
	if len(failed) == len(sources) {
		return nil, failed.fault(verdictFolder(b.manifest.Key))
	}
	var found []Verdict
	for _, name := range slices.Sorted(maps.Keys(names)) {
		var one Verdict
		err := b.v.kept(ctx, name, b.manifest.KeyID, &one)
		switch {
		case err == nil:
			found = append(found, one)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case unreachable(err):
			return nil, err
		}
	}
	slices.SortStableFunc(found, func(a, b Verdict) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	return found, nil
}

// Sound fails with VerificationFailed when a verification found the backup
// damaged, and none of its level or a higher one has passed since.
func (b *Backup) Sound(ctx context.Context) error {
	verdicts, err := b.Verdicts(ctx)
	if err != nil {
		return err
	}
	var bad *Verdict
	for i := range verdicts {
		switch one := &verdicts[i]; {
		case !one.Passed:
			bad = one
		case bad != nil && one.Level >= bad.Level:
			bad = nil
		}
	}
	if bad == nil {
		return nil
	}
	return fault.New(fault.VerificationFailed, "open backup", b.manifest.Key, &damaged{*bad}).
		WithHint("recover from another backup; to take it all the same, name it: --to backup:%s; when the fault was this host's, verify it again: lifeboat verify %s --level %s", b.manifest.Key, b.manifest.Key, bad.Level[1:])
}

// damaged is why a backup that is all there is not taken.
type damaged struct{ Verdict }

func (d *damaged) Error() string {
	return fmt.Sprintf("a verification at %s found it damaged on %s: %s", d.Level, d.At.UTC().Format(time.RFC3339), d.What)
}
