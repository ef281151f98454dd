package main

import (
	"context"

	"go.temporal.io/api/enums/v1"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// recovering lists which recoveries of production run now. The IDs of those that
// work on a component are fixed, whoever started them; listing would lag behind.
func recovering(connected connection) func(ctx context.Context, s system.System) ([]string, error) {
	return func(ctx context.Context, s system.System) ([]string, error) {
		var running []string
		for _, c := range s.Components() {
			id := api.ComponentRecoveryID(s.Name, "", string(c.Kind), c.Name)
			described, err := connected.DescribeWorkflowExecution(ctx, id, "")
			if err = temporal.Named("look for recovery", id, err); fault.Has(err, fault.RunUnknown) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if described.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
				running = append(running, id)
			}
		}
		return running, nil
	}
}
