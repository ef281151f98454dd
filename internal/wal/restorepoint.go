package wal

import (
	"context"
	"encoding/json"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/vault"
)

// RestorePoint is a name for a position in the WAL.
type RestorePoint struct {
	Name     string       `json:"name"`
	Timeline uint32       `json:"timeline"`
	LSN      postgres.LSN `json:"lsn"` // behind its record: everything before is in a recovery to it
	At       time.Time    `json:"at"`  // by the server's clock
	By       string       `json:"by,omitempty"`
}

func (a *Archive) restorePointKey(systemID, name string) string {
	return a.root(systemID) + "restore-points/" + name
}

// CheckRestorePoint refuses, with ObjectExists, a name that is taken. The primary
// store alone decides.
func (a *Archive) CheckRestorePoint(ctx context.Context, systemID, name string) error {
	_, err := a.cfg.Vault.Store().Head(ctx, a.restorePointKey(systemID, name))
	if fault.Has(err, fault.ObjectMissing) {
		return nil
	}
	if err == nil {
		return taken(name)
	}
	return err
}

func taken(name string) error {
	return fault.Newf(fault.ObjectExists, "make restore point", name, "the name is taken").
		WithHint("choose another name; the taken ones are listed by: lifeboat window database")
}

// KeepRestorePoint writes the point down, once: ObjectExists when its name was taken meanwhile.
func (a *Archive) KeepRestorePoint(ctx context.Context, systemID string, point RestorePoint) error {
	body, err := json.Marshal(point)
	if err != nil {
		return fault.New(fault.InputInvalid, "make restore point", point.Name, err)
	}
	err = a.cfg.Vault.PutSealed(ctx, a.restorePointKey(systemID, point.Name), a.dayKey(), body, vault.SealedOptions{IfNoneMatch: true})
	if fault.Has(err, fault.ObjectExists) {
		return taken(point.Name)
	}
	return err
}

// RestorePoint finds one by its name. ObjectMissing: none of this name was made with lifeboat.
func (a *Archive) RestorePoint(ctx context.Context, systemID, name string) (RestorePoint, error) {
	key := a.restorePointKey(systemID, name)
	body, err := a.cfg.Vault.GetSealed(ctx, key)
	if err != nil {
		return RestorePoint{}, err
	}
	var point RestorePoint
	if err := json.Unmarshal(body, &point); err != nil || point.Name != name || point.Timeline == 0 || point.LSN == 0 {
		return RestorePoint{}, fault.Newf(fault.IntegrityError, "read restore point", key, "it is not complete, or of another name")
	}
	return point, nil
}

// RestorePoints lists all, by name.
func (a *Archive) RestorePoints(ctx context.Context, systemID string) ([]RestorePoint, error) {
	infos, err := a.list(ctx, a.root(systemID)+"restore-points/", store.ListOptions{})
	if err != nil {
		return nil, err
	}
	points := make([]RestorePoint, 0, len(infos))
	for _, info := range infos {
		point, err := a.RestorePoint(ctx, systemID, info.Key)
		if err != nil {
			return nil, err
		}
		points = append(points, point)
	}
	return points, nil
}
