package target

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

func requireRefused(t *testing.T, reason string, places ...Place) {
	t.Helper()
	err := Refuse(places...)
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.ErrorContains(t, err, reason)
}

func TestPlacesThatCanBeSwappedPass(t *testing.T) {
	dir := t.TempDir()
	fill(t, filepath.Join(dir, "data"), "x")
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "link")))
	require.NoError(t, Refuse(
		Place{Dir: filepath.Join(dir, "data"), Need: 1},
		Place{Dir: filepath.Join(dir, "data-of-another"), Need: 1},
		Place{Dir: filepath.Join(dir, "lost", "with", "its", "parents")},
		Place{Dir: filepath.Join(dir, "link", "below-a-link")},
	))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing was touched")
}

func TestRefuseNamesWhyAPlaceCanNotBeSwapped(t *testing.T) {
	dir := t.TempDir()
	fill(t, filepath.Join(dir, "real"), "x")
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink("real", link))
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	requireRefused(t, "it is a symbolic link", Place{Dir: link})
	requireRefused(t, "it is not a directory", Place{Dir: file})
	requireRefused(t, "not the absolute path", Place{Dir: "relative/data"})
	requireRefused(t, "not the absolute path", Place{Dir: "/"})
	requireRefused(t, "it is a mount point", Place{Dir: "/proc"})
	requireRefused(t, "is mounted inside it", holdsMount(t))
}

// holdsMount gives a directory that is no mount point but holds one.
func holdsMount(t *testing.T) Place {
	t.Helper()
	for _, dir := range []string{"/sys/fs", "/dev", "/sys"} {
		mounts, err := mountsIn(dir)
		require.NoError(t, err)
		if len(mounts) > 0 && mounts[0] != dir {
			return Place{Dir: dir}
		}
	}
	t.Fatal("this host has no mount below a directory that is none")
	return Place{}
}

func TestRefuseNamesTargetsThatOverlap(t *testing.T) {
	dir := t.TempDir()
	requireRefused(t, "it lies in "+dir+"/srv", Place{Dir: dir + "/srv"}, Place{Dir: dir + "/srv/uploads"})
	requireRefused(t, "it lies in "+dir+"/srv", Place{Dir: dir + "/srv/uploads"}, Place{Dir: dir + "/srv/"})
	requireRefused(t, "it lies in "+dir+"/srv", Place{Dir: dir + "/srv"}, Place{Dir: dir + "/srv"})
}

func TestRefuseAddsUpWhatIsNeededOnOneFileSystem(t *testing.T) {
	dir := t.TempDir()
	free, err := Space(filepath.Join(dir, "not", "there", "yet"))
	require.NoError(t, err)
	require.Positive(t, free)
	require.NoError(t, Refuse(Place{Dir: dir + "/a", Need: free / 4}, Place{Dir: dir + "/b", Need: free / 4}))

	err = Refuse(Place{Dir: dir + "/a", Need: free * 3 / 4}, Place{Dir: dir + "/b", Need: free * 3 / 4})
	require.True(t, fault.Has(err, fault.NoSpace), "%v", err)
	require.ErrorContains(t, err, "needed beside it")
	require.Contains(t, fault.HintOf(err), "free ")
}

func TestSizesAreWrittenForPeople(t *testing.T) {
	require.Equal(t, "512 B", size(512))
	require.Equal(t, "1.5 KiB", size(1536))
	require.Equal(t, "2.0 GiB", size(2<<30))
}
