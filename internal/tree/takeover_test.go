package tree_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/tree"
)

// older extracts a specimen as an older tree, and gives the configuration of one
// that is extracted beside it.
func older(t *testing.T, random *rand.Rand, files int) (specimen, tree.Config) {
	t.Helper()
	s := grow(random, files)
	c := places(t)
	c.Entries, c.Stream = s.entries, int64(len(s.stream))
	first := c
	first.Root, first.Journal = filepath.Join(filepath.Dir(c.Root), "older"), c.Journal+".older"
	x := start(t, first)
	s.writeAll(t, random, x)
	require.NoError(t, x.Finish(t.Context()))
	require.NoError(t, x.Close())
	c.Older = first.Root
	return s, c
}

// offer offers the file that has an entry's name in the older tree.
func offer(t *testing.T, x *tree.Extraction, c tree.Config, entry int) (*tree.Offer, bool) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(c.Older, c.Entries[entry].Path), os.O_RDONLY|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	return x.Offer(entry, file)
}

// take takes over what may be, and gives which.
func take(t *testing.T, x *tree.Extraction, c tree.Config, least int64) (taken []int) {
	t.Helper()
	for i, entry := range c.Entries {
		if entry.Kind != tree.File || entry.Size < least {
			continue
		}
		o, ok := offer(t, x, c, i)
		if !ok {
			continue
		}
		took, err := o.Take()
		require.NoError(t, err)
		if took {
			taken = append(taken, i)
		}
	}
	return taken
}

// look is what an older tree must stay: but for the times at which a file got another name.
func look(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		body := []byte{}
		if info.Mode().IsRegular() {
			if body, err = os.ReadFile(name); err != nil {
				return err
			}
		}
		stat := info.Sys().(*syscall.Stat_t)
		found[name] = string(body) + info.Mode().String() + info.ModTime().String() + string(rune(stat.Uid)) + string(rune(stat.Gid))
		return nil
	}))
	return found
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	one, err := os.Lstat(a)
	require.NoError(t, err)
	two, err := os.Lstat(b)
	require.NoError(t, err)
	return os.SameFile(one, two)
}

func TestFilesOfAnOlderTreeAreTakenOverAndNotWritten(t *testing.T) {
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 1))
		s, c := older(t, random, 40)
		before := look(t, c.Older)
		x := start(t, c)
		taken := take(t, x, c, 100)
		require.NotEmpty(t, taken)
		var bytes int64
		for _, i := range taken {
			require.True(t, x.IsTaken(i))
			bytes += c.Entries[i].Size
		}
		require.Equal(t, bytes, x.Taken())
		require.NoError(t, x.Settle())
		stored, held := x.Held(0, c.Stream)
		require.Equal(t, x.Stored(), stored)
		require.Equal(t, bytes, held)
		s.writeAll(t, random, x)
		require.NoError(t, x.Finish(t.Context()))
		s.requireOnDisk(t, c.Root)
		require.Equal(t, before, look(t, c.Older), "the older tree is as it was")
		for i, entry := range c.Entries {
			if entry.Kind == tree.File {
				require.Equal(t, x.IsTaken(i), sameFile(t, filepath.Join(c.Root, entry.Path), filepath.Join(c.Older, entry.Path)), entry.Path)
			}
		}
		twins := x.Twins()
		require.Len(t, twins, len(taken))
		changed, err := tree.Changed(c.Root, twins)
		require.NoError(t, err)
		require.Empty(t, changed)

		// Without the older one's names the files stay, and what they were is over.
		require.NoError(t, tree.Loosen(c.Older))
		require.NoError(t, os.RemoveAll(c.Older))
		s.requireOnDisk(t, c.Root)
		changed, err = tree.Changed(c.Root, twins)
		require.NoError(t, err)
		require.Equal(t, twins[0].Path, changed)
	}
}

func TestOnlyAFileThatIsAsFinishWouldLeaveItIsShared(t *testing.T) {
	own := func(path string) tree.Entry {
		e := file(path, 0, 5)
		e.Mode, e.UID, e.GID = 0o600, os.Geteuid(), os.Getegid()
		return e
	}
	c := places(t)
	c.Entries = []tree.Entry{own("a"), own("control"), own("named"), {Path: "other name", Kind: tree.Hardlink, Link: "named"}}
	for i := range c.Entries[:3] {
		c.Entries[i].Offset = int64(i * 5)
	}
	c.Older, c.Last = filepath.Join(filepath.Dir(c.Root), "older"), "control"
	require.NoError(t, os.Mkdir(c.Older, 0o700))
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	plant := func(name string) string {
		at := filepath.Join(c.Older, name)
		require.NoError(t, os.RemoveAll(at))
		require.NoError(t, os.WriteFile(at, []byte("12345"), 0o600))
		return at
	}
	x := start(t, c)
	_, clones := x.Offer(0, open(t, plant("a")))
	require.True(t, clones)
	x.CloneWith(func(*os.File, *os.File) error { return unix.EOPNOTSUPP })
	o, ok := x.Offer(2, open(t, plant("b")))
	require.False(t, ok, "the table has another name of it")
	require.Nil(t, o)
	_, ok = x.Offer(1, open(t, plant("control")))
	require.False(t, ok, "it comes last, and new")

	// Nothing can be cloned here: the first one finds out.
	at := plant("a")
	require.NoError(t, os.Chmod(at, 0o640))
	o, ok = x.Offer(0, open(t, at))
	require.True(t, ok, "it might be cloned")
	took, err := o.Take()
	require.NoError(t, err)
	require.False(t, took)
	for name, spoil := range map[string]func(at string) error{
		"another mode":         func(at string) error { return os.Chmod(at, 0o640) },
		"setuid":               func(at string) error { return unix.Chmod(at, 0o4600) },
		"another size":         func(at string) error { return os.WriteFile(at, []byte("123456"), 0o600) },
		"another name":         func(at string) error { return os.Link(at, elsewhere) },
		"an attribute":         func(at string) error { return unix.Setxattr(at, "user.origin", []byte("x"), 0) },
		"a directory":          func(at string) error { return errors.Join(os.Remove(at), os.Mkdir(at, 0o600)) },
		"a FIFO":               func(at string) error { return errors.Join(os.Remove(at), unix.Mkfifo(at, 0o600)) },
		"another owner's file": func(at string) error { return os.Chown(at, os.Geteuid()+1, -1) },
		"another group's file": func(at string) error { return os.Chown(at, -1, os.Getegid()+1) },
	} {
		at := plant("a")
		err := spoil(at)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) {
			continue // only root gives files away, and not every file system has attributes
		}
		require.NoError(t, err, name)
		_, ok := x.Offer(0, open(t, at))
		require.False(t, ok, name)
		require.NoError(t, os.RemoveAll(elsewhere))
	}
	o, ok = x.Offer(0, open(t, plant("a")))
	require.True(t, ok)
	took, err = o.Take()
	require.NoError(t, err)
	require.True(t, took)
	require.NoFileExists(t, filepath.Join(c.Root, "control.lifeboat-partial"))
}

func open(t *testing.T, name string) *os.File {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	return file
}

func TestAFileThatChangesWhileItIsComparedIsNotTakenOver(t *testing.T) {
	for name, change := range map[string]func(at string) error{
		"written": func(at string) error {
			file, err := os.OpenFile(at, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = file.WriteAt([]byte("X"), 0)
			return errors.Join(err, file.Close())
		},
		"longer":          func(at string) error { return os.Truncate(at, 1<<20) },
		"of another mode": func(at string) error { return os.Chmod(at, 0o644) },
		"with two names":  func(at string) error { return os.Link(at, at+"-2") },
		"removed":         os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(3, 3))
			s, c := older(t, random, 40)
			x := start(t, c)
			entry := writable(t, c)
			o, ok := offer(t, x, c, entry)
			require.True(t, ok)
			require.NoError(t, change(filepath.Join(c.Older, c.Entries[entry].Path)))
			took, err := o.Take()
			require.NoError(t, err)
			require.False(t, took)
			require.NoFileExists(t, filepath.Join(c.Root, c.Entries[entry].Path))
			require.NoError(t, x.Settle())
			s.writeAll(t, random, x)
			require.NoError(t, x.Finish(t.Context()))
			s.requireOnDisk(t, c.Root)
		})
	}
}

// writable is a file of the older tree that may be taken over and be written to.
func writable(t *testing.T, c tree.Config) int {
	t.Helper()
	for i, entry := range c.Entries {
		info, err := os.Lstat(filepath.Join(c.Older, entry.Path))
		require.NoError(t, err)
		if entry.Kind == tree.File && entry.Size > 100 && !entry.Sparse() && entry.Mode == 0o600 && info.Sys().(*syscall.Stat_t).Nlink == 1 {
			return i
		}
	}
	t.Fatal("the specimen has none")
	return 0
}

func TestAFileUnderTwoNamesOfAnOlderTreeIsTakenOverOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	_, c := older(t, random, 40)
	c.Entries = append([]tree.Entry{}, c.Entries...)
	entry := writable(t, c)
	again := c.Entries[entry]
	again.Path, again.Offset = "again", c.Stream
	c.Entries, c.Stream = append(c.Entries, again), c.Stream+again.Size
	require.NoError(t, os.Symlink(c.Entries[entry].Path, filepath.Join(c.Older, "again")))
	x := start(t, c)
	one, ok := offer(t, x, c, entry)
	require.True(t, ok)
	two, ok := offer(t, x, c, len(c.Entries)-1)
	require.True(t, ok)
	took, err := two.Take()
	require.NoError(t, err)
	require.True(t, took)
	took, err = one.Take()
	require.NoError(t, err)
	require.False(t, took)
	changed, err := tree.Changed(c.Root, x.Twins())
	require.NoError(t, err)
	require.Empty(t, changed)
}

func TestWhatAKilledAttemptTookOverIsKnown(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	s, c := older(t, random, 60)
	before, some := look(t, c.Older), writable(t, c)
	first, err := tree.NewExtraction(c)
	require.NoError(t, err)
	taken := take(t, first, c, 100)
	require.Greater(t, len(taken), 2)
	require.NoError(t, first.Close())
	cutJournal(t, c.Journal, 16) // killed between the last link and its record

	last := taken[len(taken)-1]
	second, err := tree.NewExtraction(c)
	require.NoError(t, err)
	require.False(t, second.IsTaken(last))
	require.NoFileExists(t, filepath.Join(c.Root, c.Entries[last].Path))
	require.Equal(t, []int{last}, take(t, second, c, 100))
	off, data := s.chunk(0)
	require.True(t, fault.Has(second.Write(0, off, data), fault.InputInvalid), "first all is taken over")
	require.NoError(t, second.Settle())
	require.NoError(t, second.Write(0, off, data))
	require.NoError(t, second.Close())

	third := start(t, c)
	require.True(t, third.Settled())
	require.True(t, third.Done(0))
	for _, i := range taken {
		require.True(t, third.IsTaken(i))
	}
	_, ok := offer(t, third, c, some)
	require.False(t, ok)
	require.Equal(t, s.chunks()-1, s.writeAll(t, random, third))
	require.NoError(t, third.Finish(t.Context()))
	require.NoError(t, third.Close())
	s.requireOnDisk(t, c.Root)

	fourth := start(t, c)
	require.Len(t, fourth.Twins(), len(taken), "they are told again")
	require.NoError(t, fourth.Close())
	removed, err := tree.Discard(c.Root, c.Journal)
	require.NoError(t, err)
	require.True(t, removed)
	require.Equal(t, before, look(t, c.Older))
}

func TestAnOlderTreeThatChangesBetweenAttemptsIsComparedAnew(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	s, c := older(t, random, 60)
	first, err := tree.NewExtraction(c)
	require.NoError(t, err)
	entry := writable(t, c)
	require.Contains(t, take(t, first, c, 100), entry)
	require.NoError(t, first.Settle())
	s.writeAll(t, random, first)
	name := filepath.Join(c.Older, c.Entries[entry].Path)
	require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte("X"), int(c.Entries[entry].Size)), 0o600))
	require.True(t, fault.Has(first.Finish(t.Context()), fault.PathFailed), "what was compared is no longer there")
	require.NoError(t, first.Close())

	second := start(t, c)
	require.False(t, second.Settled())
	require.Zero(t, second.Resumed())
	require.NoError(t, second.Settle())
	s.writeAll(t, random, second)
	require.NoError(t, second.Finish(t.Context()))
	s.requireOnDisk(t, c.Root)
}

// A server has been started in a finished tree, and an attempt that was given up for lost wakes.
func TestAFinishedTreeIsNotStartedOverWhenItsFilesHaveChanged(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	s, c := older(t, random, 60)
	first, err := tree.NewExtraction(c)
	require.NoError(t, err)
	entry := writable(t, c)
	require.Contains(t, take(t, first, c, 100), entry)
	require.NoError(t, first.Settle())
	s.writeAll(t, random, first)
	require.NoError(t, errors.Join(first.Finish(t.Context()), first.Close()))
	parted, err := tree.Parted(c.Root, c.Older, first.Twins())
	require.NoError(t, err)
	require.Empty(t, parted)

	name := filepath.Join(c.Root, c.Entries[entry].Path)
	written := bytes.Repeat([]byte("X"), int(c.Entries[entry].Size))
	require.NoError(t, os.WriteFile(name, written, 0o600))
	second, err := tree.NewExtraction(c)
	require.NoError(t, err)
	require.NoError(t, errors.Join(second.Finish(t.Context()), second.Close()))
	body, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, written, body)

	shown := filepath.Join(c.Older, c.Entries[entry].Path)
	require.NoError(t, os.Remove(shown))
	require.NoError(t, os.WriteFile(shown, written, 0o600))
	parted, err = tree.Parted(c.Root, c.Older, first.Twins())
	require.NoError(t, err)
	require.Equal(t, c.Entries[entry].Path, parted, "another file has come in its place")
}

func TestAFileWithAnotherNameIsNeverWrittenTo(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	s, c := older(t, random, 40)
	before := look(t, c.Older)
	x := start(t, c)
	require.NoError(t, x.Settle())
	entry := writable(t, c)
	require.NoError(t, os.Link(filepath.Join(c.Older, c.Entries[entry].Path), filepath.Join(c.Root, c.Entries[entry].Path)))
	refused := 0
	for i := range s.chunks() {
		off, data := s.chunk(i)
		if err := x.Write(i, off, data); err != nil {
			require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
			refused++
		}
	}
	require.Positive(t, refused)
	require.Equal(t, before, look(t, c.Older))
}

func TestAFileIsClonedWhereThatCanBe(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	s, c := older(t, random, 40)
	first, err := tree.NewExtraction(c)
	require.NoError(t, err)
	copied := func(to, from *os.File) error {
		_, err := io.Copy(to, io.NewSectionReader(from, 0, 1<<40))
		return err
	}
	first.CloneWith(copied)
	taken := take(t, first, c, 0)
	require.Greater(t, len(taken), 10, "files with other names and modes, too")
	require.NoError(t, first.Close())

	second := start(t, c)
	second.CloneWith(copied)
	require.Empty(t, take(t, second, c, 0))
	require.NoError(t, second.Settle())
	s.writeAll(t, random, second)
	require.NoError(t, second.Finish(t.Context()))
	s.requireOnDisk(t, c.Root)
	require.Empty(t, second.Twins())
	require.Positive(t, second.Taken())
	for _, i := range taken {
		require.False(t, sameFile(t, filepath.Join(c.Root, c.Entries[i].Path), filepath.Join(c.Older, c.Entries[i].Path)))
	}

	// One that changes while it is cloned is none of it.
	c.Root, c.Journal = c.Root+"-2", c.Journal+"-2"
	third := start(t, c)
	third.CloneWith(func(to, from *os.File) error {
		return errors.Join(copied(to, from), os.Chtimes(from.Name(), s.entries[0].ModTime, s.entries[0].ModTime))
	})
	require.Empty(t, take(t, third, c, 0))
}
