package watch_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/status"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

func TestReportStatusFilesWhatItFound(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
	workflows.Register(env)
	var filed []records.Record
	env.RegisterActivityWithOptions(records.New(records.Deps{
		Load: func() (system.System, error) {
			return system.System{
				Name: "frende", Backup: system.Backup{Compression: system.CompressionZstd},
				Targets: []system.Target{{Name: "production", Kind: system.TargetProduction}},
			}, nil
		},
		Status: func(_ context.Context, s system.System) status.Status {
			return status.Status{System: s.Name, Answer: "LATE frende: 1 overdue", Late: 1}
		},
		File: func(_ context.Context, _ system.System, r records.Record) error { filed = append(filed, r); return nil },
	}), activity.RegisterOptions{Name: "records."})
	env.ExecuteWorkflow(api.ReportStatus)
	require.NoError(t, env.GetWorkflowError())
	var result api.StatusResult
	require.NoError(t, env.GetWorkflowResult(&result))
	require.Equal(t, api.StatusResult{Answer: "LATE frende: 1 overdue", Late: 1}, result)
	require.Len(t, filed, 1)
	require.Equal(t, status.Kind, filed[0].Kind)
	require.Equal(t, "frende", filed[0].Subject)
}

func TestReportStatusRefusesATypo(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
	workflows.Register(env)
	env.ExecuteWorkflow(api.ReportStatus, map[string]string{"systm": "frende"})
	err := temporalfault.FromTemporal(env.GetWorkflowError())
	require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
}
