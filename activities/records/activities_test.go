package records_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
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
