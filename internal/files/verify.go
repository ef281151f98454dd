package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/tree"
)

// Verified says what Verify compared.
type Verified struct {
	Entries int64
	Bytes   int64 // whose SHA-256 was compared
}

// Verify walks a directory and compares it with a table: the same names and no
// others, of the same kind, with the same sizes, times, permission bits, link
// targets and contents. progress, when not nil, is called with the bytes
// compared so far, from several goroutines.
//
// The first difference is a VerificationFailed that names it.
func Verify(ctx context.Context, dir string, entries []tree.Entry, progress func(bytes int64)) (Verified, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Verified{}, fault.New(fault.PathFailed, "open", dir, err)
	}
	v := &verification{dir: dir, root: root, progress: progress}
	err = v.run(ctx, entries)
	return Verified{Entries: int64(len(entries)), Bytes: v.bytes.Load()}, errors.Join(err, root.Close())
}

type verification struct {
	dir      string
	root     *os.Root
	progress func(bytes int64)
	bytes    atomic.Int64
}

func (v *verification) run(ctx context.Context, entries []tree.Entry) error {
	if err := v.strangers(ctx, entries); err != nil {
		return err
	}
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	for _, entry := range entries {
		if each.Err() != nil {
			break
		}
		group.Go(func() error { return v.compare(each, entry) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// strangers finds what lies there and in no table.
func (v *verification) strangers(ctx context.Context, entries []tree.Entry) error {
	known := make(map[string]bool, len(entries)+1)
	known["."] = true
	for _, entry := range entries {
		for name := entry.Path; !known[name]; name = path.Dir(name) {
			known[name] = true
		}
	}
	return v.look(ctx, ".", known)
}

func (v *verification) look(ctx context.Context, at string, known map[string]bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	found, err := readDir(v.root, at)
	if err != nil {
		return fault.New(fault.PathFailed, "read directory", filepath.Join(v.dir, at), err)
	}
	for _, entry := range found {
		name := path.Join(at, entry.Name())
		if !known[name] {
			return v.differs(name, "it is not in the backup")
		}
		if !entry.IsDir() {
			continue
		}
		if err := v.look(ctx, name, known); err != nil {
			return err
		}
	}
	return nil
}

// readDir lists a directory. Unlike fs.ReadDir it takes names that are not UTF-8.
func readDir(root *os.Root, at string) ([]fs.DirEntry, error) {
	dir, err := root.Open(at)
	if err != nil {
		return nil, err
	}
	found, err := dir.ReadDir(-1)
	return found, errors.Join(err, dir.Close())
}

func (v *verification) compare(ctx context.Context, entry tree.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := v.root.Lstat(entry.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return v.differs(entry.Path, "it is missing")
	}
	if err != nil {
		return fault.New(fault.PathFailed, "look at", filepath.Join(v.dir, entry.Path), err)
	}
	switch entry.Kind {
	case tree.Dir:
		return v.compareCommon(entry, info, info.IsDir())
	case tree.Symlink:
		return v.compareSymlink(entry, info)
	case tree.Hardlink:
		return v.compareHardlink(entry, info)
	default:
		if err := v.compareCommon(entry, info, info.Mode().IsRegular()); err != nil {
			return err
		}
		return v.compareContent(entry, info)
	}
}

// compareCommon compares kind, permission bits and time. Setuid, setgid and the
// owner may differ: a restore on another host gives only those it can vouch for.
func (v *verification) compareCommon(entry tree.Entry, info fs.FileInfo, kind bool) error {
	if !kind {
		return v.differs(entry.Path, "it is no %s", entry.Kind)
	}
	if want := entry.Mode & 0o777; uint32(info.Mode().Perm()) != want {
		return v.differs(entry.Path, "its mode is %#o instead of %#o", info.Mode().Perm(), want)
	}
	if !info.ModTime().Equal(entry.ModTime) {
		return v.differs(entry.Path, "it was modified %s instead of %s", info.ModTime().UTC(), entry.ModTime.UTC())
	}
	return nil
}

func (v *verification) compareSymlink(entry tree.Entry, info fs.FileInfo) error {
	if info.Mode().Type() != fs.ModeSymlink {
		return v.differs(entry.Path, "it is no symlink")
	}
	target, err := v.root.Readlink(entry.Path)
	if err != nil {
		return fault.New(fault.PathFailed, "read symbolic link", filepath.Join(v.dir, entry.Path), err)
	}
	if target != entry.Link {
		return v.differs(entry.Path, "it leads elsewhere")
	}
	return nil
}

func (v *verification) compareHardlink(entry tree.Entry, info fs.FileInfo) error {
	other, err := v.root.Lstat(entry.Link)
	if err != nil {
		return v.differs(entry.Path, "its other name %s can't be looked at: %w", entry.Link, err)
	}
	if !os.SameFile(info, other) {
		return v.differs(entry.Path, "it is no other name of %s", entry.Link)
	}
	return nil
}

func (v *verification) compareContent(entry tree.Entry, info fs.FileInfo) error {
	if info.Size() != entry.Size {
		return v.differs(entry.Path, "it has %d bytes instead of %d", info.Size(), entry.Size)
	}
	if len(entry.Digest) == 0 {
		return nil
	}
	file, err := v.root.Open(entry.Path)
	if err != nil {
		return fault.New(fault.PathFailed, "open file", filepath.Join(v.dir, entry.Path), err)
	}
	hash := sha256.New()
	whole := entry
	whole.Segments = nil // what was a hole must read as zeros, whatever it is now
	buffer := make([]byte, min(max(entry.Size, 1), 256<<10))
	short, err := eachRun(file, &whole, buffer, hash, func(p []byte) error {
		done := v.bytes.Add(int64(len(p)))
		if v.progress != nil {
			v.progress(done)
		}
		return nil
	})
	if err := errors.Join(err, file.Close()); err != nil {
		return fault.New(fault.PathFailed, "read file", filepath.Join(v.dir, entry.Path), err)
	}
	if short || !bytes.Equal(hash.Sum(nil), entry.Digest) {
		return v.differs(entry.Path, "its content is not the one that was backed up")
	}
	return nil
}

func (v *verification) differs(name, format string, args ...any) error {
	return fault.Newf(fault.VerificationFailed, "compare", filepath.Join(v.dir, name), format, args...)
}
