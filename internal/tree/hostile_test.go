package tree_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/internal/tree"
)

func file(path string, offset, size int64) tree.Entry {
	return tree.Entry{Path: path, Kind: tree.File, Mode: 0o644, Offset: offset, Size: size}
}

func link(path, target string) tree.Entry {
	return tree.Entry{Path: path, Kind: tree.Symlink, Mode: 0o777, Link: target}
}

func hard(path, target string) tree.Entry {
	return tree.Entry{Path: path, Kind: tree.Hardlink, Mode: 0o644, Link: target}
}

func dir(path string) tree.Entry { return tree.Entry{Path: path, Kind: tree.Dir, Mode: 0o755} }

func sparse(path string, size int64, segments ...tree.Segment) tree.Entry {
	return tree.Entry{Path: path, Kind: tree.File, Mode: 0o644, Size: size, Segments: append([]tree.Segment{}, segments...)}
}

// hostileTables are what row 18 of the reliability table tries: each must be
// refused before anything is created.
func hostileTables() map[string]tree.Config {
	entries := func(e ...tree.Entry) tree.Config { return tree.Config{Entries: e} }
	return map[string]tree.Config{
		"leaves by dot dot":                entries(file("../out", 0, 1)),
		"leaves by dot dot inside":         entries(file("a/../../out", 0, 1)),
		"leaves to the parent itself":      entries(dir("..")),
		"absolute path":                    entries(file("/etc/passwd", 0, 1)),
		"empty name":                       entries(file("", 0, 1)),
		"zero byte in the name":            entries(file("a\x00b", 0, 1)),
		"path that is not clean":           entries(file("a//b", 0, 1)),
		"path with a dot":                  entries(file("./a", 0, 1)),
		"trailing slash":                   entries(dir("a/")),
		"name longer than the kernel has":  entries(file(strings.Repeat("n", 256), 0, 1)),
		"path longer than the kernel has":  entries(file(strings.Repeat("n/", 2048)+"n", 0, 1)),
		"same path twice":                  entries(file("a", 0, 1), file("a", 1, 1)),
		"file and symbolic link of a name": entries(link("a", "/tmp"), file("a", 0, 1)),
		"file below a symbolic link":       entries(link("a", "/tmp"), file("a/b", 0, 1)),
		"file below a link that follows":   entries(file("a/b", 0, 1), link("a", "/tmp")),
		"chained symbolic links":           entries(link("a", "b"), link("b", "/etc"), file("a/passwd", 0, 1)),
		"directory below a symbolic link":  entries(link("a", ".."), dir("a/b"), file("a/b/c", 0, 1)),
		"entry below a file":               entries(file("a", 0, 1), file("a/b", 1, 1)),
		"entry below a hard link":          entries(file("f", 0, 1), hard("a", "f"), file("a/b", 1, 1)),
		"hard link to a symbolic link":     entries(link("a", "/etc/shadow"), hard("b", "a")),
		"hard link to outside":             entries(hard("b", "../../etc/shadow")),
		"hard link to an absolute path":    entries(hard("b", "/etc/shadow")),
		"hard link to what is not listed":  entries(hard("b", "a")),
		"hard link to a hard link":         entries(file("f", 0, 1), hard("a", "f"), hard("b", "a")),
		"device":                           entries(tree.Entry{Path: "sda", Kind: "block"}),
		"FIFO":                             entries(tree.Entry{Path: "pipe", Kind: "fifo"}),
		"socket":                           entries(tree.Entry{Path: "sock", Kind: "socket"}),
		"no kind":                          entries(tree.Entry{Path: "what"}),
		"root that is a file":              entries(file(".", 0, 1)),
		"symbolic link to nothing":         entries(link("a", "")),
		"symbolic link with a zero byte":   entries(link("a", "b\x00c")),
		"mode with file type bits":         entries(tree.Entry{Path: "a", Kind: tree.File, Mode: 0o60644}),
		"directory with content":           entries(tree.Entry{Path: "a", Kind: tree.Dir, Size: 1}),
		"negative size":                    entries(file("a", 0, -1)),
		"negative place":                   entries(file("a", -1, 1)),
		"place past 64 bits":               entries(file("a", math.MaxInt64, 2)),
		"sizes past 64 bits":               entries(file("a", 0, math.MaxInt64), file("b", 0, math.MaxInt64)),
		"overlapping contents":             entries(file("a", 0, 100), file("b", 50, 100)),
		"content past the stream":          {Entries: []tree.Entry{file("a", 0, 100)}, Stream: 99},
		"too many entries":                 {Entries: []tree.Entry{file("a", 0, 1), file("b", 1, 1)}, Limits: tree.Limits{Entries: 1}},
		"too many bytes":                   {Entries: []tree.Entry{file("a", 0, 101)}, Limits: tree.Limits{Bytes: 100}},
		"sparse bomb":                      entries(sparse("a", 1<<50, tree.Segment{Offset: 0, Length: 4096})),
		"bomb of one content for all": {Shared: true, Limits: tree.Limits{Bytes: 250}, Entries: []tree.Entry{
			file("a", 0, 100), file("b", 0, 100), file("c", 0, 100),
		}},
		"data runs out of order":     entries(sparse("a", 100, tree.Segment{Offset: 50, Length: 10}, tree.Segment{Offset: 0, Length: 10})),
		"data run outside the file":  entries(sparse("a", 100, tree.Segment{Offset: 95, Length: 10})),
		"data run past 64 bits":      entries(sparse("a", 100, tree.Segment{Offset: 1, Length: math.MaxInt64})),
		"another name of the last":   {Entries: []tree.Entry{file("a", 0, 1), hard("b", "a")}, Last: "a"},
		"the last file's other name": {Entries: []tree.Entry{file("a", 0, 1), link("a.lifeboat-partial", "/etc/passwd")}, Last: "a"},
	}
}

func TestHostileTablesAreRefusedBeforeAnythingIsCreated(t *testing.T) {
	tables := hostileTables()
	require.GreaterOrEqual(t, len(tables), 30)
	tried := 0
	torture.PublishedAtEnd(t, 18, func() int { return tried })
	for name, config := range tables {
		tried++
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			config.Root, config.Journal = filepath.Join(base, "staging"), filepath.Join(base, "journal")
			_, err := tree.NewExtraction(config)
			require.ErrorIs(t, err, fault.HostileArchive.Err())
			require.NotEmpty(t, fault.HintOf(err))
			require.NotContains(t, err.Error(), "\x00")
			left, err := os.ReadDir(base)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestAPlantedSymbolicLinkInStagingIsNotFollowed(t *testing.T) {
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	require.NoError(t, os.WriteFile(outside, []byte("precious"), 0o600))
	config := tree.Config{
		Root: filepath.Join(base, "staging"), Journal: filepath.Join(base, "journal"),
		Entries: []tree.Entry{file("a", 0, 4)},
	}
	x, err := tree.NewExtraction(config)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(outside, filepath.Join(config.Root, "a")))
	require.Error(t, x.Write(0, 0, []byte("evil")))
	require.NoError(t, x.Close())
	kept, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "precious", string(kept))
}

func TestAMissingLastFileIsAnIntegrityError(t *testing.T) {
	base := t.TempDir()
	_, err := tree.NewExtraction(tree.Config{
		Root: filepath.Join(base, "staging"), Journal: filepath.Join(base, "journal"),
		Entries: []tree.Entry{file("a", 0, 4)}, Last: "global/pg_control",
	})
	require.ErrorIs(t, err, fault.IntegrityError.Err())
}
