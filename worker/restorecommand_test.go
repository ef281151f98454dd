package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/system"
)

// TestOnlyWALFetchItselfSaysThatTheArchiveEnds has the shell keep the contract of
// restore_command for a program that could not.
func TestOnlyWALFetchItselfSaysThatTheArchiveEnds(t *testing.T) {
	for said, told := range map[string]int{"exit 0": 0, "exit 1": 1, "exit 2": 126, "exit 125": 126, "exit 126": 126, "kill -9 $$": 126} {
		program := filepath.Join(t.TempDir(), "life'boat")
		require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"+said+"\n"), 0o700))
		text := restoreCommand(program, "c.yaml")(system.System{}, system.Database{}, "pin.json")
		run := exec.CommandContext(t.Context(), "sh", "-c", text)
		if err := run.Run(); told != 0 {
			require.Error(t, err)
		}
		require.Equal(t, told, run.ProcessState.ExitCode(), said)
	}
}
