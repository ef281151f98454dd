package temporal_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

func TestARecoveryHasEndedOnlyWhenTemporalKnowsIt(t *testing.T) {
	c := connect(t)
	w := worker.New(c.Client, api.Queue, worker.Options{DisableRegistrationAliasing: true})
	for _, name := range []string{api.RecoverSystem, api.RestoreCache} {
		w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
			workflow.GetSignalChannel(ctx, "end").Receive(ctx, nil)
			return nil
		}, workflow.RegisterOptions{Name: name})
	}
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	start := func(id, kind string) client.WorkflowRun {
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: api.Queue}, kind)
		require.NoError(t, err)
		return run
	}
	end := func(run client.WorkflowRun) {
		require.NoError(t, c.SignalWorkflow(t.Context(), run.GetID(), run.GetRunID(), "end", nil))
		require.NoError(t, run.Get(t.Context(), nil))
	}
	s := system.System{Name: "frende"}
	cache := system.Component{ID: "cache/sessions", Kind: system.KindCache, Name: "sessions"}
	ended := func(name string) (bool, string) {
		ended, why, err := temporal.RecoveryEnded(t.Context(), c, s, cache, name)
		require.NoError(t, err)
		return ended, why
	}

	first := start("recover/frende", api.RecoverSystem)
	name := "20240115T094122Z-" + first.GetRunID()[len(first.GetRunID())-8:]
	waits := func(says string) {
		require.Eventually(t, func() bool { // Temporal's list lags behind
			is, why := ended(name)
			require.False(t, is)
			return why == says
		}, time.Minute, 50*time.Millisecond)
	}
	waits("recover/frende works")
	running, err := temporal.Running(t.Context(), c, "recover/frende@"+first.GetRunID())
	require.NoError(t, err)
	require.True(t, running)
	end(first)
	require.Eventually(t, func() bool { is, _ := ended(name); return is }, time.Minute, 50*time.Millisecond)

	// It ended; another run of the same ID, or the component's own child, may go on with its work.
	second := start("recover/frende", api.RecoverSystem)
	is, why := ended(name)
	require.False(t, is)
	require.Equal(t, "recover/frende works", why)
	running, err = temporal.Running(t.Context(), c, "recover/frende@"+first.GetRunID())
	require.NoError(t, err)
	require.True(t, running, "a run that was reset goes on under another run ID")
	end(second)
	child := start("recover/frende/cache/sessions", api.RestoreCache)
	_, why = ended(name)
	require.Equal(t, "recover/frende/cache/sessions works on it", why)
	end(child)
	is, _ = ended(name)
	require.True(t, is)

	// What Temporal does not know may live elsewhere.
	_, why = ended("20240115T094122Z-00000000")
	require.Contains(t, why, "Temporal does not know run 20240115T094122Z-00000000, or no longer")
	_, why = ended("somebody")
	require.Equal(t, "its name is not that of a run", why)
	running, err = temporal.Running(t.Context(), c, "backup/frende/x@y")
	require.NoError(t, err)
	require.False(t, running)
}

func TestWhoeverReadsBackupsIsNamed(t *testing.T) {
	c := connect(t)
	w := worker.New(c.Client, api.Queue, worker.Options{DisableRegistrationAliasing: true})
	for _, name := range []string{api.DrillSystem, api.HoldSystem, api.BackupFiles} {
		w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
			workflow.GetSignalChannel(ctx, "end").Receive(ctx, nil)
			return nil
		}, workflow.RegisterOptions{Name: name})
	}
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	for _, one := range []struct{ id, kind, reads string }{
		{"backup/frende/files", api.BackupFiles, ""}, {"drill/frende/2024-Q1", api.DrillSystem, "drill/frende/2024-Q1"}, {api.HoldID("frende"), api.HoldSystem, "hold/frende"},
	} {
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: one.id, TaskQueue: api.Queue}, one.kind)
		require.NoError(t, err)
		reads := func(want string) {
			require.Eventually(t, func() bool { // Temporal's list lags behind
				found, err := temporal.Reading(t.Context(), c, "frende")
				require.NoError(t, err)
				return found == want
			}, time.Minute, 50*time.Millisecond)
		}
		reads(one.reads)
		require.NoError(t, c.SignalWorkflow(t.Context(), one.id, "", "end", nil))
		require.NoError(t, run.Get(t.Context(), nil))
		reads("")
	}
}

func TestARunThatWasEndedInTemporalIsAborted(t *testing.T) {
	c := connect(t)
	w := worker.New(c.Client, api.Queue, worker.Options{DisableRegistrationAliasing: true})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error { return workflow.Await(ctx, func() bool { return false }) }, workflow.RegisterOptions{Name: api.DrillSystem})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	for says, end := range map[string]func(id string) error{
		"it was cancelled in Temporal":                          func(id string) error { return c.CancelWorkflow(t.Context(), id, "") },
		"it was terminated in Temporal, and cleared nothing up": func(id string) error { return c.TerminateWorkflow(t.Context(), id, "", "by a person") },
	} {
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "drill", TaskQueue: api.Queue}, api.DrillSystem)
		require.NoError(t, err)
		require.NoError(t, end("drill"))
		err = temporal.Named("watch", "drill", run.Get(t.Context(), nil))
		require.True(t, fault.Has(err, fault.Aborted), "%v", err)
		require.ErrorContains(t, err, says)
	}
}
