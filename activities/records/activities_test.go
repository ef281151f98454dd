package records_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

func TestPointsAreRecordedThoughTheirProofsCantBeRead(t *testing.T) {
	damaged := fault.New(fault.IntegrityError, "read ledger record", "ledger/zzz/000000000001", nil)
	var filed []records.Record
	a := records.New(records.Deps{
		Proof: func(_ context.Context, _ system.System, key string) (records.Proof, error) {
			if key == "database-backups/x" {
				return records.Proof{Unreadable: []error{damaged}}, damaged
			}
			return records.Proof{Level: "L1", Unreadable: []error{damaged}}, nil
		},
		File: func(_ context.Context, _ system.System, r records.Record) error {
			filed = append(filed, r)
			return nil
		},
	})
	var suite testsuite.WorkflowTestSuite
	environment := suite.NewTestActivityEnvironment()
	environment.RegisterActivityWithOptions(a, activity.RegisterOptions{Name: "records."})
	value, err := environment.ExecuteActivity("records.RecordPoints", records.PointsInput{
		System: system.System{Name: "frende", Backup: system.Backup{Compression: "zstd"}}, Run: "recover/frende@1",
		Points: []report.Point{{Backup: "database-backups/x"}, {Backup: "redis-backups/x"}},
	})
	require.NoError(t, err)
	var result records.PointsResult
	require.NoError(t, value.Get(&result))
	require.Empty(t, result.Points[0].Proof, "no level is claimed")
	require.Equal(t, "L1", result.Points[1].Proof)
	require.Equal(t, []string{damaged.Error()}, result.Notes)
	require.Len(t, filed, 1)
	require.Equal(t, records.KindPoint, filed[0].Kind)
}

func TestOnlyAProvenBackupIsRecordedAsUnchanged(t *testing.T) {
	var filed []records.Record
	proof := records.Proof{}
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	env.RegisterActivityWithOptions(records.New(records.Deps{
		Proof: func(context.Context, system.System, string) (records.Proof, error) { return proof, nil },
		File:  func(_ context.Context, _ system.System, r records.Record) error { filed = append(filed, r); return nil },
	}), activity.RegisterOptions{Name: "records."})
	same := api.Unchanged{Component: "cache/sessions", Key: "redis-backups/k", At: time.Date(2024, 1, 15, 9, 45, 0, 0, time.UTC)}
	recorded := func() records.UnchangedResult {
		value, err := env.ExecuteActivity("records.RecordUnchanged", records.UnchangedInput{System: system.System{Name: "frende", Backup: system.Backup{Compression: "zstd"}}, Unchanged: same})
		require.NoError(t, err)
		var result records.UnchangedResult
		require.NoError(t, value.Get(&result))
		return result
	}
	require.Empty(t, recorded().Proof)
	require.Empty(t, filed)

	proof.Level = "L1"
	require.Equal(t, "L1", recorded().Proof)
	require.Len(t, filed, 1)
	require.Equal(t, records.KindUnchanged, filed[0].Kind)
	require.Equal(t, "redis-backups/k", filed[0].Subject)
	same.Proof = "L1"
	require.Equal(t, same, filed[0].Body)
}
