package histories_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

func recorded(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("v*/*.json")
	require.NoError(t, err)
	return files
}

func TestRecordedHistoriesReplay(t *testing.T) {
	for _, file := range recorded(t) {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{DisableDeadlockDetection: true}) // a busy machine is no deadlock
			require.NoError(t, err)
			workflows.Register(replayer)
			require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, file))
		})
	}
}

// registered takes down the names under which workflows are registered.
type registered []string

func (r *registered) RegisterWorkflowWithOptions(_ any, o workflow.RegisterOptions) {
	*r = append(*r, o.Name)
}

func TestEveryWorkflowHasARecordedHistory(t *testing.T) {
	files := strings.Join(recorded(t), "\n")
	var all registered
	workflows.Register(&all)
	require.NotEmpty(t, all)
	for _, name := range all {
		require.Contains(t, files, "/"+name+"-completed-", "record one with workflows/histories/record")
	}
	for _, name := range []string{api.RecoverSystem, api.RestoreDatabase, api.DrillSystem} {
		require.Contains(t, files, "/"+name+"-failed-", "a failure and its compensation must replay, too")
	}
}

// TestEveryProofLevelHasARecordedHistory: each level is a path of its own.
func TestEveryProofLevelHasARecordedHistory(t *testing.T) {
	found := map[string]bool{}
	for _, file := range recorded(t) {
		if !strings.Contains(file, "/"+api.VerifyBackup+"-completed-") {
			continue
		}
		from, err := os.Open(file)
		require.NoError(t, err)
		history, err := client.HistoryFromJSON(from, client.HistoryJSONOptions{})
		require.NoError(t, errors.Join(err, from.Close()))
		var result api.VerifyResult
		events := history.GetEvents()
		payloads := events[len(events)-1].GetWorkflowExecutionCompletedEventAttributes().GetResult()
		require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(payloads, &result))
		for _, one := range result.Backups {
			found[one.Level] = true
		}
		found["L0"] = found["L0"] || len(result.Listed) > 0
	}
	for _, level := range []string{"L0", "L1", "L2", "L3"} {
		require.True(t, found[level], "record a verification at %s", level)
	}
}
