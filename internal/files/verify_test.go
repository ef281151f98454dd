package files_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/files"
	"github.com/frende/lifeboat/internal/system"
)

func TestEveryDifferenceFailsTheVerification(t *testing.T) {
	for name, change := range map[string]func(root string) error{
		"missing file":   func(root string) error { return os.Remove(filepath.Join(root, "d/b")) },
		"strange file":   func(root string) error { return os.WriteFile(filepath.Join(root, "d/stranger"), nil, 0o600) },
		"other content":  func(root string) error { return rewrite(filepath.Join(root, "d/b"), "D/b") },
		"longer content": func(root string) error { return rewrite(filepath.Join(root, "d/b"), "d/b+") },
		"other mode":     func(root string) error { return os.Chmod(filepath.Join(root, "a"), 0o640) },
		"other time": func(root string) error {
			return os.Chtimes(filepath.Join(root, "a"), time.Time{}, time.Unix(1, 0))
		},
		"other link": func(root string) error {
			return cmpErr(os.Remove(filepath.Join(root, "link")), os.Symlink("b", filepath.Join(root, "link")))
		},
		"link become file": func(root string) error {
			return cmpErr(os.Remove(filepath.Join(root, "link")), os.WriteFile(filepath.Join(root, "link"), nil, 0o600))
		},
		"hard link become copy": func(root string) error {
			return cmpErr(os.Remove(filepath.Join(root, "too")), os.WriteFile(filepath.Join(root, "too"), []byte("a"), 0o600))
		},
		"file become directory": func(root string) error {
			return cmpErr(os.Remove(filepath.Join(root, "d/b")), os.Mkdir(filepath.Join(root, "d/b"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, "a", "d/b")
			require.NoError(t, os.Symlink("a", filepath.Join(root, "link")))
			require.NoError(t, os.Link(filepath.Join(root, "a"), filepath.Join(root, "too")))
			entries, _, stream := capture(t, system.FileSet{Name: "uploads", Root: root})
			restored := extract(t, entries, stream)
			_, err := files.Verify(t.Context(), restored, entries, nil)
			require.NoError(t, err)
			require.NoError(t, change(restored))
			_, err = files.Verify(t.Context(), restored, entries, nil)
			require.ErrorIs(t, err, fault.VerificationFailed.Err())
		})
	}
}

// rewrite changes a file's content and nothing else that can be seen.
func rewrite(name, content string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return cmpErr(os.WriteFile(name, []byte(content), 0o600), os.Chtimes(name, time.Time{}, info.ModTime()))
}

func TestWhatASetLeavesOutIsCarried(t *testing.T) {
	set := system.FileSet{Name: "uploads", Include: []string{"*.jpg"}, Exclude: []string{"cache"}}
	live, staged := t.TempDir(), t.TempDir()
	write(t, live, "a.jpg", "new.jpg", "notes.txt", "deep/er/b.txt", "deep/c.jpg", "cache/d.jpg")
	require.NoError(t, os.Symlink("a.jpg", filepath.Join(live, "latest")))
	require.NoError(t, os.Chmod(filepath.Join(live, "deep"), 0o751))
	write(t, staged, "a.jpg", "old.jpg")

	carried, err := files.Carry(t.Context(), set, live, staged)
	require.NoError(t, err)
	require.Positive(t, carried.Entries)
	require.Empty(t, carried.Left)
	for _, name := range []string{"a.jpg", "old.jpg", "notes.txt", "deep/er/b.txt", "cache/d.jpg"} {
		require.FileExists(t, filepath.Join(staged, name))
	}
	for _, name := range []string{"new.jpg", "deep/c.jpg"} {
		require.NoFileExists(t, filepath.Join(staged, name), "the backup speaks for what the set takes")
	}
	target, err := os.Readlink(filepath.Join(staged, "latest"))
	require.NoError(t, err)
	require.Equal(t, "a.jpg", target)
	info, err := os.Stat(filepath.Join(staged, "deep"))
	require.NoError(t, err)
	require.EqualValues(t, 0o751, info.Mode().Perm())

	again, err := files.Carry(t.Context(), set, live, staged)
	require.NoError(t, err)
	require.Zero(t, again.Entries)
}

func TestASetOfEverythingCarriesNothing(t *testing.T) {
	live, staged := t.TempDir(), t.TempDir()
	write(t, live, "a")
	carried, err := files.Carry(t.Context(), system.FileSet{Name: "uploads"}, live, staged)
	require.NoError(t, err)
	require.Zero(t, carried.Entries)
	require.NoFileExists(t, filepath.Join(staged, "a"))
	carried, err = files.Carry(t.Context(), system.FileSet{Name: "uploads", Include: []string{"*.jpg"}}, filepath.Join(live, "gone"), staged)
	require.NoError(t, err)
	require.Zero(t, carried.Entries)
}

// The staging directory is the application's. Whoever has that account must not
// choose where a worker that is root makes files, nor keep it from its end.
func TestNothingIsCarriedThroughWhatWasPlanted(t *testing.T) {
	set := system.FileSet{Name: "uploads", Exclude: []string{"cache", "deep/cache", "tmp"}}
	for name, plant := range map[string]func(path, outside, inside string) error{
		"link outside": func(path, outside, _ string) error { return os.Symlink(outside, path) },
		"link inside":  func(path, _, inside string) error { return os.Symlink(inside, path) },
		"file":         func(path, _, _ string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			live, staged, outside := filepath.Join(base, "live"), filepath.Join(base, "staged"), filepath.Join(base, "profile.d")
			write(t, live, "cache/evil.sh", "cache/more/evil.sh", "deep/cache/a", "deep/b", "tmp/c")
			write(t, staged, "deep/b", "photos/d")
			require.NoError(t, os.Mkdir(outside, 0o755))
			require.NoError(t, plant(filepath.Join(staged, "cache"), outside, "photos"))
			require.NoError(t, plant(filepath.Join(staged, "deep", "cache"), outside, "../photos"))
			carried, err := files.Carry(t.Context(), set, live, staged)
			require.NoError(t, err)
			require.ElementsMatch(t, []string{"cache", "deep/cache"}, carried.Left)
			require.FileExists(t, filepath.Join(staged, "tmp", "c"), "the rest is carried")
			for dir, want := range map[string]int{outside: 0, filepath.Join(staged, "photos"): 1} {
				found, err := os.ReadDir(dir)
				require.NoError(t, err)
				require.Len(t, found, want, dir)
			}
		})
	}
}
