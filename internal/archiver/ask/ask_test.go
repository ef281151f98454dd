package ask_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/archiver/ask"
)

func TestOnlyRootAndTheOwnerOfTheDirectoryAskAndAreBelieved(t *testing.T) {
	self := os.Geteuid()
	require.True(t, ask.Trusted(0, self+7))
	require.True(t, ask.Trusted(self, self+7))
	require.True(t, ask.Trusted(self+7, self+7))
	require.False(t, ask.Trusted(self+8, self+7))
}

func TestTheFasterProgramIsUsedWhereItIsInstalled(t *testing.T) {
	dir := t.TempDir()
	lifeboat, quick := filepath.Join(dir, "lifeboat"), filepath.Join(dir, ask.Quick)
	require.Equal(t, lifeboat, ask.QuickOf(lifeboat))
	require.NoError(t, os.WriteFile(quick, nil, 0o600))
	require.Equal(t, lifeboat, ask.QuickOf(lifeboat), "it can't be run")
	require.NoError(t, os.Chmod(quick, 0o755))
	require.Equal(t, quick, ask.QuickOf(lifeboat))
	require.Equal(t, quick, ask.QuickOf(quick))
}
