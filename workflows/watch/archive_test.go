package watch_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/watch"
)

// archives runs a check whose databases are found so, and gives what was filed and which backups were begun.
func archives(t *testing.T, found map[string]api.ArchiveChecked) (env *testsuite.TestWorkflowEnvironment, filed *[]records.Record, begun *[]api.BackupInput) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env = suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
	filed, begun = &[]records.Record{}, &[]api.BackupInput{}
	var mu sync.Mutex // two databases are checked at once
	env.RegisterWorkflowWithOptions(watch.CheckArchive, workflow.RegisterOptions{Name: api.CheckArchive})
	env.RegisterWorkflowWithOptions(func(_ workflow.Context, in api.BackupInput) error {
		mu.Lock()
		defer mu.Unlock()
		*begun = append(*begun, in)
		return nil
	}, workflow.RegisterOptions{Name: api.BackupDatabase})
	s := system.System{Name: "frende", Backup: system.Backup{Compression: system.CompressionZstd}, Targets: []system.Target{{Name: "production", Kind: system.TargetProduction}}}
	for _, name := range []string{"events", "frende"} {
		s.Databases = append(s.Databases, system.Database{Name: name})
	}
	env.RegisterActivityWithOptions(records.New(records.Deps{
		Load: func() (system.System, error) { return s, nil },
		File: func(_ context.Context, _ system.System, r records.Record) error {
			mu.Lock()
			defer mu.Unlock()
			*filed = append(*filed, r)
			return nil
		},
	}), activity.RegisterOptions{Name: "records."})
	env.RegisterActivityWithOptions(func(_ context.Context, in postgres.CheckArchiveInput) (api.ArchiveChecked, error) {
		one, ok := found[in.Component]
		if !ok {
			return one, temporalfault.ToTemporal(fault.Newf(fault.ConfigInvalid, "look at", in.Component, "on purpose"))
		}
		one.Component = "database/" + in.Component
		return one, nil
	}, activity.RegisterOptions{Name: "postgres.CheckArchive"})
	return env, filed, begun
}

func TestCheckThatFindsNothingFilesNothing(t *testing.T) {
	env, filed, begun := archives(t, map[string]api.ArchiveChecked{"frende": {Newest: "1"}, "events": {Late: []string{"2"}}})
	env.ExecuteWorkflow(api.CheckArchive)
	require.NoError(t, env.GetWorkflowError())
	var result api.CheckArchiveResult
	require.NoError(t, env.GetWorkflowResult(&result))
	require.Len(t, result.Archives, 2)
	require.Empty(t, *filed)
	require.Empty(t, *begun)
}

func TestLostWALIsFiledAndANewBaseBackupBegins(t *testing.T) {
	env, filed, begun := archives(t, map[string]api.ArchiveChecked{"frende": {Lost: []string{"7", "8"}}, "events": {Again: []string{"2"}}})
	env.ExecuteWorkflow(api.CheckArchive, api.CheckArchiveInput{By: "schedule archive"})
	err := temporalfault.FromTemporal(env.GetWorkflowError())
	require.True(t, fault.Has(err, fault.WALGap), "%v", err)
	require.ErrorContains(t, err, "2 lost, from 7 on")
	require.Len(t, *filed, 2)
	for _, one := range *filed {
		require.Equal(t, records.KindArchive, one.Kind)
	}
	require.Len(t, *begun, 1)
	require.Equal(t, "frende", (*begun)[0].Component)
}

func TestArchiveThatCanNotBeCheckedDoesNotKeepTheOthers(t *testing.T) {
	env, filed, begun := archives(t, map[string]api.ArchiveChecked{"frende": {Lost: []string{"7"}}})
	env.ExecuteWorkflow(api.CheckArchive)
	require.Error(t, env.GetWorkflowError())
	require.Len(t, *filed, 1)
	require.Len(t, *begun, 1)

	env, _, _ = archives(t, nil)
	env.ExecuteWorkflow(api.CheckArchive, map[string]string{"late": "-1m"})
	require.True(t, fault.Has(temporalfault.FromTemporal(env.GetWorkflowError()), fault.InputInvalid))
	env, _, begun = archives(t, map[string]api.ArchiveChecked{"frende": {}})
	env.ExecuteWorkflow(api.CheckArchive, api.CheckArchiveInput{Component: "frende"})
	require.NoError(t, env.GetWorkflowError())
	require.Empty(t, *begun)
}
