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

	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/activities/hosts"
	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

// stage has something to clean up of every kind, and notes what removes it.
type stage struct {
	*testsuite.TestWorkflowEnvironment
	mu      sync.Mutex // activities run at once
	removed []string
	filed   []api.CleanUpResult
	expire  error
}

// remove notes what was removed.
func (s *stage) remove(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = append(s.removed, what)
}

func newStage(_ *testing.T) *stage {
	var suite testsuite.WorkflowTestSuite
	s := &stage{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment()}
	s.SetTestTimeout(time.Minute)
	s.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
	workflows.Register(s)
	of := system.System{
		Name: "frende", Backup: system.Backup{Compression: "zstd"}, Databases: []system.Database{{Name: "frende"}}, Caches: []system.Cache{{Name: "sessions"}},
		Files: []system.FileSet{{Name: "uploads"}}, Configurations: []system.FileSet{{Name: "etc"}},
	}
	var left hosts.LeftoversResult
	for _, component := range of.Components() {
		left.Staging = append(left.Staging, hosts.Staging{Component: component, Run: "r1", Path: "/srv/" + component.Name + ".lifeboat-new-r1"})
	}
	left.Old = []hosts.Old{{Component: "files/uploads", Dir: "/srv/uploads", Run: "r0", Path: "/srv/uploads.lifeboat-old-r0", At: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}}
	left.Old = append(left.Old, hosts.Old{What: api.RecoveryJournal, Component: "configuration/etc", Dir: "/srv/etc", Run: "r0", Path: "/srv/etc.lifeboat-swap-r0", At: left.Old[0].At})
	left.Kept = []api.Cleaned{{What: api.OldDirectory, Subject: "/srv/young", Why: "kept for undo"}}
	register(s, "records.LoadSystem", func(context.Context, records.LoadInput) (records.Loaded, error) {
		return records.Loaded{System: of}, nil
	})
	register(s, "hosts.Leftovers", func(context.Context, hosts.LeftoversInput) (hosts.LeftoversResult, error) { return left, nil })
	register(s, "vault.Sweep", func(_ context.Context, in vault.SweepInput) (vault.SweepResult, error) {
		if !in.DryRun {
			s.remove("chunks")
		}
		return vault.SweepResult{
			Removed: []api.Cleaned{{What: api.UnfinishedBackup, Subject: "file-backups/dead"}}, Kept: []api.Cleaned{{What: api.UnfinishedBackup, Subject: "file-backups/live"}},
		}, nil
	})
	register(s, "hosts.Expire", func(_ context.Context, in hosts.ExpireInput) error {
		s.remove(in.Dir + " " + in.Run)
		return s.expire
	})
	register(s, "postgres.DiscardRun", func(_ context.Context, in postgres.DiscardRunInput) (postgres.DiscardResult, error) {
		s.remove("database/" + in.Component + " " + in.RunID)
		return postgres.DiscardResult{}, temporalfault.ToTemporal(fault.Newf(fault.TargetRefused, "discard", "/srv/pg", "it is fenced"))
	})
	register(s, "postgres.ReplacedDatabases", func(_ context.Context, in postgres.ReplacedInput) (postgres.ReplacedResult, error) {
		return postgres.ReplacedResult{
			Old:  []postgres.OldDatabase{{Name: in.Ref.Component + "_before_r0", Run: "r0", At: left.Old[0].At}},
			Kept: []api.Cleaned{{What: api.OldDatabase, Subject: "frende_before_young", Why: "kept for undo"}}, Why: "not all were looked at",
		}, nil
	})
	register(s, "postgres.DropReplaced", func(_ context.Context, in postgres.DropReplacedInput) error {
		s.remove(in.Name + " " + in.Ref.RunID)
		return nil
	})
	register(s, "redis.DiscardRun", func(_ context.Context, in redis.DiscardRunInput) (redis.DiscardResult, error) {
		s.remove("cache/" + in.Cache.Name + " " + in.RunID)
		return redis.DiscardResult{}, nil
	})
	register(s, "files.DiscardRun", func(_ context.Context, in files.DiscardRunInput) (files.DiscardResult, error) {
		s.remove("set " + in.Set.Name + " " + in.RunID)
		return files.DiscardResult{}, nil
	})
	register(s, "records.RecordCleanUp", func(_ context.Context, in records.CleanUpInput) error {
		s.filed = append(s.filed, in.Result)
		return nil
	})
	return s
}

func register(s *stage, name string, do any) {
	s.RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name})
}

func subjects(all []api.Cleaned) []string {
	var names []string
	for _, one := range all {
		names = append(names, one.Subject)
	}
	return names
}

func TestACleanUpRemovesEachKindAndSaysWhatItKept(t *testing.T) {
	s := newStage(t)
	s.ExecuteWorkflow(api.CleanUp, api.CleanUpInput{})
	require.NoError(t, s.GetWorkflowError())
	var result api.CleanUpResult
	require.NoError(t, s.GetWorkflowResult(&result))
	require.Equal(t, []string{"chunks", "/srv/uploads r0", "/srv/etc r0", "database/frende r1", "cache/sessions r1", "set uploads r1", "set etc r1", "frende_before_r0 r0"}, s.removed)
	require.Equal(t, []string{
		"file-backups/dead", "/srv/uploads.lifeboat-old-r0", "/srv/etc.lifeboat-swap-r0", "/srv/sessions.lifeboat-new-r1", "/srv/uploads.lifeboat-new-r1", "/srv/etc.lifeboat-new-r1", "frende_before_r0",
	}, subjects(result.Removed))
	require.Equal(t, []string{"/srv/young", "frende_before_young", "file-backups/live", "/srv/frende.lifeboat-new-r1"}, subjects(result.Kept))
	require.Contains(t, result.Kept[3].Why, "it is fenced", "a refusal is an answer, not a failure")
	require.Contains(t, result.Notes[0], "finished backups and WAL were not looked at")
	require.Equal(t, "not all were looked at", result.Notes[1])
	require.Equal(t, []api.CleanUpResult{result}, s.filed)
}

func TestADryRunOfACleanUpRemovesNothing(t *testing.T) {
	s := newStage(t)
	s.ExecuteWorkflow(api.CleanUp, api.CleanUpInput{DryRun: true})
	require.NoError(t, s.GetWorkflowError())
	var result api.CleanUpResult
	require.NoError(t, s.GetWorkflowResult(&result))
	require.Empty(t, s.removed)
	require.Empty(t, s.filed)
	require.Len(t, result.Removed, 8)
	require.Equal(t, api.Cleaned{
		What: api.RecoveryJournal, Component: "configuration/etc", Subject: "/srv/etc.lifeboat-swap-r0",
		Why: "recovery r0 put /srv/etc in place of nothing on 2024-01-01T00:00:00Z, longer ago than it can be undone",
	}, result.Removed[2])
	require.True(t, result.DryRun)
}

func TestOneFailureOfACleanUpDoesNotKeepTheOthers(t *testing.T) {
	s := newStage(t)
	s.expire = temporalfault.ToTemporal(fault.Newf(fault.StorageDenied, "remove", "/srv/uploads.lifeboat-old-r0", "not ours"))
	s.ExecuteWorkflow(api.CleanUp, api.CleanUpInput{})
	err := temporalfault.FromTemporal(s.GetWorkflowError())
	require.True(t, fault.Has(err, fault.StorageDenied), "%v", err)
	require.Len(t, s.removed, 8)
	require.Len(t, s.filed, 1, "what was removed is on record all the same")
	require.NotContains(t, subjects(s.filed[0].Removed), "/srv/uploads.lifeboat-old-r0")
	require.Contains(t, subjects(s.filed[0].Kept), "/srv/uploads.lifeboat-old-r0")
}

func TestABadInputOfACleanUpIsRefused(t *testing.T) {
	s := newStage(t)
	s.ExecuteWorkflow(api.CleanUp, map[string]any{"dryrun": true})
	err := temporalfault.FromTemporal(s.GetWorkflowError())
	require.True(t, fault.Has(err, fault.InputInvalid), "a typo must not turn a dry run into a real one: %v", err)
	require.Empty(t, s.removed)
}
