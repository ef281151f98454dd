package main

import (
	"context"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/status"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// recovering says which recovery of production runs now, by the hold that every
// one of them has on the system: its ID is fixed, and a listing would lag behind.
func recovering(connected connection) func(ctx context.Context, s system.System) ([]string, error) {
	return func(ctx context.Context, s system.System) ([]string, error) {
		id := api.HoldID(s.Name)
		described, err := connected.DescribeWorkflowExecution(ctx, id, "")
		if err = temporal.Named("look for recovery", id, err); fault.Has(err, fault.RunUnknown) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		info := described.GetWorkflowExecutionInfo()
		if info.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return nil, nil
		}
		return []string{info.GetParentExecution().GetWorkflowId()}, nil
	}
}

// lookTime is what each source of a status gets: a worker that is busy with a
// backup may make its own look wait.
const lookTime = 30 * time.Second

// looker says how a system stands.
func looker(parts *assembly.Assembly, connected connection, payloads *temporal.Payloads, queue string) func(ctx context.Context, s system.System) status.Status {
	return func(ctx context.Context, s system.System) status.Status {
		return status.Look(ctx, status.Deps{
			Vault: parts.Vault, Ledger: parts.Ledger, Limit: lookTime,
			Running: func(ctx context.Context, s system.System) ([]status.Run, error) {
				return status.Underway(ctx, connected, status.Underways{
					System: s.Name, Queue: queue, Except: api.ReportStatus, Phase: api.MemoPhase, Value: payloads.Value,
				})
			},
		}, s)
	}
}
