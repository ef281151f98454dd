package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

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
	entries []tree.Entry
	image   *postgres.TarImage
}

// openOlder opens the older copy of a stream's files; nil: there is none, or the
// stream is not what one can be held against.
func openOlder(dir string, entries []tree.Entry) (*older, error) {
	if dir == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	image, ok := postgres.NewTarImage(entries)
	if !ok {
		return nil, nil //nolint:nilnil // as above
	}
	root, err := openDirectory(dir)
	if err != nil || root == nil {
		return nil, err
	}
	return &older{root: root, entries: entries, image: image}, nil
}

// openDirectory opens a directory that is no link; nil: there is none.
func openDirectory(dir string) (*os.Root, error) {
	listed, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !listed.IsDir() {
		return nil, nil //nolint:nilnil // none is an answer
	}
	if err != nil {
		return nil, fault.New(fault.PathFailed, "look at", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.PathFailed, "open", dir, err)
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(listed, opened) {
		err = errors.New("it was exchanged meanwhile")
	}
	if err != nil {
		return nil, errors.Join(fault.New(fault.PathFailed, "open", dir, err), root.Close())
	}
	return root, nil
}

func (o *older) close() { _ = o.root.Close() } // nothing was written to it

// open opens a file by its name if it is a plain one itself; nil: it is not.
func (o *older) open(entry tree.Entry) *os.File {
	name := filepath.FromSlash(entry.Path)
	listed, err := o.root.Lstat(name)
	if err != nil || !listed.Mode().IsRegular() {
		return nil
	}
	file, err := o.root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	opened, err := file.Stat()
	if err != nil || !os.SameFile(listed, opened) { // exchanged meanwhile
		_ = file.Close()
		return nil
	}
	return file
}

// nearReader reads the older copy in the order of the stream: one file is open at a time.
type nearReader struct {
	o     *older
	entry int // that is open, or could not be opened; -1: none
	file  *os.File
}

func (o *older) near() vault.NearReader { return &nearReader{o: o, entry: -1} }

// Read is that of vault.NearReader.
func (n *nearReader) Read(offset int64, dst []byte) bool {
	return n.o.image.Read(offset, dst, func(entry int, at int64, dst []byte) bool {
		if entry != n.entry {
			n.Close()
			n.entry, n.file = entry, n.o.open(n.o.entries[entry])
		}
		if n.file == nil {
			return false
		}
		_, err := n.file.ReadAt(dst, at)
		return err == nil
	})
}

// Close is that of vault.NearReader.
func (n *nearReader) Close() {
	if n.file != nil {
		_ = n.file.Close() // it was only read
	}
	n.entry, n.file = -1, nil
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

// write puts a stream's chunks in their places. What an older copy has of them is not
// read from the store, and of what was taken over from it nothing is read at all.
func (r *restoring) write(ctx context.Context, stream *vault.Stream, o *older, x *tree.Extraction) error {
	write := func(_ context.Context, chunk vault.Chunk) error {
		if err := x.Write(chunk.Index, chunk.Offset, chunk.Data); err != nil {
			return err
		}
		_, taken := x.Held(chunk.Offset, int64(len(chunk.Data)))
		r.done.Add(int64(len(chunk.Data)) - taken)
		return nil
	}
	if o == nil {
		return r.backup.ReadChunks(ctx, stream.Name, x.Done, write)
	}
	places := make([]int64, len(stream.Extents))
	var at int64
	for i, extent := range stream.Extents {
		places[i] = at
		at += extent.Bytes
	}
	skip := func(i int) bool {
		stored, taken := x.Held(places[i], stream.Extents[i].Bytes)
		return x.Done(i) || taken == stored
	}
	kept := func(offset, bytes int64) {
		_, taken := x.Held(offset, bytes)
		r.kept.Add(bytes - taken)
	}
	return r.backup.ReadChunksNear(ctx, stream.Name, skip, o.near, kept, write)
}
