package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/tree"
	"github.com/frende/lifeboat/internal/vault"
)

// checkOlder refuses a directory that is no older copy to restore over: one that
// holds something else than a cluster, and one that a server works in.
func checkOlder(dir string) error {
	refused := func(why string) error {
		return fault.Newf(fault.TargetRefused, "restore over", dir, "%s", why).WithHint("name the data directory of an older copy, shut down; or leave --delta out")
	}
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); errors.Is(err, fs.ErrNotExist) {
		return refused("it is no data directory of PostgreSQL")
	} else if err != nil {
		return fault.New(fault.PathFailed, "look at", dir, err)
	}
	if postgres.Running(dir) {
		return refused("a server runs in it")
	}
	return nil
}

// older is an older copy of what a stream holds. Its files are read through the
// directory that was opened, by which no link leads out, and only plain ones are.
type older struct {
	root    *os.Root
	entries []tree.Entry // files that have content, by their place in the stream
}

// openOlder opens the older copy of a stream's files; nil: there is none.
func openOlder(dir string, entries []tree.Entry) (*older, error) {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, nil //nolint:nilnil // none is an answer
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.PathFailed, "open", dir, err)
	}
	o := &older{root: root}
	for _, entry := range entries {
		if entry.Kind == tree.File && entry.Size > 0 && !entry.Sparse() {
			o.entries = append(o.entries, entry)
		}
	}
	slices.SortFunc(o.entries, func(a, b tree.Entry) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	return o, nil
}

func (o *older) close() { _ = o.root.Close() } // nothing was written to it

// near is vault.Near: what lies in the place of a part of one file's content.
func (o *older) near(offset int64, dst []byte) bool {
	i := sort.Search(len(o.entries), func(i int) bool { return o.entries[i].Offset > offset }) - 1
	if i < 0 || offset+int64(len(dst)) > postgres.ContentEnd(o.entries[i]) {
		return false
	}
	entry := o.entries[i]
	listed, err := o.root.Lstat(filepath.FromSlash(entry.Path))
	if err != nil || !listed.Mode().IsRegular() {
		return false
	}
	file, err := o.root.Open(filepath.FromSlash(entry.Path))
	if err != nil {
		return false
	}
	defer file.Close()
	opened, err := file.Stat()
	if err != nil || !os.SameFile(listed, opened) { // exchanged meanwhile
		return false
	}
	from := offset - entry.Offset
	content := dst[:max(0, min(int64(len(dst)), entry.Size-from))]
	clear(dst[len(content):]) // up to the next header the stream has zeros
	_, err = file.ReadAt(content, from)
	return err == nil
}

// olderDir is where the older copy of a stream's files lies; "": there is none.
func (r *restoring) olderDir(stream string) string {
	switch {
	case r.older == "":
		return ""
	case stream == postgres.StreamBase:
		return r.older
	}
	for _, space := range r.place.Tablespaces {
		if streamOf(space) == stream {
			return copiedTablespace(r.older, space.OID)
		}
	}
	return ""
}

// read reads a stream's chunks, from the older copy where it has them.
func (r *restoring) read(ctx context.Context, stream string, entries []tree.Entry, skip func(int) bool, write func(context.Context, vault.Chunk) error) error {
	dir := r.olderDir(stream)
	if dir == "" {
		return r.backup.ReadChunks(ctx, stream, skip, write)
	}
	o, err := openOlder(dir, entries)
	if err != nil {
		return err
	}
	if o == nil {
		return r.backup.ReadChunks(ctx, stream, skip, write)
	}
	defer o.close()
	return r.backup.ReadChunksNear(ctx, stream, skip, o.near, func(bytes int64) { r.kept.Add(bytes) }, write)
}
