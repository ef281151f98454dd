package watch_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

// retained is a stage on which two stores hold something that goes.
type retained struct {
	*stage
	reading  []string // who reads, at each look; nobody after that
	plan     vault.PlanRetentionResult
	order    []string // what happened
	fails    map[string]error
	planned  []api.RetentionResult
	recorded []api.RetentionResult
	reports  []report.Run
}

func newRetained(t *testing.T) *retained {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	r := &retained{stage: &stage{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment()}, fails: map[string]error{}}
	r.SetTestTimeout(time.Minute)
	r.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
	workflows.Register(r)
	r.plan = vault.PlanRetentionResult{
		Since: time.Date(2024, 1, 8, 0, 0, 0, 0, time.UTC),
		Going: []api.Retained{
			{Store: "primary", What: "backup", First: "file-backups/a", Count: 1, Bytes: 3 << 20, Why: "old"},
			{Store: "primary", What: "WAL", First: "wal/1", Last: "wal/7", Count: 7, Bytes: 1 << 20, Why: "old"},
			{Store: "dr", What: "backup", First: "file-backups/a", Count: 1, Bytes: 3 << 20, Why: "old"},
		},
		Kept:  []api.Retained{{Store: "primary", What: "backup", First: "file-backups/b", Count: 1, Reason: "anchor", Why: "points need it"}},
		Floor: []vault.RetentionFloor{{Store: "primary", Database: "frende", SystemID: "7", Below: 8}},
		Notes: []string{"a note"},
	}
	of := system.System{Name: "frende", Backup: system.Backup{Compression: "zstd"}, Stores: []system.Store{{Name: "primary", Replica: "dr"}, {Name: "dr"}}}
	register(r.stage, "records.LoadSystem", func(context.Context, records.LoadInput) (records.Loaded, error) {
		return records.Loaded{System: of}, nil
	})
	register(r.stage, "vault.Readers", func(context.Context, vault.ReadersInput) (vault.ReadersResult, error) {
		r.order = append(r.order, "look for readers")
		if len(r.reading) == 0 {
			return vault.ReadersResult{}, nil
		}
		run := r.reading[0]
		r.reading = r.reading[1:]
		return vault.ReadersResult{Run: run}, nil
	})
	register(r.stage, "vault.PlanRetention", func(_ context.Context, in vault.PlanRetentionInput) (vault.PlanRetentionResult, error) {
		r.order = append(r.order, "plan")
		return r.plan, r.fails["plan"]
	})
	register(r.stage, "vault.CarryOutRetention", func(_ context.Context, in vault.CarryOutInput) (vault.CarryOutResult, error) {
		r.order = append(r.order, "remove from "+in.Store)
		require.Equal(t, r.plan.Floor, in.Floor)
		for _, one := range in.Going {
			require.Equal(t, in.Store, one.Store)
		}
		kept := []api.Retained{}
		if in.Store == "primary" {
			kept = append(kept, api.Retained{Store: "primary", What: "backup", First: "file-backups/locked", Reason: "object lock", Why: "Object Lock"})
		}
		return vault.CarryOutResult{Removed: in.Going, Kept: kept}, r.fails[in.Store]
	})
	register(r.stage, "records.RecordRetentionPlan", func(_ context.Context, in records.RetentionInput) error {
		r.order, r.planned = append(r.order, "record the plan"), append(r.planned, in.Result)
		return r.fails["record the plan"]
	})
	register(r.stage, "records.RecordRetention", func(_ context.Context, in records.RetentionInput) error {
		r.order, r.recorded = append(r.order, "record"), append(r.recorded, in.Result)
		return nil
	})
	register(r.stage, "records.FileReport", func(_ context.Context, in records.ReportInput) error {
		r.reports = append(r.reports, in.Record)
		return nil
	})
	return r
}

func (r *retained) run(t *testing.T, in any) (api.RetentionResult, error) {
	t.Helper()
	r.ExecuteWorkflow(api.ApplyRetention, in)
	require.True(t, r.IsWorkflowCompleted())
	var result api.RetentionResult
	if err := r.GetWorkflowError(); err != nil {
		return result, temporalfault.FromTemporal(err)
	}
	require.NoError(t, r.GetWorkflowResult(&result))
	return result, nil
}

func TestARetentionIsOnRecordBeforeAnythingGoesAndThePrimaryGoesFirst(t *testing.T) {
	r := newRetained(t)
	result, err := r.run(t, api.RetentionInput{})
	require.NoError(t, err)
	require.Equal(t, []string{"look for readers", "plan", "record the plan", "remove from primary", "remove from dr", "record"}, r.order)
	require.Equal(t, r.plan.Going, r.planned[0].Removed)
	require.Equal(t, r.plan.Going, result.Removed)
	require.Equal(t, []string{"file-backups/b", "file-backups/locked"}, []string{result.Kept[0].First, result.Kept[1].First})
	require.Equal(t, result, r.recorded[0])
	require.Equal(t, report.Succeeded, r.reports[0].Outcome)
	require.Equal(t, []string{
		"removed: backup file-backups/a in primary: old", "removed: 7 WAL files from wal/1 to wal/7 in primary: old", "removed: backup file-backups/a in dr: old",
		"kept: backup file-backups/b in primary: anchor: points need it", "kept: backup file-backups/locked in primary: object lock: Object Lock", "a note",
	}, r.reports[0].Notes)
	require.Equal(t, "2 backups and 7 WAL files, 7.0 MiB", r.reports[0].Steps[2].Detail)
}

func TestADryRunOfARetentionRemovesAndRecordsNothing(t *testing.T) {
	r := newRetained(t)
	r.reading = []string{"recover/frende"}
	result, err := r.run(t, api.RetentionInput{DryRun: true})
	require.NoError(t, err)
	require.Equal(t, []string{"plan"}, r.order)
	require.Equal(t, r.plan.Going, result.Removed)
	require.Equal(t, r.plan.Kept, result.Kept)
	require.Empty(t, r.reports)
}

func TestARetentionWaitsForThoseWhoRead(t *testing.T) {
	r := newRetained(t)
	r.reading = []string{"drill/frende/2024-Q1", "drill/frende/2024-Q1", "recover/frende"}
	_, err := r.run(t, api.RetentionInput{})
	require.NoError(t, err)
	require.Equal(t, []string{"look for readers", "look for readers", "look for readers", "look for readers", "plan"}, r.order[:5])

	r = newRetained(t)
	for range 200 {
		r.reading = append(r.reading, "recover/frende")
	}
	_, err = r.run(t, api.RetentionInput{})
	require.True(t, fault.Has(err, fault.RetentionRefused), "%v", err)
	require.NotContains(t, r.order, "plan")
	require.Equal(t, report.Failed, r.reports[0].Outcome)
}

func TestWhatWasRemovedBeforeAFailureIsOnRecord(t *testing.T) {
	r := newRetained(t)
	r.fails["dr"] = temporalfault.ToTemporal(fault.Newf(fault.RetentionRefused, "apply retention of", "frende", "recover/frende runs"))
	_, err := r.run(t, api.RetentionInput{})
	require.True(t, fault.Has(err, fault.RetentionRefused), "%v", err)
	require.Len(t, r.recorded[0].Removed, 2)
	require.Equal(t, report.Failed, r.reports[0].Outcome)
	require.Equal(t, "RetentionRefused", r.reports[0].Failures[0].Kind)
}

func TestWithoutARecordOfThePlanNothingGoes(t *testing.T) {
	r := newRetained(t)
	r.fails["record the plan"] = temporalfault.ToTemporal(fault.New(fault.StorageDenied, "put object", "ledger/host/1", errors.New("no")))
	_, err := r.run(t, api.RetentionInput{})
	require.True(t, fault.Has(err, fault.StorageDenied), "%v", err)
	require.NotContains(t, r.order, "remove from primary")

	r = newRetained(t)
	r.plan.Going = nil
	result, err := r.run(t, api.RetentionInput{})
	require.NoError(t, err)
	require.Equal(t, []string{"look for readers", "plan", "record"}, r.order, "that everything stays is on record, too")
	require.Empty(t, result.Removed)
}

func TestABadInputOfARetentionIsRefused(t *testing.T) {
	for _, in := range []any{map[string]any{"dryrun": true}, api.RetentionInput{AtMost: 101}, api.RetentionInput{AtMost: -1}} {
		r := newRetained(t)
		_, err := r.run(t, in)
		require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
		require.Empty(t, r.order)
	}
}
