package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/tree"
)

const (
	// smallFile is the size up to which a file is held back until it is known to
	// have held still. A larger one is written as it is read; when it changed, the
	// bytes stay in the stream and nothing names them.
	smallFile = 1 << 20

	// retries is how often a changed file is read again, after all others.
	retries = 3

	// tick is longer than the kernel's clock for file times (at most 10 ms): a
	// file changed less than this ago may change again without a new time.
	tick = 20 * time.Millisecond
)

// What can happen to a file while it is read.
var (
	errMoving = errors.New("the file changed while it was read")
	errGone   = errors.New("the file was deleted or replaced")
)

// read captures the content of one entry. When the file changes meanwhile it is
// queued, or, at the last attempt, kept and flagged.
func (c *capture) read(dir *os.Root, index int, last bool) error {
	entry := c.entries[index]
	file, err := dir.OpenFile(path.Base(entry.Path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) {
		c.gone = append(c.gone, index)
		return nil
	}
	if err != nil {
		return c.failed("open file", entry.Path, err)
	}
	err = c.readOpen(file, &entry, last)
	err = errors.Join(err, file.Close())
	switch {
	case errors.Is(err, errMoving):
		c.again = append(c.again, index)
		return nil
	case errors.Is(err, errGone):
		c.gone = append(c.gone, index)
		return nil
	case err != nil && fault.KindOf(err) != "":
		return err
	case err != nil:
		return c.failed("read file", entry.Path, err)
	}
	c.entries[index] = entry
	c.captured.Files++
	c.captured.Bytes += entry.Size
	if c.progress != nil {
		c.progress(c.captured.Files, c.captured.Bytes)
	}
	return nil
}

func (c *capture) readOpen(file *os.File, entry *tree.Entry, last bool) error {
	before, err := file.Stat()
	if err != nil {
		return err
	}
	if !before.Mode().IsRegular() {
		return errGone
	}
	*entry = c.describe(entry.Path, before)
	entry.Size = before.Size()
	if err := xattrs(file, entry); err != nil {
		return err
	}
	if entry.Segments, err = segments(file, before); err != nil {
		return err
	}
	if !last && !settled(before) {
		return errMoving
	}
	return c.copy(file, entry, before, last)
}

// copy writes the content to the stream. An error of the stream is a fault of
// whoever keeps it, and is told apart from one of the file.
func (c *capture) copy(file *os.File, entry *tree.Entry, before fs.FileInfo, last bool) error {
	entry.Offset = c.stream.written
	hold := entry.Stored() <= smallFile
	hash := sha256.New()
	held := c.held[:0]
	take := func(p []byte) error {
		if hold {
			held = append(held, p...)
			return nil
		}
		if _, err := c.stream.Write(p); err != nil {
			return streamFault(err)
		}
		return nil
	}
	short, err := eachRun(file, entry, c.scratch, hash, take)
	if err != nil {
		return err
	}
	after, err := file.Stat()
	if err != nil {
		return err
	}
	if short || moved(before, after) {
		if !last {
			return errMoving
		}
		entry.Flag = tree.FlagChanged
	}
	entry.Digest = hash.Sum(nil)
	if hold && len(held) > 0 {
		if _, err := c.stream.Write(held); err != nil {
			return streamFault(err)
		}
	}
	return nil
}

// eachRun reads a file's data from its beginning to the size it had: data runs
// go to take and the hash, holes to the hash as zeros. A file that has become
// shorter gives zeros for what it lacks.
func eachRun(file *os.File, entry *tree.Entry, buffer []byte, hash io.Writer, take func([]byte) error) (short bool, err error) {
	runs := entry.Segments
	if !entry.Sparse() {
		runs = []tree.Segment{{Length: entry.Size}}
	}
	at := int64(0)
	for _, run := range runs {
		if err := zeros(hash, run.Offset-at); err != nil {
			return short, err
		}
		for at = run.Offset; at < run.Offset+run.Length; {
			piece := buffer[:min(int64(len(buffer)), run.Offset+run.Length-at)]
			n, err := file.ReadAt(piece, at)
			if errors.Is(err, io.EOF) && n < len(piece) {
				short = true
				clear(piece[n:])
			} else if err != nil && !errors.Is(err, io.EOF) {
				return short, err
			}
			if _, err := hash.Write(piece); err != nil {
				return short, err
			}
			if err := take(piece); err != nil {
				return short, err
			}
			at += int64(len(piece))
		}
	}
	return short, zeros(hash, entry.Size-at)
}

// zeros hashes a hole.
func zeros(hash io.Writer, length int64) error {
	if length <= 0 {
		return nil
	}
	_, err := io.CopyN(hash, nothing{}, length)
	return err
}

// nothing reads as zeros without end.
type nothing struct{}

func (nothing) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// moved says whether a file changed between two looks.
func moved(before, after fs.FileInfo) bool {
	return before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) || statOf(before).Ctim != statOf(after).Ctim
}

// settled says whether the next change of the file will show in its times.
func settled(info fs.FileInfo) bool {
	changed := statOf(info).Ctim
	age := time.Since(time.Unix(changed.Sec, changed.Nsec))
	return age > tick || age < -tick // far in the future: another machine's clock
}

// readAgain goes through the files that changed, after all others were read.
func (c *capture) readAgain(ctx context.Context) error {
	for attempt := 1; attempt <= retries && len(c.again) > 0; attempt++ {
		select { // until the kernel's clock has moved on
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(tick):
		}
		queue := c.again
		c.again = nil
		for _, index := range queue {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := c.readByPath(index, attempt == retries); err != nil {
				return err
			}
		}
	}
	return nil
}

// readByPath reads an entry whose directory is not open any more.
func (c *capture) readByPath(index int, last bool) error {
	name := c.entries[index].Path
	dir, err := c.root.OpenRoot(path.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		c.gone = append(c.gone, index)
		return nil
	}
	if err != nil {
		return c.failed("open directory", path.Dir(name), err)
	}
	return errors.Join(c.read(dir, index, last), dir.Close())
}

// dropGone takes deleted files out of the table. When such a file has another
// name in the tree, that name gets the content.
func (c *capture) dropGone(ctx context.Context) error {
	for len(c.gone) > 0 {
		index := c.gone[0]
		c.gone = c.gone[1:]
		c.captured.Vanished++
		lost := c.entries[index].Path
		c.entries[index].Kind = "" // taken out below
		heir := -1
		for i := range c.entries {
			if c.entries[i].Kind != tree.Hardlink || c.entries[i].Link != lost {
				continue
			}
			if heir < 0 {
				heir = i
				c.entries[i].Kind, c.entries[i].Link = tree.File, ""
				continue
			}
			c.entries[i].Link = c.entries[heir].Path
		}
		if heir < 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.readByPath(heir, true); err != nil {
			return err
		}
	}
	kept := c.entries[:0]
	for _, entry := range c.entries {
		if entry.Kind != "" {
			kept = append(kept, entry)
		}
	}
	c.entries = kept
	return nil
}

// streamFault keeps an error of the stream from being taken for the file's.
func streamFault(err error) error {
	if fault.KindOf(err) != "" {
		return err
	}
	return fault.New(fault.PathFailed, "write", "content stream", err)
}
