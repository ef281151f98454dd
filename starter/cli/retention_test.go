package cli

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/workflows/api"
)

func TestARetentionTellsWhatGoesAndWhyTheRestIsKept(t *testing.T) {
	c := serve(t)
	w := worker.New(c, api.Queue, worker.Options{DisableRegistrationAliasing: true})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, in api.Input[api.RetentionInput]) (api.RetentionResult, error) {
		given, err := in.Checked(api.ApplyRetention)
		if !given.DryRun {
			workflow.GetSignalChannel(ctx, "end").Receive(ctx, nil)
		}
		if given.AtMost != 0 && given.AtMost != 40 {
			return api.RetentionResult{}, fault.Newf(fault.InputInvalid, "read input of", "x", "%d", given.AtMost)
		}
		return api.RetentionResult{
			System: given.System, DryRun: given.DryRun,
			Removed: []api.Retained{
				{Store: "primary", What: "backup", First: "file-backups/old", Count: 1, Bytes: 2 << 20, Why: "it ended on 2024-01-01"},
				{Store: "primary", What: "WAL", First: "wal/1", Last: "wal/9", Count: 9, Bytes: 1 << 20, Why: "nothing needs it"},
			},
			Kept: []api.Retained{
				{Store: "primary", What: "backup", First: "file-backups/a", Last: "file-backups/b", Count: 29, Reason: "younger", Why: "it ended less than 30d ago"},
				{Store: "dr", What: "objects", First: "file-backups/c", Count: 3, Reason: "needed", Why: "file-backups/a is made of them, too"},
			},
			Notes: []string{"a note"},
		}, err
	}, workflow.RegisterOptions{Name: api.ApplyRetention})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	out, _ := said(t, 0, "retention", "run", "--dry-run", "--at-most", "40")
	require.Contains(t, out, "would go  backup file-backups/old in primary: it ended on 2024-01-01\n"+
		"would go  9 WAL files from wal/1 to wal/9 in primary: nothing needs it\n"+
		"kept      29 backups from file-backups/a to file-backups/b in primary: younger: it ended less than 30d ago\n"+
		"kept      3 objects of file-backups/c in dr: needed: file-backups/a is made of them, too\n"+
		"a note\n"+
		"DRY RUN, nothing was removed: frende: 1 backups and 9 WAL files would go (3.0 MiB)\n")
	out, _ = said(t, 0, "retention", "run", "--dry-run", "--json")
	var result api.RetentionResult
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	require.True(t, result.DryRun)
	require.Equal(t, "younger", result.Kept[0].Reason)
	_, stderr := said(t, fault.ExitUsage, "retention", "run", "--at-most", "101")
	require.Contains(t, stderr, "--at-most 101 is no share\nHINT: give a whole number from 1 to 100\n")

	real := command(t, "retention", "run")
	require.Eventually(t, func() bool {
		found, err := c.DescribeWorkflowExecution(t.Context(), api.RetentionID("frende"), "")
		return err == nil && found.GetWorkflowExecutionInfo().GetCloseTime() == nil
	}, time.Minute, 50*time.Millisecond)
	_, stderr = said(t, fault.ExitRefused, "retention", "run")
	require.Contains(t, stderr, "apply retention of frende: target is locked by another run: retention/frende runs\nHINT: see it with: lifeboat watch retention/frende\n")
	require.NoError(t, c.SignalWorkflow(t.Context(), api.RetentionID("frende"), "", "end", nil))
	real.wait(t)
	require.Zero(t, real.code, real.stderr.String())
	require.Contains(t, real.stdout.String(), "RETENTION APPLIED frende: 1 backups and 9 WAL files removed (3.0 MiB)\n")
}
