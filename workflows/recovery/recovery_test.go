package recovery_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/frende/lifeboat/activities/checks"
	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/activities/services"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

// stage is a test environment whose activities all succeed at once, and which
// notes their order. A test replaces those it is about.
type stage struct {
	*testsuite.TestWorkflowEnvironment
	t      *testing.T
	mu     sync.Mutex
	called []string
	filed  []report.Run
}

func frende() system.System {
	minutes := func(n int) system.Duration { return system.Duration(time.Duration(n) * time.Minute) }
	return system.System{
		Name:           "frende",
		Plan:           system.Plan{Version: "1.0"},
		Backup:         system.Backup{Enabled: true, Compression: "zstd"},
		Objectives:     system.Objectives{RTO: system.RTO{Critical: minutes(30), Application: minutes(10), System: minutes(60)}},
		Databases:      []system.Database{{Name: "frende", Critical: true, RTO: minutes(15), RPO: minutes(60), DataDir: "/srv/pg", Service: "postgresql"}},
		Caches:         []system.Cache{{Name: "sessions", RTO: minutes(30), DataDir: "/srv/redis", Service: "redis"}},
		Files:          []system.FileSet{{Name: "uploads", RTO: minutes(60), Root: "/srv/uploads"}},
		Configurations: []system.FileSet{{Name: "frende", RTO: minutes(60), Root: "/etc/frende"}},
		Services: []system.Service{
			{Name: "backend", Role: system.RoleApplication},
			{Name: "frontend", Role: system.RoleApplication},
			{Name: "postgresql", Role: system.RoleServer},
			{Name: "redis", Role: system.RoleServer},
		},
		Migrations: []system.Migration{{Name: "schema", Database: "frende", Command: []string{"app", "migrate"}}},
		Checks:     []system.Check{{Name: "front", Kind: system.CheckHTTP, URL: "http://127.0.0.1/healthz"}},
		Targets:    []system.Target{{Name: "production", Kind: system.TargetProduction}},
	}
}

// backupTaken is the recovery point of everything but the database; committed is that one's.
var (
	backupTaken = time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)
	committed   = time.Date(2024, 1, 15, 9, 41, 0, 0, time.UTC)
	disaster    = time.Date(2024, 1, 15, 9, 41, 22, 0, time.UTC)
)

func newStage(t *testing.T) *stage {
	var suite testsuite.WorkflowTestSuite
	s := &stage{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t}
	s.SetTestTimeout(time.Minute)
	s.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
	s.SetStartTime(disaster.Add(time.Minute))
	workflows.Register(s)
	production := system.Target{Name: "production", Kind: system.TargetProduction}
	answer(s, "records.LoadSystem", records.LoadInput{}, records.Loaded{System: frende(), Target: production})
	answer(s, "records.Notice", records.NoticeInput{}, none{})
	answer(s, "records.RecordPoints", records.PointsInput{}, records.PointsResult{Points: []report.Point{{Backup: "redis-backups/x", Proof: "L1"}}})
	s.RegisterActivityWithOptions(func(_ context.Context, in records.ReportInput) error {
		s.note("records.FileReport")
		s.mu.Lock()
		defer s.mu.Unlock()
		s.filed = append(s.filed, in.Record)
		return nil
	}, activity.RegisterOptions{Name: "records.FileReport"})

	answer(s, "postgres.RestorePreflight", postgres.RestorePreflightInput{}, postgres.RestorePreflightResult{Key: "database-backups/2024/01/15/frende_db_backup_20240115_020000.base", Facts: postgres.Facts{Started: backupTaken}})
	answer(s, "postgres.Restore", postgres.RestoreInput{}, postgres.RestoreResult{Bytes: 1000})
	answer(s, "postgres.VerifyFiles", postgres.VerifyFilesInput{}, postgres.VerifyFilesResult{})
	answer(s, "postgres.Replay", postgres.ReplayInput{}, postgres.ReplayResult{LSN: 0x3000148, Timeline: 1, Committed: &committed})
	answer(s, "postgres.Fence", postgres.FenceInput{}, postgres.FenceResult{})
	answer(s, "postgres.TerminateConnections", postgres.TerminateConnectionsInput{}, postgres.TerminateConnectionsResult{})
	answer(s, "postgres.SalvageWAL", postgres.SalvageWALInput{}, postgres.SalvageWALResult{})
	answer(s, "postgres.ReplayFinal", postgres.ReplayInput{}, postgres.ReplayResult{LSN: 0x3000148, Timeline: 1, Committed: &committed})
	answer(s, "postgres.Verify", postgres.VerifyInput{}, postgres.VerifyResult{})
	answer(s, "postgres.CutOver", postgres.CutOverInput{}, postgres.CutOverResult{})
	answer(s, "postgres.Promote", postgres.PromoteInput{}, postgres.PromoteResult{Timeline: 2})
	answer(s, "postgres.Unfence", postgres.UnfenceInput{}, postgres.UnfenceResult{})
	answer(s, "postgres.Discard", postgres.DiscardInput{}, postgres.DiscardResult{})

	answer(s, "redis.RestorePreflight", redis.RestorePreflightInput{}, redis.RestorePreflightResult{Key: "redis-backups/x", Facts: redis.Facts{Started: backupTaken}})
	answer(s, "redis.Restore", redis.RestoreInput{}, redis.RestoreResult{})
	answer(s, "redis.Verify", redis.VerifyInput{}, redis.VerifyResult{})
	answer(s, "redis.CutOver", redis.CutOverInput{}, redis.CutOverResult{})
	answer(s, "redis.Discard", redis.DiscardInput{}, redis.DiscardResult{})

	answer(s, "files.RestorePreflight", files.RestorePreflightInput{}, files.RestorePreflightResult{Key: "file-backups/x", Facts: files.Facts{Started: backupTaken}})
	answer(s, "files.Restore", files.RestoreInput{}, files.RestoreResult{})
	answer(s, "files.Verify", files.VerifyInput{}, files.VerifyResult{})
	answer(s, "files.CutOver", files.CutOverInput{}, files.CutOverResult{})
	answer(s, "files.Discard", files.DiscardInput{}, files.DiscardResult{})

	running := services.Result{Services: []services.Outcome{{Name: "backend", State: "running"}, {Name: "frontend", State: "running"}}}
	answer(s, "services.Status", services.StatusInput{}, running)
	answer(s, "services.Stop", services.StopInput{}, services.Result{})
	answer(s, "services.Start", services.StartInput{}, running)
	answer(s, "services.Migrate", services.MigrateInput{}, services.MigrateResult{})
	answer(s, "checks.Health", checks.HealthInput{}, checks.HealthResult{Results: []checks.Result{{Name: "front", OK: true}}})
	s.OnWorkflow(api.BackupDatabase, mock.Anything, mock.Anything).Return(api.BackupResult{}, nil).Maybe()
	return s
}

type none struct{}

// answer registers an activity that notes its call and returns result at once.
func answer[I, R any](s *stage, name string, _ I, result R) {
	s.RegisterActivityWithOptions(func(context.Context, I) (R, error) {
		s.note(name)
		return result, nil
	}, activity.RegisterOptions{Name: name})
}

// replace makes an activity do something else; it is still noted.
func replace[I, R any](s *stage, name string, do func(context.Context, I) (R, error)) {
	s.OnActivity(name, mock.Anything, mock.Anything).Return(func(ctx context.Context, in I) (R, error) {
		s.note(name)
		return do(ctx, in)
	})
}

func (s *stage) note(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.called = append(s.called, name)
}

func (s *stage) calls(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for _, called := range s.called {
		if called == name {
			count++
		}
	}
	return count
}

func (s *stage) first(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Index(s.called, name)
}

func (s *stage) last(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.called) - 1; i >= 0; i-- {
		if s.called[i] == name {
			return i
		}
	}
	return -1
}

func (s *stage) recover(in api.RecoverInput) (api.RecoverResult, error) {
	s.ExecuteWorkflow(api.RecoverSystem, in)
	require.True(s.t, s.IsWorkflowCompleted())
	s.AssertExpectations(s.t)
	if err := s.GetWorkflowError(); err != nil {
		return api.RecoverResult{}, temporalfault.FromTemporal(err)
	}
	var result api.RecoverResult
	require.NoError(s.t, s.GetWorkflowResult(&result))
	return result, nil
}

// step is one of the record that was filed first.
func (s *stage) step(id string) report.Step {
	i := slices.IndexFunc(s.filed[0].Steps, func(step report.Step) bool { return step.ID == id })
	require.GreaterOrEqual(s.t, i, 0, "no step %s", id)
	return s.filed[0].Steps[i]
}

func (s *stage) progress() api.Progress {
	value, err := s.QueryWorkflow(api.QueryProgress)
	require.NoError(s.t, err)
	var p api.Progress
	require.NoError(s.t, value.Get(&p))
	return p
}

func approved() api.RecoverInput {
	since := disaster
	return api.RecoverInput{YesDestroy: "frende", Since: &since, By: "dba@frende.com"}
}

func TestRecoverSystemCutsOverOnlyWhenEveryComponentIsReady(t *testing.T) {
	s := newStage(t)
	result, err := s.recover(approved())
	require.NoError(t, err)

	for _, before := range []string{"postgres.Verify", "redis.Verify", "files.Verify", "records.RecordPoints"} {
		for _, after := range []string{"postgres.CutOver", "redis.CutOver", "files.CutOver"} {
			require.Less(t, s.last(before), s.first(after), "%s before %s", before, after)
		}
	}
	require.Less(t, s.first("services.Stop"), s.first("postgres.Fence"))
	require.Less(t, s.last("postgres.Promote"), s.first("services.Migrate"))
	require.Less(t, s.first("services.Migrate"), s.first("services.Start"))
	require.Less(t, s.first("services.Start"), s.first("checks.Health"))
	require.Zero(t, s.calls("postgres.Unfence"), "nothing is taken back after a success")
	require.Zero(t, s.calls("postgres.Discard"))

	require.True(t, result.Met)
	require.Len(t, result.Components, 4)
	require.Equal(t, system.Duration(22*time.Second), result.Components[0].RPA, "from the last replayed commit to the disaster")
	require.Equal(t, "0/3000148", result.Components[0].Point.LSN)
	require.Len(t, s.filed, 1)
	require.Equal(t, report.Succeeded, s.filed[0].Outcome)
	require.Len(t, s.filed[0].Points, 4)
	require.Equal(t, "L1", s.filed[0].Points[1].Proof, "as the ledger has it")
	require.Empty(t, s.filed[0].Points[0].Proof, "nothing is claimed that was not proven")
	for _, step := range s.filed[0].Steps {
		require.Equal(t, report.Succeeded, step.Outcome, "%s", step.ID)
		require.NotEqual(t, "approve", step.ID, "nobody was waited for")
	}
	require.NotZero(t, s.filed[0].Clocks[0].Since)
	require.Equal(t, api.PhaseRecovered, s.progress().Phase)
}

func TestRecoverSystemWaitsForApprovalBeforeTouchingProduction(t *testing.T) {
	s := newStage(t)
	var wrong, typo, right *answered
	s.RegisterDelayedCallback(func() {
		require.Equal(t, api.PhaseWaiting, s.progress().Phase)
		require.Zero(t, s.calls("services.Stop"))
		require.Zero(t, s.calls("postgres.Fence"))
		wrong = update(s, api.UpdateApprove, api.Approval{System: "frend"})
		typo = update(s, api.UpdateApprove, map[string]string{"system": "frende", "stpe": "cut-over"})
	}, 20*time.Minute)
	s.RegisterDelayedCallback(func() {
		require.Equal(t, api.PhaseWaiting, s.progress().Phase, "a refused approval opens nothing")
		right = update(s, api.UpdateApprove, api.Approval{System: "frende", By: "dba@frende.com"})
	}, 21*time.Minute)
	_, err := s.recover(api.RecoverInput{})
	require.NoError(t, err)
	require.ErrorContains(t, wrong.rejected, `this is the recovery of "frende"`)
	require.ErrorContains(t, typo.rejected, "stpe")
	require.NoError(t, right.rejected)
	require.Equal(t, 1, s.calls("postgres.CutOver"))
	require.Equal(t, "dba@frende.com", s.filed[0].Approvals[0].By)
	approve := s.step("approve")
	require.True(t, approve.Waited)
	require.True(t, approve.Critical, "the run took as long as it did because of the waiting")
	require.True(t, s.step("configuration").Critical, "all begins with it")
	require.Equal(t, report.Succeeded, approve.Outcome)
	require.InDelta(t, 21*time.Minute, approve.Took(time.Time{}), float64(5*time.Second))
	require.Greater(t, s.filed[0].Critical.Std(), 20*time.Minute)
	require.False(t, slices.ContainsFunc(s.progress().Steps, func(step api.Step) bool { return step.ID == "approve" }), "it is no activity")
}

func TestSignalThatIsNotTheCoordinatorsOpensNoGate(t *testing.T) {
	s := newStage(t)
	const child = "recover/frende/database/frende"
	signal := func(after time.Duration, argument any) {
		s.RegisterDelayedCallback(func() { require.NoError(t, s.SignalWorkflowByID(child, api.SignalProceed, argument)) }, after)
	}
	signal(time.Minute, map[string]string{"gate": "ready"})
	signal(2*time.Minute, map[string]string{"gate": "done"})
	signal(3*time.Minute, map[string]string{"gate": "ready", "token": "guessed"})
	s.RegisterDelayedCallback(func() {
		p := s.progress()
		require.Equal(t, api.PhaseWaiting, p.Phase)
		for _, touched := range []string{"services.Stop", "postgres.Fence", "postgres.CutOver", "postgres.Promote"} {
			require.Zero(t, s.calls(touched), touched)
		}
		told := slices.IndexFunc(p.Steps, func(step api.Step) bool { return step.ID == "database/frende/ignored-signals" })
		require.GreaterOrEqual(t, told, 0, "what was ignored is told")
		require.Contains(t, p.Steps[told].Outcome, "3 opened nothing")
		update(s, api.UpdateApprove, api.Approval{System: "frende", By: "dba@frende.com"})
	}, 4*time.Minute)
	_, err := s.recover(api.RecoverInput{})
	require.NoError(t, err)
	require.Equal(t, 1, s.calls("postgres.CutOver"), "the approved recovery goes on")
	require.Equal(t, "dba@frende.com", s.filed[0].Approvals[0].By)
}

func TestReportThatIsNoChildsIsNotBelieved(t *testing.T) {
	s := newStage(t)
	s.RegisterDelayedCallback(func() {
		s.SignalWorkflow(api.SignalReport, map[string]any{
			"component": "database/frende", "gate": "done", "token": "guessed",
			"steps": []api.Step{{ID: "database/frende/cut-over", Title: "forged", State: api.StepDone}},
		})
	}, time.Minute)
	s.RegisterDelayedCallback(func() {
		p := s.progress()
		require.Equal(t, api.GatePrepared, p.Components[0].Gate)
		for _, clock := range p.Clocks {
			require.Nil(t, clock.Stopped, "no objective of %s is claimed as met", clock.Name)
		}
		for _, step := range p.Steps {
			require.NotEqual(t, "forged", step.Title)
		}
		update(s, api.UpdateAbort, api.Abort{By: "cto@frende.com"})
	}, 2*time.Minute)
	_, err := s.recover(api.RecoverInput{})
	require.True(t, fault.Has(err, fault.Aborted), "%v", err)
}

func TestComponentThatEndsWithoutApprovalIsNoApproval(t *testing.T) {
	s := newStage(t)
	s.OnWorkflow(api.RestoreDatabase, mock.Anything, mock.Anything).Return(api.ComponentOutcome{Component: "database/frende"}, nil)
	_, err := s.recover(api.RecoverInput{})
	require.True(t, fault.Has(err, fault.Unapproved), "%v", err)
	for _, touched := range []string{"services.Stop", "redis.CutOver", "files.CutOver", "services.Start"} {
		require.Zero(t, s.calls(touched), touched)
	}
	require.Equal(t, 1, s.calls("redis.Discard"))
	require.Equal(t, report.Failed, s.filed[0].Outcome)
}

func TestAbortBeforeCutOverLeavesTheOldSystemAsItWas(t *testing.T) {
	s := newStage(t)
	s.RegisterDelayedCallback(func() {
		update(s, api.UpdateAbort, api.Abort{By: "cto@frende.com", Reason: "it came back"})
	}, time.Minute)
	_, err := s.recover(api.RecoverInput{})
	require.True(t, fault.Has(err, fault.Aborted), "%v", err)
	require.Zero(t, s.calls("services.Stop"))
	require.Zero(t, s.calls("postgres.CutOver"))
	require.Equal(t, 1, s.calls("postgres.Discard"))
	require.Equal(t, 1, s.calls("redis.Discard"))
	require.Equal(t, 2, s.calls("files.Discard"))
	require.Equal(t, report.Aborted, s.filed[0].Outcome)
	require.Equal(t, report.Aborted, s.step("approve").Outcome)
	require.Equal(t, "it came back", s.filed[0].Approvals[0].Step)
}

func TestFailureAfterTheFenceIsTakenBackNewestFirst(t *testing.T) {
	s := newStage(t)
	replace(s, "postgres.Verify", func(context.Context, postgres.VerifyInput) (postgres.VerifyResult, error) {
		return postgres.VerifyResult{}, temporalfault.ToTemporal(fault.Newf(fault.VerificationFailed, "verify", "frende", "users has 0 rows"))
	})
	_, err := s.recover(approved())
	require.True(t, fault.Has(err, fault.VerificationFailed), "%v", err)
	require.Zero(t, s.calls("postgres.CutOver"))
	require.Zero(t, s.calls("files.CutOver"), "no component is swapped when one is not ready")
	require.Equal(t, 1, s.calls("postgres.Unfence"))
	require.Less(t, s.first("postgres.Unfence"), s.first("postgres.Discard"))
	require.Less(t, s.last("postgres.Discard"), s.first("services.Start"), "services start again when the old system is whole")
	require.Equal(t, 1, s.calls("services.Start"))
	require.Zero(t, s.calls("services.Migrate"))
	require.Equal(t, report.Failed, s.filed[0].Outcome)
	require.Equal(t, "VerificationFailed", s.filed[0].Failures[0].Kind)
}

func TestFailureWhilePreparingNeverStopsAService(t *testing.T) {
	s := newStage(t)
	replace(s, "redis.Restore", func(context.Context, redis.RestoreInput) (redis.RestoreResult, error) {
		return redis.RestoreResult{}, temporalfault.ToTemporal(fault.New(fault.IntegrityError, "read chunk", "redis-backups/x/chunk/1/000000", nil))
	})
	_, err := s.recover(approved())
	require.True(t, fault.Has(err, fault.IntegrityError), "%v", err)
	require.ErrorContains(t, err, "redis-backups/x/chunk/1/000000", "the object is named")
	require.Zero(t, s.calls("services.Stop"))
	require.Zero(t, s.calls("services.Start"))
	require.Equal(t, 1, s.calls("postgres.Discard"))
	failed := s.step("cache/sessions/restore")
	require.Equal(t, report.Failed, failed.Outcome)
	require.Equal(t, "IntegrityError", failed.Failure.Kind)
	require.Contains(t, failed.Failure.Message, "redis-backups/x/chunk/1/000000")
	require.NotContains(t, failed.Failure.Message, "IntegrityError")
}

func TestBreachedObjectiveIsToldAndTheRecoveryGoesOn(t *testing.T) {
	s := newStage(t)
	attempts := 0
	replace(s, "postgres.Restore", func(context.Context, postgres.RestoreInput) (postgres.RestoreResult, error) {
		if attempts++; attempts < 20 {
			return postgres.RestoreResult{}, temporalfault.ToTemporal(fault.New(fault.StorageUnavailable, "get object", "chunk", nil))
		}
		return postgres.RestoreResult{}, nil
	})
	var notices []string
	replace(s, "records.Notice", func(_ context.Context, in records.NoticeInput) (none, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		notices = append(notices, in.Text)
		return none{}, nil
	})
	in := approved()
	since := disaster.Add(-10 * time.Minute)
	in.Since = &since
	var again *answered
	s.RegisterDelayedCallback(func() { again = update(s, api.UpdateApprove, api.Approval{System: "frende"}) }, 10*time.Second)
	result, err := s.recover(in)
	require.NoError(t, err)
	require.ErrorContains(t, again.rejected, "approved already")
	require.Contains(t, notices, "50 % of the recovery time objective of database/frende (15m) have passed")
	require.Contains(t, notices, "80 % of the recovery time objective of database/frende (15m) have passed")
	require.Contains(t, notices, "the recovery time objective of database/frende (15m) is breached; the recovery goes on")
	require.True(t, result.Met, "the whole has an hour")
	for _, clock := range s.filed[0].Clocks {
		if clock.Name == "database/frende" {
			require.True(t, clock.Breached)
		}
	}
}

func TestPastTheCutOverEveryFaultWaitsForAPersonToMendIt(t *testing.T) {
	s := newStage(t)
	attempts := 0
	replace(s, "postgres.CutOver", func(context.Context, postgres.CutOverInput) (postgres.CutOverResult, error) {
		if attempts++; attempts < 4 {
			return postgres.CutOverResult{}, temporalfault.ToTemporal(fault.New(fault.StorageDenied, "put object", "wal/frende/7/incarnation/00000002", nil))
		}
		return postgres.CutOverResult{}, nil
	})
	s.RegisterDelayedCallback(func() {
		steps := s.progress().Steps
		failing := slices.IndexFunc(steps, func(step api.Step) bool { return step.ID == "database/frende/cut-over" })
		require.Equal(t, api.StepRunning, steps[failing].State)
		require.Contains(t, steps[failing].Outcome, "StorageDenied", "the fault is shown while it lasts")
	}, 12*time.Second)
	_, err := s.recover(approved())
	require.NoError(t, err)
	require.Equal(t, 4, attempts)
	require.Equal(t, 1, s.calls("postgres.Promote"))
}

func TestLostLedgerStopsNoRecovery(t *testing.T) {
	s := newStage(t)
	lost := temporalfault.ToTemporal(fault.New(fault.StorageUnavailable, "put object", "ledger/host/000000000007", nil))
	replace(s, "records.RecordPoints", func(context.Context, records.PointsInput) (records.PointsResult, error) {
		return records.PointsResult{}, lost
	})
	s.OnActivity("records.FileReport", mock.Anything, mock.Anything).Return(lost)
	result, err := s.recover(approved())
	require.NoError(t, err)
	require.Equal(t, 1, s.calls("checks.Health"))
	require.Empty(t, result.Report, "no report is claimed that was not filed")
	require.Contains(t, s.progress().Failure, "the report could not be filed: StorageUnavailable")
}

func TestUnknownFieldInTheInputIsRefusedBeforeAnythingRuns(t *testing.T) {
	s := newStage(t)
	s.ExecuteWorkflow(api.RecoverSystem, map[string]string{"systm": "frende"})
	err := temporalfault.FromTemporal(s.GetWorkflowError())
	require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
	require.ErrorContains(t, err, "systm")
	require.Empty(t, s.called)
}

// answered is what became of an update; it is known once the run has gone on.
type answered struct{ rejected error }

func update(s *stage, name string, argument any) *answered {
	answer := &answered{}
	s.UpdateWorkflow(name, fmt.Sprintf("%s-%p", name, answer), &testsuite.TestUpdateCallback{
		OnReject:   func(err error) { answer.rejected = err },
		OnAccept:   func() {},
		OnComplete: func(any, error) {},
	}, argument)
	return answer
}

func TestWhatARecoveryDoesCanBeSearchedForAndReadWithoutAWorker(t *testing.T) {
	s := newStage(t)
	s.OnActivity("records.LoadSystem", mock.Anything, mock.Anything).Return(
		records.Loaded{System: frende(), Target: system.Target{Name: "production", Kind: system.TargetProduction}, SearchAttributes: true}, nil)
	late := 0
	replace(s, "redis.Restore", func(context.Context, redis.RestoreInput) (redis.RestoreResult, error) {
		if late++; late < 20 {
			return redis.RestoreResult{}, temporalfault.ToTemporal(fault.New(fault.StorageUnavailable, "get object", "chunk", nil))
		}
		return redis.RestoreResult{}, nil
	})
	var searched []string
	s.OnUpsertTypedSearchAttributes(mock.Anything).Run(func(args mock.Arguments) {
		set := map[string]string{}
		for key, value := range args.Get(0).(temporal.SearchAttributes).GetUntypedValues() {
			set[key.GetName()] = fmt.Sprint(value)
		}
		if set[api.AttributeKind] == "system" {
			searched = append(searched, set[api.AttributeSystem]+": "+set[api.AttributePhase]+" "+set[api.AttributeRTO])
		}
	}).Return(nil)
	var last map[string]any
	s.OnUpsertMemo(mock.Anything).Run(func(args mock.Arguments) {
		if memo := args.Get(0).(map[string]any); memo[api.MemoKind] == "system" {
			last = memo
		}
	}).Return(nil)
	in := approved()
	since := disaster.Add(-20 * time.Minute)
	in.Since = &since
	_, err := s.recover(in)
	require.NoError(t, err)
	require.Equal(t, []string{
		"frende: preparing ", "frende: preparing ok", "frende: preparing 50", "frende: preparing 80", "frende: preparing breached",
		"frende: stopping services breached", "frende: fencing breached", "frende: cutting over breached", "frende: migrating breached",
		"frende: starting services breached", "frende: checking health breached", "frende: recovered breached",
	}, searched)
	require.Equal(t, api.RTOBreached, last[api.MemoRTO])
	require.Greater(t, last[api.MemoPercent], 30)
	require.Less(t, last[api.MemoPercent], 100, "the whole has an hour")
}
