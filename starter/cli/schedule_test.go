package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// said runs a command to its end and wants this exit code.
func said(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	o := command(t, args...).wait(t)
	require.Equal(t, code, o.code, "%s%s", o.stdout, o.stderr)
	return o.stdout.String(), o.stderr.String()
}

func TestOperatorsOfATimetable(t *testing.T) {
	c := serve(t)
	w := worker.New(c, api.Queue, worker.Options{DisableRegistrationAliasing: true})
	w.RegisterWorkflowWithOptions(uploads, workflow.RegisterOptions{Name: api.BackupFiles})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)

	out, _ := said(t, 0, "schedule", "list")
	require.Regexp(t, `database-daily +not applied +has not run +02:00 UTC every day\n`, out)
	require.Contains(t, out, "drill: starts nothing until: lifeboat schedule apply\n")
	out, _ = said(t, 0, "schedule", "apply", "--dry-run")
	require.Contains(t, out, "created    drill\n")
	require.Contains(t, out, "DRY RUN, nothing was changed: frende: 15 created\n")
	out, _ = said(t, 0, "schedule", "apply")
	require.Contains(t, out, "APPLIED frende: 15 created\n")
	out, _ = said(t, 0, "schedule", "apply", "--json")
	var changes []temporal.Change
	require.NoError(t, json.Unmarshal([]byte(out), &changes))
	require.Len(t, changes, 15)
	require.Equal(t, temporal.ScheduleUnchanged, changes[0].Kind)

	// A pause, its reason, and the end of both.
	out, _ = said(t, 0, "schedule", "pause", "cache", "--reason", "migration until noon")
	require.Regexp(t, `^cache: paused by .+@.+: migration until noon\n$`, out)
	out, _ = said(t, 0, "schedule", "list")
	require.Regexp(t, `cache +PAUSED +has not run +every 15m\n`, out)
	require.Regexp(t, `cache: paused by .+: migration until noon; start it again with: lifeboat schedule resume cache\n`, out)
	out, _ = said(t, 0, "schedule", "resume", "--all")
	require.Equal(t, 14, strings.Count(out, ": was not paused\n"))
	require.Regexp(t, `cache: resumed by .+@.+\n`, out)

	// An edit by hand is told, and put right.
	require.NoError(t, c.ScheduleClient().GetHandle(t.Context(), "schedule/frende/drill").Update(t.Context(), client.ScheduleUpdateOptions{
		DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			edited := in.Description.Schedule
			edited.Spec.Calendars[0].DayOfWeek = []client.ScheduleRange{{Start: 0}}
			return &client.ScheduleUpdate{Schedule: &edited}, nil
		},
	}))
	drift := "edited by hand: starts: 06:00 UTC on the first sunday of january, april, july, october instead of " +
		"06:00 UTC on the first saturday of january, april, july, october"
	out, _ = said(t, 0, "schedule", "list")
	require.Contains(t, out, "drill: "+drift+"; put it right with: lifeboat schedule apply\n")
	out, _ = said(t, 0, "schedule", "apply")
	require.Contains(t, out, "updated    drill\n           "+drift+"\n")
	require.Contains(t, out, "APPLIED frende: 1 updated, 14 unchanged\n")

	// One run now, and those of two days that were missed.
	out, _ = said(t, 0, "schedule", "trigger", "files-daily")
	require.Regexp(t, `^started; follow it with: lifeboat watch schedule/frende/files-daily-20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\n$`, out)
	out, _ = said(t, 0, "schedule", "backfill", "files-daily", "--from", "2024-01-15T00:00:00Z", "--to", "2024-01-16T03:00:00Z")
	require.Equal(t, "2024-01-15T03:00:00Z\n2024-01-16T03:00:00Z\n2 runs of files-daily, one after the other; see: lifeboat schedule list\n", out)
	require.Eventually(t, func() bool {
		out, _ := said(t, 0, "schedule", "list", "--json")
		var all []temporal.Schedule
		require.NoError(t, json.Unmarshal([]byte(out), &all))
		return all[7].Name == "files-daily" && all[7].Runs == 3 && all[7].Last.Status == temporal.RunCompleted
	}, time.Minute, 50*time.Millisecond)

	for _, args := range [][]string{{"pause", "drlil"}, {"resume", "drlil"}, {"trigger", "drlil"}, {"backfill", "drlil", "--from", "2024-01-15T00:00:00Z", "--to", "2024-01-15T00:00:00Z"}} {
		_, stderr := said(t, fault.ExitNotFound, append([]string{"schedule"}, args...)...)
		require.Contains(t, stderr, args[0]+" schedule drlil: no such schedule\nHINT: there are: database-daily, proof-daily, proof-weekly, proof-hourly, dump-daily, archive, cache, files-daily,")
	}

	t.Setenv("TEMPORAL_NAMESPACE", "nope")
	for _, args := range [][]string{{"schedule", "list"}, {"watch", "recover/frende"}, {"abort", "recover/frende"}} {
		_, stderr := said(t, fault.ExitNotFound, args...)
		require.Equal(t, "lifeboat: find namespace of Temporal nope: there is none of this name\n"+
			"HINT: correct TEMPORAL_NAMESPACE; see what there is with: temporal operator namespace list\n", stderr)
	}
}

func TestRemarksAreTheWorstFirst(t *testing.T) {
	since := time.Date(2024, 1, 1, 2, 0, 0, 0, time.UTC)
	require.Equal(t, []string{
		"is no longer in lifeboat.yaml; delete it with: lifeboat schedule apply",
		"failed: StorageDenied: no",
		"1 start missed since 2024-01-01 02:00: Temporal was down for longer than the catch-up window",
		"3 starts skipped since 2024-01-01 02:00: the run before still worked",
		"running: schedule/frende/cache-x",
	}, remarks(temporal.Schedule{
		Applied: true, Missed: 1, Skipped: 3, Since: &since, Running: []string{"schedule/frende/cache-x"},
		Last: &temporal.Started{Status: temporal.RunFailed, Outcome: "StorageDenied: no"},
	}))
	require.Empty(t, remarks(temporal.Schedule{Applied: true, Configured: true, Since: &since}))
}

func TestACleanUpTellsWhatItRemoved(t *testing.T) {
	c := serve(t)
	w := worker.New(c, api.Queue, worker.Options{DisableRegistrationAliasing: true})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, in api.Input[api.CleanUpInput]) (api.CleanUpResult, error) {
		given, err := in.Checked(api.CleanUp)
		if !given.DryRun {
			workflow.GetSignalChannel(ctx, "end").Receive(ctx, nil)
		}
		return api.CleanUpResult{
			System: given.System, DryRun: given.DryRun,
			Removed: []api.Cleaned{{What: api.UnfinishedBackup, Subject: "file-backups/dead", Bytes: 2 << 20, Why: "its writer is gone"}},
			Kept:    []api.Cleaned{{What: api.OldDirectory, Subject: "/srv/old", Why: "kept for undo"}}, Notes: []string{"a note"},
		}, err
	}, workflow.RegisterOptions{Name: api.CleanUp})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	out, _ := said(t, 0, "cleanup", "--dry-run")
	require.Contains(t, out, "would go  unfinished backup file-backups/dead\n          its writer is gone\nkept      old directory /srv/old\n          kept for undo\na note\n"+
		"DRY RUN, nothing was removed: frende: 1 would go (2.0 MiB in the store), 1 kept\n")

	real := command(t, "cleanup")
	require.Eventually(t, func() bool {
		found, err := c.DescribeWorkflowExecution(t.Context(), api.CleanUpID("frende"), "")
		return err == nil && found.GetWorkflowExecutionInfo().GetCloseTime() == nil
	}, time.Minute, 50*time.Millisecond)
	_, stderr := said(t, fault.ExitRefused, "cleanup")
	require.Contains(t, stderr, "clean up frende: target is locked by another run: clean-up/frende runs\nHINT: see it with: lifeboat watch clean-up/frende\n")
	require.NoError(t, c.SignalWorkflow(t.Context(), api.CleanUpID("frende"), "", "end", nil))
	real.wait(t)
	require.Zero(t, real.code, real.stderr.String())
	require.Contains(t, real.stdout.String(), "CLEANED UP frende: 1 removed (2.0 MiB in the store), 1 kept\n")
}
