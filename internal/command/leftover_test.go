package command_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

func TestThePIDFileExistsWhileTheProgramRuns(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid.json")
	program, err := command.New(command.Config{Argv: []string{"sleep", "300"}, PIDFile: pidFile})
	require.NoError(t, err)
	process, err := program.Start(t.Context())
	require.NoError(t, err)
	body, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	require.NotContains(t, string(body), "300", "arguments may be private")
	process.Stop()
	require.NoFileExists(t, pidFile)
}

func TestEndLeftoverEndsTheGroupThatADeadWorkerLeft(t *testing.T) {
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid.json")
	program, err := command.New(command.Config{
		Argv:    sh("trap '' TERM; sleep 300 & echo $! > " + dir + "/child.new && mv " + dir + "/child.new " + dir + "/child; wait; sleep 300"),
		PIDFile: pidFile,
	})
	require.NoError(t, err)
	process, err := program.Start(t.Context())
	require.NoError(t, err)
	child := readPID(t, filepath.Join(dir, "child"))

	found, err := command.EndLeftover(t.Context(), pidFile, 50*time.Millisecond)
	require.NoError(t, err)
	require.True(t, found)
	requireGone(t, child)
	_, err = process.Wait()
	require.ErrorContains(t, err, "killed")
	require.NoFileExists(t, pidFile)

	found, err = command.EndLeftover(t.Context(), pidFile, time.Second)
	require.NoError(t, err)
	require.False(t, found)
}

func TestEndLeftoverSparesAProcessThatOnlyHasTheSameID(t *testing.T) {
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid.json")
	program, err := command.New(command.Config{Argv: []string{"sleep", "300"}, PIDFile: pidFile})
	require.NoError(t, err)
	process, err := program.Start(t.Context())
	require.NoError(t, err)
	defer process.Stop()

	for _, change := range []map[string]any{{"start": 1}, {"boot": "another"}} {
		body, err := os.ReadFile(pidFile)
		require.NoError(t, err)
		record := map[string]any{}
		require.NoError(t, json.Unmarshal(body, &record))
		for key, value := range change {
			record[key] = value
		}
		altered, err := json.Marshal(record)
		require.NoError(t, err)
		other := filepath.Join(dir, "other.json")
		require.NoError(t, os.WriteFile(other, altered, 0o600))
		found, err := command.EndLeftover(t.Context(), other, time.Second)
		require.NoError(t, err)
		require.False(t, found)
		require.NoFileExists(t, other)
		require.NoError(t, syscall.Kill(process.PID(), 0))
	}
}

func TestEndLeftoverRefusesWhatIsNoRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid.json")
	for _, body := range []string{"", "{", `{"pid":1}`, `{"pid":-5}`} {
		require.NoError(t, os.WriteFile(path, []byte(body), 0o600))
		_, err := command.EndLeftover(t.Context(), path, time.Second)
		require.True(t, fault.Has(err, fault.PathFailed), "%q: %v", body, err)
		require.FileExists(t, path)
	}
}
