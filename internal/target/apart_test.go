package target

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

func TestACopyGoesToAPlaceOfItsOwnOnly(t *testing.T) {
	dir := t.TempDir()
	production, empty, full := filepath.Join(dir, "pg"), filepath.Join(dir, "empty"), filepath.Join(dir, "full")
	for _, one := range []string{production, empty} {
		require.NoError(t, os.Mkdir(one, 0o700))
	}
	fill(t, full, "kept")
	link, way := filepath.Join(dir, "link"), filepath.Join(dir, "way")
	require.NoError(t, os.Symlink(empty, link))
	require.NoError(t, os.Symlink(production, way))
	for _, fine := range []string{empty, filepath.Join(dir, "missing"), filepath.Join(empty, "inner"), filepath.Join(dir, "pg-copy")} {
		require.NoError(t, Vacant(fine, production), fine)
	}
	for path, why := range map[string]string{
		full:                                    "it is not empty",
		filepath.Join(full, "content"):          "is not a directory",
		link:                                    "symbolic link",
		production:                              "production's",
		filepath.Join(production, "copy"):       "production's",
		filepath.Join(way, "copy"):              "production's",
		filepath.Join(dir, "none", "copy"):      "is no directory on the worker's host",
		filepath.Join(dir, "pg.lifeboat-new-x"): "named as what a run leaves",
		filepath.Join(full, "content", "copy"):  "is no directory",
	} {
		err := Vacant(path, production)
		require.True(t, fault.Has(err, fault.TargetRefused), "%s: %v", path, err)
		require.ErrorContains(t, err, why)
	}
	err := Vacant(empty, filepath.Join(empty, "data", "pg"))
	require.ErrorContains(t, err, "lies in or over")
	for _, path := range []string{"", "relative", "/", dir + "/a/../b", dir + "/a/"} {
		err := Vacant(path, production)
		require.True(t, fault.Has(err, fault.InputInvalid), "%s: %v", path, err)
	}
}

func TestPutDirectoryReplacesAnEmptyDirectoryOnly(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	fill(t, from, "new")
	fill(t, to, "somebody's")
	err := PutDirectory(from, to)
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	holds(t, to, "somebody's")
	require.NoError(t, os.Remove(filepath.Join(to, "content")))
	require.NoError(t, PutDirectory(from, to))
	holds(t, to, "new")
}

func TestMoveAsideIsFinishedByTheNextAttempt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, MoveAside(dir, run), "there is nothing to move")
	fill(t, dir, "older")
	for range 2 {
		require.NoError(t, MoveAside(dir, run))
		require.NoDirExists(t, dir)
		holds(t, Aside(dir, run), "older")
	}
	fill(t, dir, "somebody's")
	require.NoError(t, MoveAside(dir, run), "what is aside is never replaced")
	holds(t, dir, "somebody's")
	fill(t, dir+"-new", "new")
	err := PutDirectory(dir+"-new", dir)
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.NoError(t, DiscardAside(dir, run))
	require.NoError(t, DiscardAside(dir, run))
	require.NoDirExists(t, Aside(dir, run))
	holds(t, dir, "somebody's")
}
