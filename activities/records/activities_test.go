package records_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

func TestOnlyAProvenBackupIsRecordedAsUnchanged(t *testing.T) {
	var filed []records.Record
	proof := ""
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	env.RegisterActivityWithOptions(records.New(records.Deps{
		Proof:  func(context.Context, system.System, string) (string, error) { return proof, nil },
		File:   func(_ context.Context, _ system.System, r records.Record) error { filed = append(filed, r); return nil },
		Logger: zap.NewNop(),
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

	proof = "L1"
	require.Equal(t, "L1", recorded().Proof)
	require.Len(t, filed, 1)
	require.Equal(t, records.KindUnchanged, filed[0].Kind)
	require.Equal(t, "redis-backups/k", filed[0].Subject)
	same.Proof = "L1"
	require.Equal(t, same, filed[0].Body)
}
