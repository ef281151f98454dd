package files_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/files"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/tree"
)

// plant makes a random tree on disk with everything a file system has to offer.
func plant(t testing.TB, random *rand.Rand, root string, count int) {
	t.Helper()
	require.NoError(t, os.MkdirAll(root, 0o755))
	dirs := []string{root}
	var modes []func() error // given last: they may take our own access
	for i := range count {
		dir := dirs[random.IntN(len(dirs))]
		name := filepath.Join(dir, fmt.Sprintf("%s%d", []string{"file", "ümläut ", "bad\xff\xfe", "-rf "}[random.IntN(4)], i))
		switch random.IntN(8) {
		case 0:
			require.NoError(t, os.Mkdir(name, 0o700))
			dirs = append(dirs, name)
			mode := []uint32{0o755, 0o700, 0o3775, 0o555}[random.IntN(4)]
			modes = append(modes, func() error { return unix.Chmod(name, mode) })
		case 1:
			require.NoError(t, os.Symlink([]string{"/etc/passwd", "../nowhere", "file0", "bad\xfe"}[random.IntN(4)], name))
		case 2:
			sparse(t, name, random)
		default:
			require.NoError(t, os.WriteFile(name, noise(random, []int{0, 1, 1000, 5 << 18}[random.IntN(4)]), 0o600))
			if random.IntN(4) == 0 {
				require.NoError(t, os.Link(name, name+" too"))
				require.NoError(t, os.Link(name, filepath.Join(dirs[0], fmt.Sprintf("also %d", i))))
			}
			if random.IntN(4) == 0 {
				require.NoError(t, unix.Setxattr(name, "user.origin", noise(random, 20), 0))
			}
			if os.Geteuid() == 0 {
				require.NoError(t, os.Chown(name, random.IntN(3)*1000, random.IntN(3)*1000))
			}
			mode := []uint32{0o644, 0o600, 0o444, 0o4755, 0o2755, 0o400}[random.IntN(6)]
			at := time.Unix(random.Int64N(2e9), random.Int64N(1e9))
			modes = append(modes, func() error { return cmpErr(os.Chtimes(name, at, at), unix.Chmod(name, mode)) })
		}
	}
	for _, change := range modes {
		require.NoError(t, change())
	}
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func noise(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		copy(b[i:], binary.LittleEndian.AppendUint64(nil, random.Uint64()))
	}
	return b
}

func sparse(t testing.TB, name string, random *rand.Rand) {
	t.Helper()
	file, err := os.Create(name)
	require.NoError(t, err)
	require.NoError(t, file.Truncate(2<<20))
	for range random.IntN(3) {
		_, err := file.WriteAt(noise(random, 10_000), random.Int64N(1<<20))
		require.NoError(t, err)
	}
	require.NoError(t, file.Close())
}

// seen is all that two trees are compared by, gathered without the package under test.
type seen struct {
	Mode, UID, GID uint32
	Size           int64
	Mtime          int64
	Link           string
	Inode          string // the first name of the same file
	Xattr          string
	Content        string
	Sparse         bool
}

func look(t testing.TB, root string) map[string]seen {
	t.Helper()
	found := map[string]seen{}
	first := map[uint64]string{}
	require.NoError(t, filepath.Walk(root, func(name string, info fs.FileInfo, err error) error {
		require.NoError(t, err)
		path, err := filepath.Rel(root, name)
		require.NoError(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		s := seen{Mode: stat.Mode, UID: stat.Uid, GID: stat.Gid, Mtime: info.ModTime().UnixNano()}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			s.Link, err = os.Readlink(name)
			require.NoError(t, err)
		case info.Mode().IsRegular():
			s.Size = info.Size()
			s.Sparse = stat.Blocks*512 < info.Size()
			content, err := os.ReadFile(name)
			require.NoError(t, err)
			s.Content = fmt.Sprintf("%x", sha256.Sum256(content))
			if _, met := first[stat.Ino]; !met {
				first[stat.Ino] = path
			}
			s.Inode = first[stat.Ino]
			value := make([]byte, 100)
			if n, err := unix.Getxattr(name, "user.origin", value); err == nil {
				s.Xattr = string(value[:n])
			}
		}
		found[path] = s
		return nil
	}))
	return found
}

// capture gives the table, after a trip through its encoding, and the stream.
func capture(t testing.TB, set system.FileSet) ([]tree.Entry, files.Captured, []byte) {
	t.Helper()
	var stream, table bytes.Buffer
	entries, captured, err := files.Capture(t.Context(), set, &stream, nil)
	require.NoError(t, err)
	require.NoError(t, tree.EncodeTable(&table, entries))
	read, err := tree.DecodeTable(&table)
	require.NoError(t, err)
	if diff := cmp.Diff(entries, read); diff != "" {
		t.Fatalf("the table changes when it is encoded: %s", diff)
	}
	return read, captured, stream.Bytes()
}

// extract puts a capture on disk.
func extract(t testing.TB, entries []tree.Entry, stream []byte) string {
	t.Helper()
	base := t.TempDir()
	t.Cleanup(func() { require.NoError(t, tree.Loosen(base)) })
	root := filepath.Join(base, "staging")
	x, err := tree.NewExtraction(tree.Config{Root: root, Journal: filepath.Join(base, "journal"), Entries: entries, Stream: int64(len(stream))})
	require.NoError(t, err)
	const piece = 1 << 20
	for i := 0; i*piece < len(stream); i++ {
		require.NoError(t, x.Write(i, int64(i*piece), stream[i*piece:min((i+1)*piece, len(stream))]))
	}
	require.NoError(t, x.Finish(t.Context()))
	require.NoError(t, x.Close())
	return root
}

func TestEveryTreeComesBackAsItWas(t *testing.T) {
	for seed := range uint64(5) {
		root := filepath.Join(t.TempDir(), "root")
		t.Cleanup(func() { require.NoError(t, tree.Loosen(root)) })
		plant(t, rand.New(rand.NewPCG(seed, 0)), root, 60)
		want := look(t, root)
		entries, captured, stream := capture(t, system.FileSet{Name: "uploads", Root: root})
		require.Zero(t, captured.Skipped+captured.Vanished+captured.Changed)
		require.EqualValues(t, len(want), captured.Entries)
		restored := extract(t, entries, stream)
		if diff := cmp.Diff(want, look(t, restored)); diff != "" {
			t.Fatalf("seed %d: the restored tree differs: %.2000s", seed, diff)
		}
		verified, err := files.Verify(t.Context(), restored, entries, nil)
		require.NoError(t, err)
		require.EqualValues(t, len(want), verified.Entries)
		require.Equal(t, captured.Bytes, verified.Bytes)
	}
}

func TestAnEmptyDirectoryIsABackupToo(t *testing.T) {
	root := t.TempDir()
	entries, captured, stream := capture(t, system.FileSet{Name: "uploads", Root: root})
	require.EqualValues(t, 1, captured.Entries)
	require.Empty(t, stream)
	require.DirExists(t, extract(t, entries, stream))
}

func TestHolesTakeNoRoomInTheStream(t *testing.T) {
	root := t.TempDir()
	file, err := os.Create(filepath.Join(root, "image"))
	require.NoError(t, err)
	require.NoError(t, file.Truncate(1<<27))
	_, err = file.WriteAt([]byte("data"), 1<<26)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	entries, captured, stream := capture(t, system.FileSet{Name: "uploads", Root: root})
	require.EqualValues(t, 1<<27, captured.Bytes)
	require.Less(t, len(stream), 1<<20)
	_, err = files.Verify(t.Context(), extract(t, entries, stream), entries, nil)
	require.NoError(t, err)
}
