package histories_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"

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
			replayer := worker.NewWorkflowReplayer()
			workflows.Register(replayer)
			require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, file))
		})
	}
}

func TestEveryWorkflowHasARecordedHistory(t *testing.T) {
	files := strings.Join(recorded(t), "\n")
	for _, name := range []string{
		api.BackupSystem, api.BackupDatabase, api.BackupCache, api.BackupFiles, api.BackupConfiguration, api.ReplicateStore,
		api.RecoverSystem, api.RestoreDatabase, api.RestoreCache, api.RestoreFiles, api.RecoverDatabase,
		api.HoldSystem, api.DrillSystem, api.CleanUp, api.ReportStatus, api.CheckArchive,
	} {
		require.Contains(t, files, "/"+name+"-completed-", "record one with workflows/histories/record")
	}
	for _, name := range []string{api.RecoverSystem, api.RestoreDatabase, api.DrillSystem} {
		require.Contains(t, files, "/"+name+"-failed-", "a failure and its compensation must replay, too")
	}
}
