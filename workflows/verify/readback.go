package verify

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// readBack proves L1. A backup that is damaged in one region is still whole in the
// other: it is not marked, and the run fails all the same.
func (v *verifying) readBack(ctx workflow.Context, s subject, found *api.Verified) error {
	err := v.read(ctx, s, "read-back", v.system, found)
	if err == nil || ctx.Err() != nil || !fault.Has(temporalfault.FromTemporal(err), fault.IntegrityError) {
		return err
	}
	primary, failed := v.system.Primary()
	if failed != nil {
		return err
	}
	replica, ok := v.system.ReplicaOf(primary)
	if !ok {
		return err
	}
	alone, failed := v.system.Alone(replica.Name)
	if failed != nil {
		return err
	}
	if v.read(ctx, s, "read-back-replica", alone, found) != nil {
		return err
	}
	return fault.Newf(fault.StorageMissing, "read back", s.key, "the copy in %s is damaged, and the one in %s is whole: %s", primary.Name, replica.Name, run.Reason(err)).
		WithHint("a recovery takes the copy in %s; take a new backup, and find out what damaged this one", replica.Name)
}

func (v *verifying) read(ctx workflow.Context, s subject, name string, from system.System, found *api.Verified) error {
	title := "read back every byte of " + s.key
	if from.From != "" && from.From != v.in.From {
		title += " from " + from.From
	}
	var activities *vault.Activities
	var read vault.VerifyResult
	err := v.Do(ctx, v.step(s, name, title, run.Long), activities.Verify, vault.VerifyInput{System: from, Key: s.key}, &read, func() string {
		return fmt.Sprintf("L1: %s in %d objects", system.Bytes(read.Bytes).Human(), read.Objects)
	})
	found.Bytes = read.Bytes
	return err
}
