package backup_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

var asked = time.Date(2024, 1, 15, 9, 45, 1, 0, time.UTC)

const newest = "redis-backups/2024/01/15/sessions_redis_backup_20240115_093000.rdb"

// oneCache has one cache. Each activity must be called as often as a test says.
func oneCache(t *testing.T, unchanged redis.UnchangedResult, proof string) *testsuite.TestWorkflowEnvironment {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
	workflows.Register(env)
	registerOne(env, "records.LoadSystem", func(context.Context, records.LoadInput) (records.Loaded, error) {
		return records.Loaded{System: system.System{
			Name: "frende", Backup: system.Backup{Enabled: true, Compression: "zstd"}, Stores: []system.Store{{Name: "primary"}}, Caches: []system.Cache{{Name: "sessions"}},
		}}, nil
	})
	registerOne(env, "redis.Unchanged", func(context.Context, redis.UnchangedInput) (redis.UnchangedResult, error) { return unchanged, nil })
	registerOne(env, "records.RecordUnchanged", func(_ context.Context, in records.UnchangedInput) (records.UnchangedResult, error) {
		require.Equal(t, api.Unchanged{Component: "cache/sessions", Key: newest, At: asked}, in.Unchanged)
		return records.UnchangedResult{Proof: proof}, nil
	})
	registerOne(env, "redis.BackupPreflight", func(context.Context, redis.BackupPreflightInput) (redis.BackupPreflightResult, error) {
		return redis.BackupPreflightResult{}, nil
	})
	registerOne(env, "redis.Backup", func(context.Context, redis.BackupInput) (redis.BackupResult, error) {
		return redis.BackupResult{Key: "redis-backups/new"}, nil
	})
	registerOne(env, "vault.Verify", func(context.Context, vault.VerifyInput) (vault.VerifyResult, error) { return vault.VerifyResult{}, nil })
	registerOne(env, "records.RecordBackup", func(context.Context, records.BackupInput) error { return nil })
	return env
}

func registerOne(env *testsuite.TestWorkflowEnvironment, name string, do any) {
	env.RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name})
}

func TestACacheThatDidNotChangeIsNotBackedUpAgain(t *testing.T) {
	env := oneCache(t, redis.UnchangedResult{Key: newest, At: asked}, "L1")
	env.OnActivity("redis.Backup", mock.Anything, mock.Anything).Never()
	env.ExecuteWorkflow(api.BackupCache, api.BackupInput{IfChanged: true})
	require.NoError(t, env.GetWorkflowError())
	var result api.BackupResult
	require.NoError(t, env.GetWorkflowResult(&result))
	require.Empty(t, result.Backups)
	require.Equal(t, []api.Unchanged{{Component: "cache/sessions", Key: newest, At: asked, Proof: "L1"}}, result.Unchanged)
	env.AssertExpectations(t)
}

func TestACacheIsBackedUpWhenItChangedOrItsNewestBackupIsNotProven(t *testing.T) {
	for name, c := range map[string]struct {
		input api.BackupInput
		found redis.UnchangedResult
		proof string
	}{
		"changed":     {api.BackupInput{IfChanged: true}, redis.UnchangedResult{Key: newest, At: asked, Why: "3 changes"}, "L1"},
		"unproven":    {api.BackupInput{IfChanged: true}, redis.UnchangedResult{Key: newest, At: asked}, ""},
		"unasked for": {api.BackupInput{}, redis.UnchangedResult{Key: newest, At: asked}, "L1"},
	} {
		t.Run(name, func(t *testing.T) {
			env := oneCache(t, c.found, c.proof)
			env.ExecuteWorkflow(api.BackupCache, c.input)
			require.NoError(t, env.GetWorkflowError())
			var result api.BackupResult
			require.NoError(t, env.GetWorkflowResult(&result))
			require.Empty(t, result.Unchanged)
			require.Len(t, result.Backups, 1)
			require.Equal(t, "redis-backups/new", result.Backups[0].Key)
		})
	}
}

func TestIfChangedIsRefusedForWhatCantSay(t *testing.T) {
	for _, workflow := range []string{api.BackupSystem, api.BackupDatabase, api.BackupFiles, api.BackupConfiguration} {
		env := oneCache(t, redis.UnchangedResult{}, "")
		env.ExecuteWorkflow(workflow, api.BackupInput{IfChanged: true})
		err := temporalfault.FromTemporal(env.GetWorkflowError())
		require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
		require.ErrorContains(t, err, "if_changed is for BackupCache")
	}
}
