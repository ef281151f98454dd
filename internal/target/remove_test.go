package target

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestATreeIsRemovedAndNothingThatItsLinksLeadTo(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	require.NoError(t, os.MkdirAll(outside, 0o755))
	kept := filepath.Join(outside, "kept")
	require.NoError(t, os.WriteFile(kept, []byte("production"), 0o644))
	tree := filepath.Join(dir, "tree")
	for n := range 3 * removers {
		folder := filepath.Join(tree, fmt.Sprint(n), "deep")
		require.NoError(t, os.MkdirAll(folder, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "file"), []byte("x"), 0o444))
		require.NoError(t, os.Symlink(outside, filepath.Join(folder, "folder")))
		require.NoError(t, os.Symlink(kept, filepath.Join(folder, "link")))
	}
	require.NoError(t, removeTree(tree))
	require.NoDirExists(t, tree)
	require.FileExists(t, kept)
	require.NoError(t, removeTree(tree), "what is gone is removed")

	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(outside, link))
	require.NoError(t, removeTree(link))
	require.NoFileExists(t, link)
	require.FileExists(t, kept)
	require.NoError(t, removeTree(outside+"/kept"))
	require.NoFileExists(t, kept)
}
