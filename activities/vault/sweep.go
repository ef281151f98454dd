package vault

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/workflows/api"
)

// mostSkew is how far this host's clock may be from Temporal's before nothing is
// deleted by its word.
const mostSkew = 5 * time.Minute

// Sweep removes what unfinished backups left in the primary store. It touches no
// backup with a manifest, no WAL, and nothing in the replica.
func (a *Activities) Sweep(ctx context.Context, in SweepInput) (SweepResult, error) {
	if note := wrongClock(activity.GetInfo(ctx).StartedTime, time.Now()); note != "" {
		return SweepResult{Note: note}, nil
	}
	opened, err := a.deps.Vault(ctx, in.System, nil)
	if err != nil {
		return SweepResult{}, err
	}
	note, stop := heartbeat(ctx)
	defer stop()
	swept, err := opened.Sweep(ctx, vault.SweepOptions{By: in.By, DryRun: in.DryRun, Running: a.deps.Running, Progress: note})
	if err != nil {
		return SweepResult{}, err
	}
	var result SweepResult
	for _, one := range swept {
		cleaned := api.Cleaned{What: api.UnfinishedBackup, Subject: one.Key, Objects: one.Objects, Bytes: one.Bytes, Why: one.Why}
		if one.Removed {
			result.Removed = append(result.Removed, cleaned)
		} else {
			result.Kept = append(result.Kept, cleaned)
		}
	}
	return result, nil
}

// wrongClock says that this host's clock is wrong; "" when it is not. started is
// when Temporal gave this attempt out, a moment ago.
func wrongClock(started, now time.Time) string {
	skew := now.Sub(started).Abs()
	if skew <= mostSkew {
		return ""
	}
	return fmt.Sprintf("the clock of this host differs by %s from Temporal's, so no unfinished backup was looked at: set it right", system.Duration(skew.Round(time.Second)))
}
