package backup_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

const (
	uploadsKey = "file-backups/2024/01/15/uploads_file_backup_20240115_020000.tree"
	dumpKey    = "database-backups/2024/01/15/frende_db_backup_20240115_020000.sql.gz"
)

var noon = time.Date(2024, 1, 15, 12, 0, 0, 0, time.UTC)

// stage is a test environment whose activities all succeed at once. A test
// replaces those it is about.
type stage struct {
	*testsuite.TestWorkflowEnvironment
	t     *testing.T
	mu    sync.Mutex
	filed []records.ReportInput
}

func newStage(t *testing.T) *stage {
	var suite testsuite.WorkflowTestSuite
	s := &stage{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t}
	s.SetTestTimeout(time.Minute)
	s.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
	s.SetStartTime(noon)
	workflows.Register(s)
	answer(s, "records.LoadSystem", records.LoadInput{}, records.Loaded{System: system.System{
		Name: "frende", Plan: system.Plan{Version: "1.0"}, Backup: system.Backup{Enabled: true, Compression: "zstd"},
		Stores:         []system.Store{{Name: "primary", Replica: "second"}, {Name: "second"}},
		Databases:      []system.Database{{Name: "frende"}},
		Caches:         []system.Cache{{Name: "sessions"}},
		Files:          []system.FileSet{{Name: "uploads", Root: "/srv/uploads"}},
		Configurations: []system.FileSet{{Name: "frende", Root: "/etc/frende"}},
	}})
	answer(s, "records.RecordBackup", records.BackupInput{}, struct{}{})
	answer(s, "postgres.BackupPreflight", postgres.BackupPreflightInput{}, postgres.BackupPreflightResult{})
	answer(s, "postgres.BaseBackup", postgres.BaseBackupInput{}, postgres.BaseBackupResult{Key: "database-backups/x", Bytes: 1000, Stored: 400})
	answer(s, "postgres.DumpPreflight", postgres.DumpPreflightInput{}, postgres.DumpPreflightResult{Bytes: 1000})
	answer(s, "postgres.Dump", postgres.DumpInput{}, postgres.DumpResult{Key: dumpKey, Bytes: 900, Stored: 300, Facts: postgres.DumpFacts{Tables: 2, Rows: 7, Started: noon, Snapshot: noon}})
	answer(s, "redis.BackupPreflight", redis.BackupPreflightInput{}, redis.BackupPreflightResult{})
	answer(s, "redis.Backup", redis.BackupInput{}, redis.BackupResult{Key: "redis-backups/x"})
	answer(s, "files.Backup", files.BackupInput{}, files.BackupResult{Key: uploadsKey, Bytes: 2000, Stored: 1500})
	answer(s, "vault.Verify", vault.VerifyInput{}, vault.VerifyResult{Objects: 4})
	s.RegisterActivityWithOptions(func(_ context.Context, in records.ReportInput) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.filed = append(s.filed, in)
		return nil
	}, activity.RegisterOptions{Name: "records.FileReport"})
	s.OnWorkflow(api.ReplicateStore, mock.Anything, mock.Anything).Return(api.ReplicateResult{From: "primary", To: "second", Objects: 7, Bytes: 1 << 20}, nil).Maybe()
	return s
}

// answer registers an activity that returns result at once.
func answer[I, R any](s *stage, name string, _ I, result R) {
	s.RegisterActivityWithOptions(func(context.Context, I) (R, error) { return result, nil }, activity.RegisterOptions{Name: name})
}

func (s *stage) run(workflow string, in any) (api.BackupResult, error) {
	s.ExecuteWorkflow(workflow, in)
	require.True(s.t, s.IsWorkflowCompleted())
	s.AssertExpectations(s.t)
	if err := s.GetWorkflowError(); err != nil {
		return api.BackupResult{}, err
	}
	var result api.BackupResult
	require.NoError(s.t, s.GetWorkflowResult(&result))
	return result, nil
}

func ids(steps []report.Step) []string {
	all := make([]string, 0, len(steps))
	for _, step := range steps {
		all = append(all, step.ID)
	}
	return all
}

func TestBackupOfASystemIsFiledOnceWithTheStepsOfItsParts(t *testing.T) {
	s := newStage(t)
	result, err := s.run(api.BackupSystem, api.BackupInput{By: "schedule"})
	require.NoError(t, err)
	require.Len(t, result.Backups, 4)
	require.Empty(t, result.Steps)
	require.Len(t, s.filed, 1, "the parts file none of their own")
	require.Len(t, s.filed[0].Children, 4, "whose histories hold the attempts")

	run := s.filed[0].Record
	require.Equal(t, report.Succeeded, run.Outcome)
	require.Equal(t, "BackupSystem", run.Kind)
	require.Equal(t, "schedule", run.By)
	require.Equal(t, "frende", run.System)
	require.False(t, run.Finished.IsZero())
	require.Len(t, run.Backups, 4)
	require.Equal(t, report.Backup{Component: "database/frende", Key: "database-backups/x", Bytes: 1000, Stored: 400, LSN: "0/0", Proof: "L1"}, run.Backups[0])
	require.ElementsMatch(t, []string{
		"configuration", "replicate",
		"database/frende/preflight", "database/frende/base-backup", "database/frende/read-back", "database/frende/record",
		"cache/sessions/preflight", "cache/sessions/rdb", "cache/sessions/read-back", "cache/sessions/record",
		"files/uploads/capture", "files/uploads/read-back", "files/uploads/record",
		"configuration/frende/capture", "configuration/frende/read-back", "configuration/frende/record",
	}, ids(run.Steps))
	for _, step := range run.Steps {
		require.Equal(t, report.Succeeded, step.Outcome, step.ID)
		if step.ID == "replicate" {
			require.Equal(t, "7 objects, 1.0 MiB, from primary to second", step.Detail)
		}
	}
}

func TestBackupOfAPartByItselfIsFiled(t *testing.T) {
	s := newStage(t)
	_, err := s.run(api.BackupFiles, api.BackupInput{Component: "uploads"})
	require.NoError(t, err)
	require.Len(t, s.filed, 1)
	require.Equal(t, uploadsKey, s.filed[0].Record.Backups[0].Key)
	require.Equal(t, []string{"configuration", "files/uploads/capture", "files/uploads/read-back", "files/uploads/record", "replicate"}, ids(s.filed[0].Record.Steps))
}

func TestABackupSaysFromWhichServerItWasCopiedAndWhyNotFromTheStandby(t *testing.T) {
	for name, c := range map[string]struct {
		facts        postgres.Facts
		note, detail string
	}{
		"standby": {postgres.Facts{Standby: "postgresql at standby:5432"}, "", "database-backups/x, from the standby postgresql at standby:5432"},
		"primary": {postgres.Facts{NoStandby: "it lags", Damaged: 1}, "taken from the primary: it lags; 1 files have pages with wrong checksums", "database-backups/x"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.OnActivity("postgres.BaseBackup", mock.Anything, mock.MatchedBy(func(in postgres.BaseBackupInput) bool { return in.Component == "frende" })).
				Return(postgres.BaseBackupResult{Key: "database-backups/x", Bytes: 1000, Stored: 400, Facts: c.facts}, nil)
			result, err := s.run(api.BackupDatabase, api.BackupInput{Component: "frende"})
			require.NoError(t, err)
			require.Equal(t, c.note, result.Backups[0].Note)
			require.Equal(t, c.detail, s.filed[0].Record.Steps[2].Detail)
		})
	}
}

func TestADumpIsReadBackRecordedAndReplicatedAsABackup(t *testing.T) {
	s := newStage(t)
	s.OnActivity("postgres.Dump", mock.Anything, mock.MatchedBy(func(in postgres.DumpInput) bool { return in.Format == "custom" })).
		Return(postgres.DumpResult{Key: dumpKey, Bytes: 900, Stored: 300, Facts: postgres.DumpFacts{Tables: 2, Rows: 7, Started: noon, Snapshot: noon}}, nil)
	result, err := s.run(api.DumpDatabase, api.BackupInput{Component: "frende", Format: "custom"})
	require.NoError(t, err)
	require.Equal(t, []api.BackupMade{{Component: "database/frende", Key: dumpKey, Bytes: 900, Stored: 300, From: noon, To: noon, Proof: "L1"}}, result.Backups)
	run := s.filed[0].Record
	require.Equal(t, []string{"configuration", "database/frende/preflight", "database/frende/dump", "database/frende/read-back", "database/frende/record", "replicate"}, ids(run.Steps))
	require.Equal(t, dumpKey+": 2 tables, 7 rows", run.Steps[2].Detail)
}

func TestOnlyADumpHasAFormatAndOnlyOneThatThereIs(t *testing.T) {
	for workflow, format := range map[string]string{api.BackupDatabase: "custom", api.DumpDatabase: "tar"} {
		_, err := newStage(t).run(workflow, api.BackupInput{Format: format})
		require.True(t, fault.Has(temporalfault.FromTemporal(err), fault.InputInvalid), "%s: %v", workflow, err)
	}
}

func TestPartOfALargerBackupFilesNothing(t *testing.T) {
	s := newStage(t)
	result, err := s.run(api.BackupFiles, api.BackupInput{Component: "uploads", Within: "backup/frende/20240115T120000Z"})
	require.NoError(t, err)
	require.Empty(t, s.filed)
	require.Len(t, result.Steps, 4)
}

func TestLostLedgerMakesNoGoodBackupABadOne(t *testing.T) {
	s := newStage(t)
	s.OnActivity("records.FileReport", mock.Anything, mock.Anything).
		Return(temporalfault.ToTemporal(fault.New(fault.StorageUnavailable, "put object", "ledger/host/000000000007", nil)))
	result, err := s.run(api.BackupFiles, api.BackupInput{Component: "uploads"})
	require.NoError(t, err)
	require.Equal(t, uploadsKey, result.Backups[0].Key)
	value, err := s.QueryWorkflow(api.QueryProgress)
	require.NoError(t, err)
	var p api.Progress
	require.NoError(t, value.Get(&p))
	require.Equal(t, api.PhaseDone, p.Phase)
	require.Contains(t, p.Failure, "the report could not be filed: StorageUnavailable")
}

func TestFailedBackupIsFiledWithWhatWasMadeAllTheSame(t *testing.T) {
	s := newStage(t)
	s.OnActivity("redis.Backup", mock.Anything, mock.Anything).
		Return(redis.BackupResult{}, temporalfault.ToTemporal(fault.New(fault.ServerRefused, "copy RDB of", "sessions", nil)))
	_, err := s.run(api.BackupSystem, api.BackupInput{})
	require.True(t, fault.Has(temporalfault.FromTemporal(err), fault.ServerRefused), "%v", err)
	require.Len(t, s.filed, 1)
	run := s.filed[0].Record
	require.Equal(t, report.Failed, run.Outcome)
	require.Len(t, run.Backups, 3)
	require.Len(t, run.Failures, 1, "the same failure is told once")
	require.Equal(t, "ServerRefused", run.Failures[0].Kind)
	require.NotEmpty(t, run.Failures[0].Hint)
	for _, step := range run.Steps {
		if step.ID == "cache/sessions" {
			require.Equal(t, "ServerRefused", step.Failure.Kind)
			return
		}
	}
	require.Fail(t, "the part that failed is no step", strings.Join(ids(run.Steps), " "))
}

func TestCancelledBackupIsFiledAsAborted(t *testing.T) {
	s := newStage(t)
	s.OnActivity("vault.Verify", mock.Anything, mock.Anything).
		Return(vault.VerifyResult{}, temporalfault.ToTemporal(fault.New(fault.StorageUnavailable, "get object", uploadsKey, nil)))
	s.RegisterDelayedCallback(s.CancelWorkflow, 10*time.Second)
	_, err := s.run(api.BackupFiles, api.BackupInput{Component: "uploads"})
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	require.Len(t, s.filed, 1)
	run := s.filed[0].Record
	require.Equal(t, report.Aborted, run.Outcome)
	require.Equal(t, "aborted", run.Phase)
	require.Empty(t, run.Backups, "it was not read back")
	require.Equal(t, "files/uploads/read-back", run.Steps[2].ID)
	require.Equal(t, report.Aborted, run.Steps[2].Outcome)
}

func TestRunThatNeverKnewItsSystemFilesNothing(t *testing.T) {
	s := newStage(t)
	_, err := s.run(api.BackupSystem, map[string]string{"systm": "frende"})
	require.True(t, fault.Has(temporalfault.FromTemporal(err), fault.InputInvalid), "%v", err)
	require.Empty(t, s.filed)
}

func TestABackupOfADatabaseIsAsGoodWithoutAReference(t *testing.T) {
	loaded := records.Loaded{System: system.System{
		Name: "frende", Plan: system.Plan{Version: "1.0"}, Backup: system.Backup{Enabled: true, Compression: "zstd"},
		Stores: []system.Store{{Name: "primary"}}, Databases: []system.Database{{Name: "frende", Compare: system.CompareFull}},
	}}
	for name, failed := range map[string]error{
		"taken": nil, "refused": temporalfault.ToTemporal(fault.Newf(fault.ServerRefused, "take reference of", "frende", "somebody writes")),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			answer(s, "postgres.KeepReference", postgres.KeepReferenceInput{}, postgres.KeepReferenceResult{})
			s.OnActivity("records.LoadSystem", mock.Anything, mock.Anything).Return(loaded, nil)
			s.OnActivity("postgres.KeepReference", mock.Anything, mock.Anything).Return(
				func(_ context.Context, in postgres.KeepReferenceInput) (postgres.KeepReferenceResult, error) {
					require.Equal(t, "database-backups/x", in.Key)
					return postgres.KeepReferenceResult{Segment: "000000010000000000000007", Tables: 3}, failed
				})
			result, err := s.run(api.BackupDatabase, api.BackupInput{})
			require.NoError(t, err)
			require.Len(t, result.Backups, 1)
			require.Contains(t, ids(s.filed[0].Record.Steps), "database/frende/reference")
			if failed != nil {
				require.Contains(t, result.Backups[0].Note, "it can't be proven at L3: ServerRefused")
			}
		})
	}
}
