package main

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

// TestRunsAreFoundByWhatTheyAreDoing starts a run before and after the namespace
// has Lifeboat's search attributes: it succeeds either way, and is found after.
func TestRunsAreFoundByWhatTheyAreDoing(t *testing.T) {
	t.Parallel()
	server := lab.StartTemporal(t)
	c, err := client.DialContext(t.Context(), client.Options{HostPort: server.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	w := worker.New(c, api.Queue, worker.Options{DisableRegistrationAliasing: true})
	workflows.Register(w)
	w.RegisterActivityWithOptions(records.New(records.Deps{
		Load: func() (system.System, error) {
			return system.System{Name: "frende", Backup: system.Backup{Compression: system.CompressionZstd}, Targets: []system.Target{{Name: "production", Kind: system.TargetProduction}}}, nil
		},
		Searchable: func(ctx context.Context) bool {
			return temporal.HasSearchAttributes(ctx, c, server.Namespace, api.SearchAttributes())
		},
	}), activity.RegisterOptions{Name: "records."})
	w.RegisterActivityWithOptions(func(context.Context, vault.ReplicateInput) (vault.ReplicateResult, error) {
		return vault.ReplicateResult{Objects: 1}, nil
	}, activity.RegisterOptions{Name: "vault.Replicate"})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	done := func(id string) {
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: api.Queue}, api.ReplicateStore)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		require.NoError(t, run.Get(ctx, nil))
	}

	done("without")
	described, err := c.DescribeWorkflowExecution(t.Context(), "without", "")
	require.NoError(t, err)
	memo := map[string]string{}
	for name, payload := range described.GetWorkflowExecutionInfo().GetMemo().GetFields() {
		var value string
		require.NoError(t, converter.GetDefaultDataConverter().FromPayload(payload, &value))
		memo[name] = value
	}
	require.Equal(t, map[string]string{api.MemoSystem: "frende", api.MemoKind: "store", api.MemoPhase: "done"}, memo, "the memo needs nothing of the namespace")

	for range 2 { // again changes nothing
		require.NoError(t, temporal.AddSearchAttributes(t.Context(), c, server.Namespace, api.SearchAttributes()))
	}
	require.True(t, temporal.HasSearchAttributes(t.Context(), c, server.Namespace, api.SearchAttributes()))
	done("with")
	for query, want := range map[string]string{
		`LifeboatPhase="done"`: "with", `LifeboatSystem="frende" AND LifeboatKind="store"`: "with", `LifeboatPhase="replicating"`: "", `LifeboatRTO="breached"`: "",
	} {
		found := func() string {
			list, err := c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: query})
			require.NoError(t, err)
			ids := ""
			for _, one := range list.GetExecutions() {
				ids += one.GetExecution().GetWorkflowId()
			}
			return ids
		}
		await(t, query+" to find "+want, func() bool { return found() == want })
	}
}
