package vault

import (
	"context"
	"errors"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/workflows/api"
)

// ListInput says whose backups are held against which store's listing.
type ListInput struct {
	System    system.System    `json:"system"`
	Component system.Component `json:"component"`
	Key       string           `json:"key,omitempty"`  // one backup; "": all that the primary store has
	Copy      bool             `json:"copy,omitempty"` // the replica is listed, and not the primary store
}

// copyTime is how long a finished backup may take to be whole in the replica.
const copyTime = time.Hour

// List holds every finished backup of a component against what a store lists: proof
// level L0. Nothing of their data is read. What is wrong with a backup is part of
// the result; an error is that nobody can say.
func (a *Activities) List(ctx context.Context, in ListInput) (api.Listed, error) {
	opened, err := a.deps.Vault(ctx, in.System, nil)
	if err != nil {
		return api.Listed{}, err
	}
	configured, err := in.System.Primary()
	if err != nil {
		return api.Listed{}, err
	}
	primary := opened.WithStores(opened.Store(), nil)
	of := primary
	if in.Copy {
		if configured, _ = in.System.ReplicaOf(configured); opened.Replica() == nil {
			return api.Listed{}, fault.Newf(fault.InputInvalid, "list", in.Component.ID, "the store has no replica")
		}
		of = opened.WithStores(opened.Replica(), nil)
	}
	note, stop := heartbeat(ctx)
	defer stop()
	result := api.Listed{Component: in.Component.ID, Store: configured.Name}
	keys, err := finished(ctx, primary, in)
	if err != nil {
		return result, err
	}
	listing, origin := of.NewListing(), primary.NewListing()
	for i, key := range keys {
		found, err := listing.Look(ctx, key)
		if err != nil && !away(err) && in.Copy {
			if original, lost := origin.Look(ctx, key); lost == nil && time.Since(original.Finished) < copyTime {
				result.Copying++
				continue
			} else if fault.Has(lost, fault.ObjectMissing) {
				err = lost
			}
		}
		switch {
		case ctx.Err() != nil:
			return result, ctx.Err()
		case err == nil:
			result.Take(found.Objects, found.Bytes, found.LegalHold || found.LockedUntil.After(time.Now()))
		case away(err):
			return result, err
		case fault.Has(err, fault.ObjectMissing) && in.Key == "" && !in.Copy: // its retention ended meanwhile
		default:
			result.Wrong++
			if len(result.Lacking) < mostNamed {
				result.Lacking = append(result.Lacking, api.Lacking{Key: key, Why: inOneLine(err)})
			}
		}
		note(int64(i+1), int64(len(keys)))
	}
	return result, nil
}

// finished are the keys of the backups that are looked at, the newest first.
func finished(ctx context.Context, primary *vault.Vault, in ListInput) ([]string, error) {
	if in.Key != "" {
		return []string{in.Key}, nil
	}
	var keys []string
	for one, err := range primary.Backups(ctx, vault.Filter{Folder: folder(in.Component.Kind), Component: in.Component.Name}) {
		if err != nil {
			return nil, err
		}
		if one.Complete {
			keys = append(keys, one.Key)
		}
	}
	return keys, nil
}

// away says whether an error is of the store or the keys as a whole, and no backup's.
func away(err error) bool {
	switch fault.KindOf(err) {
	case fault.StorageUnavailable, fault.StorageDenied, fault.StorageMissing, fault.SecretUnavailable, fault.ConfigInvalid, fault.KeyUnavailable, fault.KeyWrong, "":
		return true
	}
	return false
}

// inOneLine is what is wrong, without the subject that stands before it.
func inOneLine(err error) string {
	if found, ok := errors.AsType[*fault.Error](err); ok {
		why := found.Kind.Definition().Summary
		if found.Cause != nil {
			why = found.Cause.Error()
		} else if found.Kind == fault.ObjectMissing {
			why = "it has no manifest"
		}
		return string(found.Kind) + ": " + why
	}
	return err.Error()
}
