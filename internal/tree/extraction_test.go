package tree_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/tree"
)

const chunkSize = 64 << 10

// specimen is a random tree: its table, its stream and each file's content.
type specimen struct {
	entries []tree.Entry
	stream  []byte
	content map[string][]byte
}

// grow makes a tree with every kind of entry. Contents lie in random order in
// the stream, with foreign bytes between them, as in a tar.
func grow(random *rand.Rand, files int) specimen {
	at := func() time.Time { return time.Unix(1_600_000_000+random.Int64N(1e8), random.Int64N(1e9)).UTC() }
	s := specimen{content: map[string][]byte{}, entries: []tree.Entry{{Path: ".", Kind: tree.Dir, Mode: 0o750, ModTime: at()}}}
	dirs := []string{"."}
	for i := range files / 4 {
		name := filepath.Join(dirs[random.IntN(len(dirs))], fmt.Sprintf("d%d", i))
		dirs = append(dirs, name)
		s.entries = append(s.entries, tree.Entry{Path: name, Kind: tree.Dir, Mode: []uint32{0o700, 0o755, 0o2775, 0o555}[random.IntN(4)], ModTime: at()})
	}
	for i := range files {
		name := filepath.Join(dirs[random.IntN(len(dirs))], fmt.Sprintf("f%d", i))
		s.plant(random, tree.Entry{
			Path: name, Kind: tree.File, Mode: []uint32{0o600, 0o644, 0o444, 0o400}[random.IntN(4)],
			UID: os.Geteuid(), GID: os.Getegid(), ModTime: at(),
		})
		if random.IntN(8) == 0 {
			s.entries = append(s.entries, tree.Entry{Path: name + ".hard", Kind: tree.Hardlink, Link: name, ModTime: at()})
		}
		if random.IntN(8) == 0 {
			s.entries = append(s.entries, tree.Entry{Path: name + ".link", Kind: tree.Symlink, Mode: 0o777, Link: []string{"/etc/passwd", "..", "f0"}[random.IntN(3)], ModTime: at()})
		}
	}
	return s
}

func (s *specimen) plant(random *rand.Rand, entry tree.Entry) {
	size := []int64{0, 1, random.Int64N(5000), random.Int64N(4 * chunkSize)}[random.IntN(4)]
	content := make([]byte, size)
	fill(random, content)
	s.stream = append(s.stream, make([]byte, random.IntN(1024))...) // not ours
	entry.Size, entry.Offset = size, int64(len(s.stream))
	stored := content
	if size > 2000 && random.IntN(3) == 0 {
		clear(content[:500])
		clear(content[1000:size])
		stored = content[500:1000]
		entry.Segments = []tree.Segment{{Offset: 500, Length: 200}, {Offset: 700, Length: 300}}
	}
	s.stream = append(s.stream, stored...)
	s.content[entry.Path] = content
	s.entries = append(s.entries, entry)
}

func fill(random *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(random.Uint32())
	}
}

func (s *specimen) chunks() int { return (len(s.stream) + chunkSize - 1) / chunkSize }

func (s *specimen) chunk(i int) (int64, []byte) {
	from := i * chunkSize
	return int64(from), s.stream[from:min(from+chunkSize, len(s.stream))]
}

// writeAll writes what is not done from several goroutines, in random order,
// and gives the number of chunks it wrote.
func (s *specimen) writeAll(t *testing.T, random *rand.Rand, x *tree.Extraction) int {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(4)
	wrote := 0
	for _, i := range random.Perm(s.chunks()) {
		if x.Done(i) {
			continue
		}
		wrote++
		group.Go(func() error {
			off, data := s.chunk(i)
			return x.Write(i, off, data)
		})
	}
	require.NoError(t, group.Wait())
	return wrote
}

// requireOnDisk compares a directory with the specimen, entry by entry.
func (s *specimen) requireOnDisk(t *testing.T, root string) {
	t.Helper()
	for _, entry := range s.entries {
		name := filepath.Join(root, entry.Path)
		info, err := os.Lstat(name)
		require.NoError(t, err)
		switch entry.Kind {
		case tree.File:
			got, err := os.ReadFile(name)
			require.NoError(t, err)
			require.True(t, bytes.Equal(s.content[entry.Path], got), "%s differs", entry.Path)
			require.EqualValues(t, entry.Mode, unixMode(info), entry.Path)
			require.True(t, entry.ModTime.Equal(info.ModTime()), "%s: %s is not %s", entry.Path, info.ModTime(), entry.ModTime)
		case tree.Dir:
			require.True(t, info.IsDir())
			require.EqualValues(t, entry.Mode, unixMode(info), entry.Path)
			require.True(t, entry.ModTime.Equal(info.ModTime()), "%s: %s is not %s", entry.Path, info.ModTime(), entry.ModTime)
		case tree.Symlink:
			target, err := os.Readlink(name)
			require.NoError(t, err)
			require.Equal(t, entry.Link, target)
			require.True(t, entry.ModTime.Equal(info.ModTime()))
		case tree.Hardlink:
			other, err := os.Lstat(filepath.Join(root, entry.Link))
			require.NoError(t, err)
			require.True(t, os.SameFile(info, other))
		}
	}
}

func unixMode(info fs.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Mode & 0o7777 }

func places(t *testing.T) tree.Config {
	t.Helper()
	base := t.TempDir()
	t.Cleanup(func() { require.NoError(t, tree.Loosen(base)) }) // so that it can be removed
	return tree.Config{Root: filepath.Join(base, "staging"), Journal: filepath.Join(base, "state", "journal"), Backup: "file-backups/x", Open: 4}
}

func start(t *testing.T, c tree.Config) *tree.Extraction {
	t.Helper()
	x, err := tree.NewExtraction(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, x.Close()) })
	return x
}

func TestRandomTreesComeBackAsTheyWere(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		s := grow(random, 40)
		c := places(t)
		c.Entries, c.Stream = s.entries, int64(len(s.stream))
		x := start(t, c)
		s.writeAll(t, random, x)
		require.NoError(t, x.Finish(t.Context()))
		s.requireOnDisk(t, c.Root)
		require.NoError(t, x.Finish(t.Context()), "Finish may be repeated")
	}
}

func TestSparseFilesKeepTheirHoles(t *testing.T) {
	c := places(t)
	c.Entries = []tree.Entry{sparse("hole", 64<<20), sparse("image", 64<<20, tree.Segment{Offset: 32 << 20, Length: 4096})}
	x := start(t, c)
	require.NoError(t, x.Write(0, 0, bytes.Repeat([]byte("x"), 4096)))
	require.NoError(t, x.Finish(t.Context()))
	for _, entry := range c.Entries {
		info, err := os.Stat(filepath.Join(c.Root, entry.Path))
		require.NoError(t, err)
		require.Equal(t, entry.Size, info.Size())
		require.Less(t, info.Sys().(*syscall.Stat_t).Blocks*512, int64(1<<20))
	}
}

func TestASecondAttemptWritesOnlyWhatTheFirstDidNot(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	s := grow(random, 60)
	c := places(t)
	c.Entries = s.entries
	first, err := tree.NewExtraction(c)
	require.NoError(t, err)
	half := s.chunks() / 2
	for i := range half {
		off, data := s.chunk(i)
		require.NoError(t, first.Write(i, off, data))
	}
	require.ErrorIs(t, first.Finish(t.Context()), fault.IntegrityError.Err(), "half a tree is not finished")
	require.NoError(t, first.Close())

	second := start(t, c)
	require.Positive(t, second.Resumed())
	require.Equal(t, s.chunks()-half, s.writeAll(t, random, second))
	require.NoError(t, second.Finish(t.Context()))
	s.requireOnDisk(t, c.Root)
	require.NoError(t, second.Close())

	third := start(t, c)
	require.True(t, third.Done(0))
	require.NoError(t, third.Finish(t.Context()))
	s.requireOnDisk(t, c.Root)
}

func TestAnInterruptedFinishIsRepeated(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 8))
	s := grow(random, 60)
	c := places(t)
	c.Entries = s.entries
	first, err := tree.NewExtraction(c)
	require.NoError(t, err)
	s.writeAll(t, random, first)
	require.NoError(t, first.Finish(t.Context()))
	require.NoError(t, first.Close())
	cutJournal(t, c.Journal, 16) // as if killed before its last record

	second := start(t, c)
	require.Equal(t, second.Stored(), second.Resumed())
	require.NoError(t, second.Finish(t.Context()))
	s.requireOnDisk(t, c.Root)
}

func cutJournal(t *testing.T, name string, bytes int64) {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(name, info.Size()-bytes))
}

func TestATornJournalRecordIsNotTrusted(t *testing.T) {
	c := places(t)
	c.Entries = []tree.Entry{file("a", 0, 2*chunkSize)}
	first, err := tree.NewExtraction(c)
	require.NoError(t, err)
	require.NoError(t, first.Write(0, 0, make([]byte, chunkSize)))
	require.NoError(t, first.Write(1, chunkSize, make([]byte, chunkSize)))
	require.NoError(t, first.Close())
	cutJournal(t, c.Journal, 3)

	second := start(t, c)
	require.True(t, second.Done(0))
	require.False(t, second.Done(1))
	require.NoError(t, second.Write(1, chunkSize, make([]byte, chunkSize)))
	require.NoError(t, second.Finish(t.Context()))
}

func TestNothingIsTrustedAfterARebootOrForAnotherBackupOrTable(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, c *tree.Config){
		"another backup": func(_ *testing.T, c *tree.Config) { c.Backup = "file-backups/y" },
		"another table":  func(_ *testing.T, c *tree.Config) { c.Entries = []tree.Entry{file("b", 0, 4)} },
		"another boot": func(t *testing.T, c *tree.Config) {
			boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
			require.NoError(t, err)
			journal, err := os.ReadFile(c.Journal)
			require.NoError(t, err)
			changed := bytes.Replace(journal, bytes.TrimSpace(boot), []byte("00000000-0000-4000-8000-000000000000"), 1)
			require.NotEqual(t, journal, changed)
			require.NoError(t, os.WriteFile(c.Journal, changed, 0o600))
		},
		"another directory": func(t *testing.T, c *tree.Config) {
			require.NoError(t, os.Rename(c.Root, c.Root+".moved"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := places(t)
			c.Entries = []tree.Entry{file("a", 0, 4)}
			first, err := tree.NewExtraction(c)
			require.NoError(t, err)
			require.NoError(t, first.Write(0, 0, []byte("data")))
			require.NoError(t, first.Close())

			change(t, &c)
			second := start(t, c)
			require.False(t, second.Done(0))
			require.Zero(t, second.Resumed())
			left, err := os.ReadDir(c.Root)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestADirectoryThatIsNotOursIsRefused(t *testing.T) {
	c := places(t)
	c.Entries = []tree.Entry{file("a", 0, 4)}
	require.NoError(t, os.MkdirAll(c.Root, 0o700))
	precious := filepath.Join(c.Root, "precious")
	require.NoError(t, os.WriteFile(precious, nil, 0o600))
	_, err := tree.NewExtraction(c)
	require.ErrorIs(t, err, fault.TargetRefused.Err())
	require.FileExists(t, precious)
	_, err = tree.Discard(c.Root, c.Journal)
	require.ErrorIs(t, err, fault.TargetRefused.Err())
	require.FileExists(t, precious)
}

func TestTwoAttemptsNeverWriteAtOnce(t *testing.T) {
	c := places(t)
	c.Entries = []tree.Entry{file("a", 0, 4)}
	start(t, c)
	_, err := tree.NewExtraction(c)
	require.ErrorIs(t, err, fault.PathFailed.Err())
	require.True(t, fault.Retryable(err))
}

func TestTheLastFileAppearsOnlyWhenAllIsDone(t *testing.T) {
	c := places(t)
	at := time.Unix(1_700_000_000, 5).UTC()
	control := file("global/pg_control", 0, 4)
	control.ModTime = at
	c.Entries = []tree.Entry{{Path: "global", Kind: tree.Dir, Mode: 0o700, ModTime: at}, control}
	c.Last = control.Path
	x := start(t, c)
	require.NoError(t, x.Write(0, 0, []byte("ctrl")))
	require.NoFileExists(t, filepath.Join(c.Root, c.Last))
	require.NoError(t, x.Finish(t.Context()))
	got, err := os.ReadFile(filepath.Join(c.Root, c.Last))
	require.NoError(t, err)
	require.Equal(t, "ctrl", string(got))
	names, err := os.ReadDir(filepath.Join(c.Root, "global"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	info, err := os.Stat(filepath.Join(c.Root, "global"))
	require.NoError(t, err)
	require.True(t, at.Equal(info.ModTime()))
}

func TestDiscardRemovesAllAndMayBeRepeated(t *testing.T) {
	c := places(t)
	c.Entries = []tree.Entry{file("d/a", 0, 4)}
	x, err := tree.NewExtraction(c)
	require.NoError(t, err)
	require.NoError(t, x.Close())
	removed, err := tree.Discard(c.Root, c.Journal)
	require.NoError(t, err)
	require.True(t, removed)
	require.NoDirExists(t, c.Root)
	require.NoFileExists(t, c.Journal)
	removed, err = tree.Discard(c.Root, c.Journal)
	require.NoError(t, err)
	require.False(t, removed)
	require.NoFileExists(t, c.Journal)
}

func TestAFinishedTreeThatItsModesProtectIsStartedOver(t *testing.T) {
	c := places(t)
	c.Entries = []tree.Entry{{Path: "sealed", Kind: tree.Dir, Mode: 0o555}, file("sealed/a", 0, 4)}
	c.Entries[1].Mode = 0o444
	first, err := tree.NewExtraction(c)
	require.NoError(t, err)
	require.NoError(t, first.Write(0, 0, []byte("data")))
	require.NoError(t, first.Finish(t.Context()))
	require.NoError(t, first.Close())
	c.Backup = "file-backups/y"
	second := start(t, c)
	require.False(t, second.Done(0))
	require.NoError(t, second.Write(0, 0, []byte("DATA")))
	require.NoError(t, second.Finish(t.Context()))
	got, err := os.ReadFile(filepath.Join(c.Root, "sealed/a"))
	require.NoError(t, err)
	require.Equal(t, "DATA", string(got))
}

func TestSetuidGoesWithItsAccountOnly(t *testing.T) {
	own := file("own", 0, 0)
	own.Mode, own.UID, own.GID = 0o4755, os.Geteuid(), os.Getegid()
	foreign := own
	foreign.Path, foreign.UID, foreign.Owner = "foreign", 4_000_000, "no-such-account-here"
	c := places(t)
	c.Entries = []tree.Entry{own, foreign}
	x := start(t, c)
	require.NoError(t, x.Finish(t.Context()))
	info, err := os.Stat(filepath.Join(c.Root, "own"))
	require.NoError(t, err)
	require.EqualValues(t, 0o4755, unixMode(info))
	info, err = os.Stat(filepath.Join(c.Root, "foreign"))
	require.NoError(t, err)
	require.EqualValues(t, 0o755, unixMode(info))
	require.Positive(t, x.Dropped())
}

func TestACancelledFinishCanBeRepeated(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	s := grow(random, 30)
	c := places(t)
	c.Entries = s.entries
	x := start(t, c)
	s.writeAll(t, random, x)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, x.Finish(cancelled), context.Canceled)
	require.NoError(t, x.Finish(t.Context()))
	s.requireOnDisk(t, c.Root)
}
