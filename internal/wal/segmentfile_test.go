package wal

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/vault"
)

func TestAFileThatWasWrittenAgainHasAnotherState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "000000010000000000000001")
	require.NoError(t, os.WriteFile(path, []byte("first"), 0o600))
	memory := vault.NewBudget(1 << 20)
	require.Eventually(t, func() bool {
		body, was, err := readWAL(path, memory)
		if err == nil {
			memory.Return(body)
		}
		return err == nil && was.settled
	}, 10*time.Second, time.Millisecond)
	body, was, err := readWAL(path, memory)
	require.NoError(t, err)
	require.Equal(t, "first", string(body))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, was, stateOf(info, was.read))

	// The same name, inode, size and time of change: only the kernel's own stamp tells.
	require.NoError(t, os.WriteFile(path, []byte("again"), 0o600))
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	now, err := os.Stat(path)
	require.NoError(t, err)
	require.NotEqual(t, was, stateOf(now, was.read))

	_, fresh, err := readWAL(path, memory)
	require.NoError(t, err)
	if time.Unix(0, fresh.changed).Add(stampStep).After(fresh.read) {
		require.False(t, fresh.settled, "a change in the same tick of the clock could not be seen")
	}
}
