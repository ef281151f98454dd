package files_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/files"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/internal/tree"
)

func write(t testing.TB, root string, names ...string) {
	t.Helper()
	for _, name := range names {
		full := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
		require.NoError(t, os.WriteFile(full, []byte(name), 0o600))
	}
}

func paths(entries []tree.Entry) []string {
	var found []string
	for _, entry := range entries {
		found = append(found, entry.Path)
	}
	return found
}

func TestPatternsChooseWhatIsCaptured(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.jpg", "a.tmp", "deep/b.jpg", "deep/b.log", "deep/er/c.png", "cache/d.jpg", "other/e.txt", "conf.d/f")
	for name, c := range map[string]struct {
		include, exclude []string
		want             []string
	}{
		"everything": {nil, nil, []string{
			".", "a.jpg", "a.tmp", "cache", "cache/d.jpg", "conf.d", "conf.d/f", "deep", "deep/b.jpg", "deep/b.log",
			"deep/er", "deep/er/c.png", "other", "other/e.txt",
		}},
		"names at any depth, and only directories on the way": {
			[]string{"*.jpg", "*.png"},
			nil,
			[]string{".", "a.jpg", "cache", "cache/d.jpg", "deep", "deep/b.jpg", "deep/er", "deep/er/c.png"},
		},
		"exclusion goes first": {[]string{"*.jpg"}, []string{"cache"}, []string{".", "a.jpg", "deep", "deep/b.jpg"}},
		"paths from the root":  {[]string{"deep/**"}, []string{"deep/er/*"}, []string{".", "deep", "deep/b.jpg", "deep/b.log", "deep/er"}},
		"a directory stands for all in it": {
			[]string{"conf.d", "/other"},
			nil,
			[]string{".", "conf.d", "conf.d/f", "other", "other/e.txt"},
		},
		"nothing": {[]string{"*.doc"}, nil, []string{"."}},
	} {
		t.Run(name, func(t *testing.T) {
			entries, _, _ := capture(t, system.FileSet{Name: "uploads", Root: root, Include: c.include, Exclude: c.exclude})
			got := paths(entries)
			require.ElementsMatch(t, c.want, got)
			require.True(t, slices.IndexFunc(got, func(p string) bool { return p == "." }) == 0)
		})
	}
}

func TestAPatternThatIsNoneIsRefused(t *testing.T) {
	_, _, err := files.Capture(t.Context(), system.FileSet{Name: "uploads", Root: t.TempDir(), Include: []string{"[a"}}, io.Discard, nil)
	require.ErrorIs(t, err, fault.ConfigInvalid.Err())
}

func TestARootThatIsMissingIsNamed(t *testing.T) {
	root := filepath.Join(t.TempDir(), "gone")
	_, _, err := files.Capture(t.Context(), system.FileSet{Name: "uploads", Root: root}, io.Discard, nil)
	require.ErrorIs(t, err, fault.PathFailed.Err())
	require.ErrorContains(t, err, root)
}

func TestWhatIsNoFileIsLeftOutAndCounted(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a")
	listener, err := net.Listen("unix", filepath.Join(root, "socket"))
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Close()) }()
	require.NoError(t, unix.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	entries, captured, _ := capture(t, system.FileSet{Name: "uploads", Root: root})
	require.Equal(t, []string{".", "a"}, paths(entries))
	require.EqualValues(t, 2, captured.Skipped)
}

func TestAFileThatCanNotBeReadIsNamed(t *testing.T) {
	root := t.TempDir()
	write(t, root, "open", "secret")
	require.NoError(t, os.Chmod(filepath.Join(root, "open"), 0o644))
	require.NoError(t, os.Chmod(filepath.Join(root, "secret"), 0))
	require.NoError(t, os.Chmod(root, 0o755))
	for dir := filepath.Dir(root); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	if os.Geteuid() == 0 { // root reads everything; this thread becomes nobody
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		require.NoError(t, unix.Setfsuid(65534))
		defer func() { require.NoError(t, unix.Setfsuid(0)) }()
	}
	_, _, err := files.Capture(t.Context(), system.FileSet{Name: "uploads", Root: root}, io.Discard, nil)
	require.Error(t, err)
	require.ErrorContains(t, err, "secret")
	require.Equal(t, fault.PathFailed, fault.KindOf(err))
}

// hooked calls hook with each piece, so that a test can act in the middle of a capture.
type hooked struct {
	into io.Writer
	hook func()
}

func (h hooked) Write(p []byte) (int, error) {
	h.hook()
	return h.into.Write(p)
}

func TestAFileThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	root := t.TempDir()
	large := filepath.Join(root, "large")
	require.NoError(t, os.WriteFile(large, bytes.Repeat([]byte("a"), 4<<20), 0o600))
	settle(t, large)
	var once sync.Once
	var stream bytes.Buffer
	entries, captured, err := files.Capture(t.Context(), system.FileSet{Name: "uploads", Root: root}, hooked{&stream, func() {
		once.Do(func() { require.NoError(t, os.WriteFile(large, bytes.Repeat([]byte("b"), 5<<20), 0o600)) })
	}}, nil)
	require.NoError(t, err)
	require.Zero(t, captured.Changed)
	restored := extract(t, entries, stream.Bytes())
	got, err := os.ReadFile(filepath.Join(restored, "large"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(bytes.Repeat([]byte("b"), 5<<20), got))
}

// settle waits until the file's last change is old enough to be trusted.
func settle(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return time.Since(info.ModTime()) > 30*time.Millisecond }, time.Minute, time.Millisecond)
}

func TestAFileThatNeverHoldsStillIsKeptAndFlagged(t *testing.T) {
	root := t.TempDir()
	large := filepath.Join(root, "large")
	require.NoError(t, os.WriteFile(large, bytes.Repeat([]byte("a"), 4<<20), 0o600))
	var stream bytes.Buffer
	sizes := 4 << 20
	entries, captured, err := files.Capture(t.Context(), system.FileSet{Name: "uploads", Root: root}, hooked{&stream, func() {
		sizes++
		require.NoError(t, os.Truncate(large, int64(sizes)))
	}}, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, captured.Changed)
	require.Equal(t, []string{"large"}, captured.Flagged)
	require.Equal(t, tree.FlagChanged, entries[1].Flag)
	restored := extract(t, entries, stream.Bytes())
	_, err = files.Verify(t.Context(), restored, entries, nil)
	require.NoError(t, err)
}

func TestAFileThatShrinksWhileItIsReadIsNotLost(t *testing.T) {
	root := t.TempDir()
	large := filepath.Join(root, "large")
	require.NoError(t, os.WriteFile(large, bytes.Repeat([]byte("a"), 4<<20), 0o600))
	settle(t, large)
	var once sync.Once
	var stream bytes.Buffer
	entries, captured, err := files.Capture(t.Context(), system.FileSet{Name: "uploads", Root: root}, hooked{&stream, func() {
		once.Do(func() { require.NoError(t, os.Truncate(large, 10)) })
	}}, nil)
	require.NoError(t, err)
	require.Zero(t, captured.Changed)
	got, err := os.ReadFile(filepath.Join(extract(t, entries, stream.Bytes()), "large"))
	require.NoError(t, err)
	require.Equal(t, "aaaaaaaaaa", string(got))
}

func TestAHardLinkWhoseFirstNameIsDeletedKeepsItsContent(t *testing.T) {
	root := t.TempDir()
	write(t, root, "1 content", "2 first")
	require.NoError(t, os.Truncate(filepath.Join(root, "1 content"), 4<<20)) // read, and written, before the others
	_, err := os.Create(filepath.Join(root, "0 large"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(root, "0 large"), bytes.Repeat([]byte("x"), 2<<20), 0o600))
	settle(t, filepath.Join(root, "0 large"))
	require.NoError(t, os.WriteFile(filepath.Join(root, "2 first"), []byte("kept"), 0o600)) // too fresh: it is read after the others
	require.NoError(t, os.Link(filepath.Join(root, "2 first"), filepath.Join(root, "3 second")))
	require.NoError(t, os.Link(filepath.Join(root, "2 first"), filepath.Join(root, "4 third")))
	var stream bytes.Buffer
	files0 := 0
	entries, captured, err := files.Capture(t.Context(), system.FileSet{Name: "uploads", Root: root}, &stream, func(int64, int64) {
		files0++
		if files0 == 2 { // the walk is through; the fresh file is still to be read
			require.NoError(t, os.Remove(filepath.Join(root, "2 first")))
		}
	})
	require.NoError(t, err)
	require.EqualValues(t, 1, captured.Vanished)
	restored := extract(t, entries, stream.Bytes())
	require.NoFileExists(t, filepath.Join(restored, "2 first"))
	got, err := os.ReadFile(filepath.Join(restored, "4 third"))
	require.NoError(t, err)
	require.Equal(t, "kept", string(got))
}

// TestATreeThatChangesDuringTheBackupIsConsistentOrFlagged is row 19 of the
// reliability table: every captured file is one that existed, whole, or flagged.
func TestATreeThatChangesDuringTheBackupIsConsistentOrFlagged(t *testing.T) {
	torture.Row(t, 19, 6, 100, func(t *testing.T, _ int, _ *rand.Rand) {
		root := t.TempDir()
		const count, size = 45, 120_000
		version := func(file, generation int) []byte {
			return bytes.Repeat([]byte(fmt.Sprintf("%04d:%06d ", file, generation)), size/12)
		}
		for i := range count {
			require.NoError(t, os.WriteFile(filepath.Join(root, fmt.Sprint(i)), version(i, 0), 0o600))
		}
		ctx, cancel := context.WithCancel(t.Context())
		var mutators sync.WaitGroup
		for worker := range 3 {
			mutators.Go(func() { mutate(ctx, root, worker, count, version) })
		}
		var stream bytes.Buffer
		entries, captured, err := files.Capture(t.Context(), system.FileSet{Name: "uploads", Root: root}, &stream, nil)
		cancel()
		mutators.Wait()
		require.NoError(t, err)
		flagged := int64(0)
		for _, entry := range entries {
			if entry.Kind != tree.File {
				continue
			}
			if entry.Flag == tree.FlagChanged {
				flagged++
				continue
			}
			requireOneMoment(t, entry.Path, stream.Bytes()[entry.Offset:entry.Offset+entry.Size])
		}
		require.Equal(t, flagged, captured.Changed)
	})
}

// requireOneMoment says whether a file can have looked like this at any one
// moment. It is rewritten from its front to its back, so at most two versions
// meet in it, the newer one in front; a torn read has the older one in front.
func requireOneMoment(t *testing.T, name string, content []byte) {
	t.Helper()
	generations := []int{}
	var last []byte
	for ; len(content) >= 12; content = content[12:] {
		if bytes.Equal(last, content[:12]) {
			continue
		}
		last = content[:12]
		generation, err := strconv.Atoi(string(last[5:11]))
		require.NoError(t, err)
		generations = append(generations, generation)
	}
	require.LessOrEqual(t, len(generations), 2, "%s mixes several moments: %v", name, generations)
	require.True(t, slices.IsSortedFunc(generations, func(a, b int) int { return b - a }), "%s mixes two moments: %v", name, generations)
}

// mutate rewrites its own files in place and by rename, deletes and makes them
// again, until ctx ends.
func mutate(ctx context.Context, root string, worker, count int, version func(file, generation int) []byte) {
	for generation := 1; ctx.Err() == nil; generation++ {
		file := (generation*7%(count/3))*3 + worker // no other mutator has it
		name := filepath.Join(root, fmt.Sprint(file))
		switch generation % 4 {
		case 0:
			if os.WriteFile(name+".new", version(file, generation), 0o600) == nil {
				_ = os.Rename(name+".new", name)
			}
		case 1:
			_ = os.Remove(name) // it may be gone already
			_ = os.WriteFile(name, version(file, generation), 0o600)
		default:
			if out, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
				content := version(file, generation)
				for at := 0; at < len(content); at += 12_000 {
					_, _ = out.WriteAt(content[at:min(at+12_000, len(content))], int64(at))
				}
				_ = out.Close()
			}
		}
	}
}

func TestAFaultOfTheStreamIsGivenBackAsItIs(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a")
	settle(t, filepath.Join(root, "a"))
	full := fault.New(fault.StorageUnavailable, "put", "chunk", errors.New("reset"))
	_, _, err := files.Capture(t.Context(), system.FileSet{Name: "uploads", Root: root}, failing{full}, nil)
	require.ErrorIs(t, err, fault.StorageUnavailable.Err())
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestACancelledCaptureEnds(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := files.Capture(ctx, system.FileSet{Name: "uploads", Root: root}, io.Discard, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func BenchmarkCapture(b *testing.B) {
	root := b.TempDir()
	data := bytes.Repeat([]byte("0123456789abcdef"), 40<<10/16)
	const count = 5000
	for i := range count {
		dir := filepath.Join(root, fmt.Sprint(i%50))
		require.NoError(b, os.MkdirAll(dir, 0o755))
		require.NoError(b, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), data, 0o600))
	}
	b.SetBytes(int64(count * len(data)))
	for b.Loop() {
		_, _, err := files.Capture(b.Context(), system.FileSet{Name: "uploads", Root: root}, io.Discard, nil)
		require.NoError(b, err)
	}
}
