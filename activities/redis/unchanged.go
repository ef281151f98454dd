package redis

import (
	"context"
	"errors"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/vault"
)

// Unchanged asks whether the newest backup in the primary store still equals the
// server. A backup that is missing, unreadable or says too little is a reason to
// make one, never an error.
func (a *Activities) Unchanged(ctx context.Context, in UnchangedInput) (UnchangedResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	opened, err := a.deps.Vault(ctx, in.System, nil)
	if err != nil {
		return UnchangedResult{}, err
	}
	var result UnchangedResult
	var facts Facts
	// What only the replica has left would leave the primary without a backup.
	result.Key, facts, err = newest(ctx, opened.WithStores(opened.Store(), nil), in.Cache.Name)
	switch {
	case fault.Has(err, fault.BackupUnknown):
		result.Why = "there is no backup yet"
		return result, nil
	case err != nil && (fault.Retryable(err) || ctx.Err() != nil):
		return result, err
	case err != nil:
		result.Why = "the newest backup can't be read: " + err.Error()
		return result, nil
	case facts.Mark == nil:
		result.Why = "the newest backup does not say where the server stood"
		return result, nil
	}
	result.At = time.Now().UTC()
	server, err := a.connect(ctx, in.Cache)
	if err != nil {
		return result, err
	}
	now, err := server.Facts(ctx)
	if err := errors.Join(err, server.Close()); err != nil {
		return result, err
	}
	result.Why = now.Changed(*facts.Mark)
	return result, nil
}

// newest gives the newest complete backup of a cache. Its key is given with an
// error, too, as soon as it is known.
func newest(ctx context.Context, v *vault.Vault, cache string) (key string, facts Facts, err error) {
	latest, err := v.Latest(ctx, vault.Filter{Folder: Folder, Component: cache})
	if err != nil {
		return "", Facts{}, err
	}
	backup, err := v.Open(ctx, latest.Key)
	if err != nil {
		return latest.Key, Facts{}, err
	}
	return latest.Key, facts, backup.Manifest().Fact(FactsName, &facts)
}
