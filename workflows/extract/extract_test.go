package extract_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	engine "github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

const key = "database-backups/2024/01/15/frende_db_backup_20240115_020000.base"

// stage is a test environment whose activities all succeed at once, but for those in fails.
type stage struct {
	*testsuite.TestWorkflowEnvironment
	mu    sync.Mutex       // activities may run at once
	fails map[string]error // by activity
	done  []string         // activities, in their order
	asked postgres.ScratchPreflightInput
	taken postgres.ExtractInput
	filed []report.Run
}

func newStage(t *testing.T) *stage {
	var suite testsuite.WorkflowTestSuite
	s := &stage{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), fails: map[string]error{}}
	s.SetTestTimeout(time.Minute)
	s.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
	workflows.Register(s)
	step(s, "records.LoadSystem", func(records.LoadInput) any {
		return records.Loaded{System: system.System{Name: "frende", Backup: system.Backup{Compression: "zstd"}, Databases: []system.Database{{Name: "frende"}}}}
	})
	step(s, "records.FileReport", func(in records.ReportInput) any { s.filed = append(s.filed, in.Record); return nil })
	step(s, "postgres.CheckFile", func(postgres.CheckFileInput) any { return nil })
	step(s, "postgres.ScratchPreflight", func(in postgres.ScratchPreflightInput) any {
		s.asked = in
		return postgres.ScratchPreflightResult{RestorePreflightResult: postgres.RestorePreflightResult{Key: key, Goal: &postgres.Goal{Timeline: 1, Goal: engine.Goal{LSN: 0x3000148}}}}
	})
	step(s, "postgres.Restore", func(postgres.RestoreInput) any { return postgres.RestoreResult{} })
	step(s, "postgres.Replay", func(in postgres.ReplayInput) any {
		require.NotNil(t, in.Goal)
		return postgres.ReplayResult{LSN: 0x3000148}
	})
	step(s, "postgres.Extract", func(in postgres.ExtractInput) any {
		s.taken = in
		return postgres.ExtractResult{Database: "frende", Tables: []api.TableDigest{{Name: "public.users", Rows: 7}}, Bytes: 100, Plain: true}
	})
	step(s, "postgres.DiscardScratch", func(in postgres.DiscardScratchInput) any {
		require.True(t, in.Scratch)
		return postgres.DiscardResult{Removed: true}
	})
	return s
}

// step registers an activity.
func step[I any](s *stage, name string, do func(I) any) {
	s.RegisterActivityWithOptions(func(_ context.Context, in I) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.done = append(s.done, name)
		answer := do(in)
		if err := s.fails[name]; err != nil {
			return nil, temporalfault.ToTemporal(err)
		}
		return answer, nil
	}, activity.RegisterOptions{Name: name})
}

func (s *stage) run(t *testing.T, in api.ExtractInput) (result api.ExtractResult, err error) {
	s.ExecuteWorkflow(api.ExtractDatabase, in)
	require.True(t, s.IsWorkflowCompleted())
	if err := s.GetWorkflowError(); err != nil {
		return result, temporalfault.FromTemporal(err)
	}
	require.NoError(t, s.GetWorkflowResult(&result))
	return result, nil
}

func TestAnExtractionEndsWithTheFileAlone(t *testing.T) {
	s := newStage(t)
	result, err := s.run(t, api.ExtractInput{Tables: []string{"users"}, To: "lsn:0/3000148", File: "/var/tmp/users.sql", By: "ops@host"})
	require.NoError(t, err)
	require.Equal(t, []string{
		"records.LoadSystem", "postgres.CheckFile", "postgres.ScratchPreflight", "postgres.Restore", "postgres.Replay", "postgres.Extract", "postgres.DiscardScratch", "records.FileReport",
	}, s.done)
	require.Equal(t, "0/3000148", s.asked.To.LSN)
	require.NotNil(t, s.taken.Goal, "a server that has to be started again stops there, too")
	require.Equal(t, []any{"database/frende", key, "lsn:0/3000148", "frende", int64(7)}, []any{result.Component, result.Backup, result.Asked, result.Database, result.Tables[0].Rows})
	require.Equal(t, "ops@host", s.filed[0].By)
	require.Equal(t, report.Succeeded, s.filed[0].Outcome)

	s = newStage(t)
	_, err = s.run(t, api.ExtractInput{To: "backup:" + key, File: "/var/tmp/users.sql"})
	require.NoError(t, err)
	require.Equal(t, []any{key, "L2", true}, []any{s.asked.Key, s.asked.Proof, s.asked.To.Newest()}, "as it was when that backup ended")
}

func TestAnExtractionThatFailsLeavesNothing(t *testing.T) {
	for _, at := range []string{"postgres.ScratchPreflight", "postgres.Restore", "postgres.Replay", "postgres.Extract"} {
		s := newStage(t)
		s.fails[at] = fault.Newf(fault.NameUnknown, "find table in frende", "usres", "on purpose")
		_, err := s.run(t, api.ExtractInput{File: "/var/tmp/users.sql"})
		require.True(t, fault.Has(err, fault.NameUnknown), "%v", err)
		require.Equal(t, []string{"postgres.DiscardScratch", "records.FileReport"}, s.done[len(s.done)-2:])
		require.Equal(t, report.Failed, s.filed[0].Outcome)
	}
}

func TestAnExtractionIsNotBegunWithWhatCanNotBe(t *testing.T) {
	for name, in := range map[string]api.ExtractInput{
		"no file": {}, "no point": {File: "/x", To: "yesterday"}, "another's backup": {File: "/x", To: "backup:redis-backups/2024/01/15/sessions_redis_backup_20240115_020000.rdb"},
	} {
		s := newStage(t)
		_, err := s.run(t, in)
		require.True(t, fault.Has(err, fault.InputInvalid), "%s: %v", name, err)
		require.NotContains(t, s.done, "postgres.Restore")
	}
	_, err := newStage(t).run(t, api.ExtractInput{File: "/x", Component: "other"})
	require.True(t, fault.Has(err, fault.NameUnknown), "%v", err)
}
