package drill_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/activities/sandbox"
	"github.com/frende/lifeboat/activities/services"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	internalpostgres "github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

// stage is a drill whose activities and whose recovery answer as a test wants.
type stage struct {
	*testsuite.TestWorkflowEnvironment
	t *testing.T

	mu     sync.Mutex
	called []string
	filed  []records.DrillInput
	asked  api.RecoverInput
}

func frende() system.System {
	return system.System{
		Name: "frende", Backup: system.Backup{Compression: system.CompressionZstd},
		Objectives: system.Objectives{RTO: system.RTO{System: system.Duration(time.Hour)}},
		Stores: []system.Store{
			{Name: "primary", Bucket: "one", Replica: "dr", Replication: system.ReplicationLifeboat}, {Name: "dr", Bucket: "two"},
		},
		Databases: []system.Database{{Name: "frende", RPO: system.Duration(time.Hour), DataDir: "/srv/pg", Service: "postgresql"}},
		Caches:    []system.Cache{{Name: "sessions", Address: "127.0.0.1:6379", DataDir: "/srv/redis", Service: "redis"}},
		Services:  []system.Service{{Name: "backend", Role: system.RoleApplication}},
		Targets: []system.Target{
			{Name: "production", Kind: system.TargetProduction},
			{
				Name: "sandbox", Kind: system.TargetSandbox, Root: "/srv/sandbox/frende", PortBase: 25432, Compare: system.CompareFull,
				Services: []system.Service{{Name: "backend", Kind: system.ServiceCommand}}, Checks: []system.Check{{Name: "journey", Kind: system.CheckCommand}},
			},
		},
	}
}

const backup = "database-backups/2024/01/15/frende_db_backup_20240115_020000.base"

func newStage(t *testing.T, configured system.System) *stage {
	var suite testsuite.WorkflowTestSuite
	s := &stage{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t}
	s.SetTestTimeout(time.Minute)
	s.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
	workflows.Register(s)
	answer(s, "records.LoadSystem", records.LoadInput{}, records.Loaded{System: configured})
	s.RegisterActivityWithOptions(func(_ context.Context, in records.DrillInput) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.filed = append(s.filed, in)
		return nil
	}, activity.RegisterOptions{Name: "records.FileDrill"})
	answer(s, "sandbox.Make", sandbox.MakeInput{}, none{})
	answer(s, "sandbox.Clear", sandbox.ClearInput{}, sandbox.ClearResult{})
	running := postgres.ObserveResult{Reached: true, Footprint: internalpostgres.Footprint{PID: 42, Timeline: 3, SystemID: "7"}, Incarnation: 2}
	answer(s, "postgres.Observe", postgres.ObserveInput{}, running)
	answer(s, "postgres.TakeReference", postgres.TakeReferenceInput{}, postgres.TakeReferenceResult{
		SystemID: "7", Segment: "000000030000000000000005", Tables: []api.TableDigest{{Name: "frende: public.users", Rows: 3, Digest: "1,2"}},
	})
	answer(s, "postgres.AwaitReplica", postgres.AwaitReplicaInput{}, none{})
	answer(s, "postgres.EndSandbox", postgres.EndSandboxInput{}, none{})
	answer(s, "redis.Observe", redis.ObserveInput{}, redis.ObserveResult{Reached: true})
	answer(s, "redis.EndSandbox", redis.EndSandboxInput{}, none{})
	answer(s, "services.Status", services.StatusInput{}, services.Result{Services: []services.Outcome{{Name: "backend", State: "running"}}})
	answer(s, "services.Stop", services.StopInput{}, services.Result{})
	s.OnWorkflow(api.ReplicateStore, mock.Anything, mock.Anything).Return(api.ReplicateResult{}, nil).Maybe()
	return s
}

// recovers says how the recovery in the sandbox ends.
func (s *stage) recovers(result api.RecoverResult, err error) {
	s.OnWorkflow(api.RecoverSystem, mock.Anything, mock.Anything).Return(
		func(_ workflow.Context, in api.Input[api.RecoverInput]) (api.RecoverResult, error) {
			given, checked := in.Checked(api.RecoverSystem)
			require.NoError(s.t, checked)
			s.asked = given
			return result, err
		}).Once()
}

type none struct{}

func answer[I, R any](s *stage, name string, _ I, result R) {
	s.RegisterActivityWithOptions(func(context.Context, I) (R, error) {
		s.note(name)
		return result, nil
	}, activity.RegisterOptions{Name: name})
}

func replace[I, R any](s *stage, name string, do func(I) (R, error)) {
	s.OnActivity(name, mock.Anything, mock.Anything).Return(func(_ context.Context, in I) (R, error) {
		s.note(name)
		return do(in)
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

func (s *stage) drill(in api.DrillInput) (api.DrillResult, error) {
	s.ExecuteWorkflow(api.DrillSystem, in)
	require.True(s.t, s.IsWorkflowCompleted())
	s.AssertExpectations(s.t)
	if err := s.GetWorkflowError(); err != nil {
		return api.DrillResult{}, temporalfault.FromTemporal(err)
	}
	var result api.DrillResult
	require.NoError(s.t, s.GetWorkflowResult(&result))
	return result, nil
}

func recovered() api.RecoverResult {
	return api.RecoverResult{
		System: "frende", Target: "sandbox", RunID: "01a2094d-647f-7b08-95df-2cd5bb53b952", RTA: system.Duration(40 * time.Second), Objective: system.Duration(time.Hour), Met: true,
		Components: []api.ComponentOutcome{{Component: "database/frende", Backup: backup, Compared: 1, RPA: system.Duration(time.Second), Proof: "L1", Bytes: 1 << 30, Rate: 1 << 26}},
		Checks:     []api.Check{{Name: "page", OK: true, Message: "status 200"}},
	}
}

// cleared fails unless the sandbox was ended and removed, and production looked at again.
func (s *stage) cleared() {
	s.t.Helper()
	for _, name := range []string{"services.Stop", "postgres.EndSandbox", "redis.EndSandbox", "sandbox.Clear"} {
		require.Equal(s.t, 1, s.calls(name), name)
	}
	require.Len(s.t, s.filed, 1)
}

func (s *stage) failure() report.Failure {
	s.t.Helper()
	require.NotEmpty(s.t, s.filed[0].Record.Failures)
	return s.filed[0].Record.Failures[0]
}

func TestADrillReadsTheSecondRegionAloneAndProvesWhatCameBack(t *testing.T) {
	s := newStage(t, frende())
	s.recovers(recovered(), nil)
	result, err := s.drill(api.DrillInput{By: "dba@frende.com"})
	require.NoError(t, err)
	s.cleared()
	require.Equal(t, "dr", s.asked.From)
	require.Equal(t, "sandbox", s.asked.Target)
	require.Empty(t, s.asked.YesDestroy, "a drill can't approve anything in production")
	require.Equal(t, "000000030000000000000005", s.asked.References["database/frende"].Segment)
	require.Equal(t, 2, s.calls("postgres.Observe"), "before and after")
	require.True(t, result.Untouched)
	require.True(t, result.Clean)
	require.Equal(t, 1, result.Compared)
	require.NotEqual(t, "01a2094d-647f-7b08-95df-2cd5bb53b952", result.RunID, "its own, not that of the recovery")
	filed := s.filed[0]
	require.Equal(t, []string{backup}, filed.Proven)
	require.Equal(t, report.Succeeded, filed.Record.Outcome)
	require.Equal(t, "DrillSystem", filed.Record.Kind)
	require.Equal(t, system.Duration(40*time.Second), filed.Record.Clocks[0].Took)
	require.Equal(t, "recover/frende/target/sandbox@01a2094d-647f-7b08-95df-2cd5bb53b952", filed.Record.Recovery)
	require.Len(t, filed.Record.Points, 1)
	require.Equal(t, report.Point{Proof: "L1", Bytes: 1 << 30, Rate: 1 << 26},
		report.Point{Proof: filed.Record.Points[0].Proof, Bytes: filed.Record.Points[0].Bytes, Rate: filed.Record.Points[0].Rate})
	var checked []string
	for _, check := range filed.Record.Checks {
		checked = append(checked, check.Name+": "+check.Message)
	}
	require.Equal(t, []string{
		"page: status 200",
		"database/frende equals production's: rows and digest of 1 tables and sequences, at the end of 000000030000000000000005",
		"nothing left behind: no file, no process, no port",
	}, checked[:3])
	require.True(t, strings.HasPrefix(checked[3], "production untouched: "), checked[3])
	require.NotContains(t, checked[3], "{", "an auditor reads words")
	require.True(t, slices.ContainsFunc(filed.Record.Steps, func(step report.Step) bool { return step.ID == "recover" && step.Detail == "RTA 40.0s" }))
	for _, check := range filed.Record.Checks {
		require.True(t, check.OK, check.Name)
	}
}

func TestWithoutAnApplicationThatAnsweredNothingIsProvenAtL4(t *testing.T) {
	configured := frende()
	configured.Targets[1].Checks = nil
	s := newStage(t, configured)
	s.recovers(recovered(), nil)
	_, err := s.drill(api.DrillInput{})
	require.NoError(t, err)
	require.Empty(t, s.filed[0].Proven)
}

func TestAFailedRecoveryLeavesNothingBehindEither(t *testing.T) {
	s := newStage(t, frende())
	s.recovers(api.RecoverResult{}, temporalfault.ToTemporal(fault.Newf(fault.VerificationFailed, "compare", "frende", "users has 2 rows, and had 3")))
	_, err := s.drill(api.DrillInput{})
	require.True(t, fault.Has(err, fault.VerificationFailed), "%v", err)
	s.cleared()
	require.Equal(t, "VerificationFailed", s.failure().Kind)
	require.Empty(t, s.filed[0].Proven)
	require.Equal(t, 2, s.calls("postgres.Observe"))
}

func TestADrillThatIsCancelledAtAnyStepIsCleared(t *testing.T) {
	for _, step := range []string{"postgres.Observe", "services.Status", "postgres.TakeReference", "postgres.AwaitReplica"} {
		t.Run(step, func(t *testing.T) {
			s := newStage(t, frende())
			var once sync.Once
			s.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
				if info.ActivityType.Name == step {
					once.Do(s.CancelWorkflow)
				}
			})
			_, err := s.drill(api.DrillInput{})
			require.True(t, temporal.IsCanceledError(err), "%v", err)
			s.cleared()
			require.Equal(t, report.Aborted, s.filed[0].Record.Outcome)
		})
	}
}

func TestProductionThatChangedIsNamed(t *testing.T) {
	s := newStage(t, frende())
	s.recovers(recovered(), nil)
	timeline := uint32(2)
	replace(s, "postgres.Observe", func(postgres.ObserveInput) (postgres.ObserveResult, error) {
		timeline++
		return postgres.ObserveResult{Reached: true, Footprint: internalpostgres.Footprint{PID: 42, Timeline: timeline}}, nil
	})
	_, err := s.drill(api.DrillInput{})
	require.True(t, fault.Has(err, fault.CheckFailed), "%v", err)
	require.ErrorContains(t, err, "database/frende: timeline was 3 and is 4")
	require.Empty(t, s.filed[0].Proven, "nothing is proven by a drill that may have done harm")
}

func TestWhatIsLeftBehindIsNamed(t *testing.T) {
	s := newStage(t, frende())
	s.recovers(recovered(), nil)
	replace(s, "sandbox.Clear", func(sandbox.ClearInput) (sandbox.ClearResult, error) {
		return sandbox.ClearResult{Left: []string{"process 4711"}}, nil
	})
	_, err := s.drill(api.DrillInput{})
	require.True(t, fault.Has(err, fault.CheckFailed), "%v", err)
	require.ErrorContains(t, err, "process 4711")
}

func TestADrillDoesNotRunIntoARecovery(t *testing.T) {
	s := newStage(t, frende())
	replace(s, "sandbox.Make", func(sandbox.MakeInput) (none, error) {
		return none{}, temporalfault.ToTemporal(fault.New(fault.RecoveryRunning, "rehearse beside", "recover/frende/database/frende", nil))
	})
	_, err := s.drill(api.DrillInput{})
	require.True(t, fault.Has(err, fault.RecoveryRunning), "%v", err)
	require.Zero(t, s.calls("sandbox.Clear"), "what is not ours is not cleared")
	require.Zero(t, s.calls("postgres.TakeReference"), "production is not locked for nothing")
	require.Empty(t, s.filed, "a drill that was refused is none")
}

func TestADrillWithoutASecondRegionOrASandboxSaysWhatToConfigure(t *testing.T) {
	configured := frende()
	configured.Stores[0].Replica = ""
	_, err := newStage(t, configured).drill(api.DrillInput{})
	require.True(t, fault.Has(err, fault.ConfigInvalid), "%v", err)
	require.ErrorContains(t, err, "no replica")

	configured = frende()
	configured.Targets = configured.Targets[:1]
	_, err = newStage(t, configured).drill(api.DrillInput{})
	require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
	_, err = newStage(t, frende()).drill(api.DrillInput{Target: "production"})
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.ErrorContains(t, err, "a drill never goes there")
}

func TestADatabaseThatCannotBeReachedIsRehearsedWithoutAComparison(t *testing.T) {
	s := newStage(t, frende())
	s.recovers(recovered(), nil)
	replace(s, "postgres.Observe", func(postgres.ObserveInput) (postgres.ObserveResult, error) { return postgres.ObserveResult{}, nil })
	result, err := s.drill(api.DrillInput{})
	require.NoError(t, err)
	require.Zero(t, s.calls("postgres.TakeReference"))
	require.True(t, slices.ContainsFunc(result.Notes, func(note string) bool {
		return note == "database/frende was not compared with production, which could not be reached"
	}))
}
