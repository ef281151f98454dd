package postgres

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// keptPrefix begins the names of what pg_restore reads; its database's OID follows.
const keptPrefix = "dump."

// customRestore restores one dump in custom format.
type customRestore struct {
	o      RestoreOptions
	into   incarnation
	reader *customReader
	path   string        // of what pg_restore reads
	file   *os.File      // the same
	kept   *bufio.Writer // into it
}

// RestoreCustom restores a dump in pg_dump's custom format while it is read. Rows go
// into their tables with several sessions, and as many of one table as are free. All
// else is pg_restore's, in parallel too: it is given the dump without its rows, in a file
// that is removed afterwards. A dump of a version that is not known here is kept whole and
// left to pg_restore. A source that ends early is told as its own error; what is
// in the database then is not to be used. DumpFailed names what the server did not take.
func RestoreCustom(ctx context.Context, o RestoreOptions, from io.Reader) (err error) {
	o.Jobs = max(1, o.Jobs)
	source := &kept{reader: from}
	c := &customRestore{o: o, reader: newCustomReader(source)}
	if c.into, err = o.incarnation(ctx); err != nil {
		return err
	}
	if err := c.create(); err != nil {
		return err
	}
	defer pace(ctx, c.into)()
	err = c.restore(ctx)
	if source.err != nil {
		err = source.err
	}
	for _, failed := range []error{c.file.Close(), os.Remove(c.path)} {
		if err == nil && failed != nil {
			err = fault.New(fault.PathFailed, "remove", c.path, failed)
		}
	}
	return err
}

// create makes the file for pg_restore, under a name that no other attempt has, and
// removes what a killed one has left.
func (c *customRestore) create() error {
	left, err := filepath.Glob(filepath.Join(c.o.Dir, keptPrefix+"*"))
	if err != nil {
		return fault.New(fault.PathFailed, "list", c.o.Dir, err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.PathFailed, "remove", path, err)
		}
	}
	c.path = filepath.Join(c.o.Dir, keptPrefix+strconv.FormatUint(uint64(c.into.oid), 10))
	if c.file, err = os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return fault.New(fault.PathFailed, "write", c.path, err)
	}
	c.kept = bufio.NewWriterSize(c.file, customBuffer)
	return nil
}

func (c *customRestore) restore(ctx context.Context) error {
	c.reader.kept = c.kept
	err := c.reader.head()
	if errors.Is(err, errCustom) {
		return c.readFault(ctx, c.whole(ctx))
	}
	c.reader.kept = nil
	list := c.others()
	if err == nil {
		err = c.pgRestore(ctx, list, "--section=pre-data")
	}
	if err == nil {
		err = c.data(ctx)
	}
	if err == nil {
		err = c.pgRestore(ctx, list, "--section=data", "--section=post-data")
	}
	return c.readFault(ctx, err)
}

// whole leaves all of a dump that is not known here to pg_restore.
func (c *customRestore) whole(ctx context.Context) error {
	if _, err := io.Copy(c.kept, c.reader.from); err != nil {
		return err
	}
	if err := c.kept.Flush(); err != nil {
		return err
	}
	var list bytes.Buffer
	listed, err := command.Run(ctx, command.Config{Argv: []string{c.program(), "--list", c.path}, Env: c.o.Login.client(), PIDFile: c.o.PIDFile, Stdout: &list, Secrets: c.o.Login.secrets()})
	if err != nil {
		return restoreFault(c.o.Database, listed, err)
	}
	return c.pgRestore(ctx, list.String())
}

// others lists for pg_restore all that is no rows.
func (c *customRestore) others() string {
	var list strings.Builder
	for _, id := range c.reader.others {
		fmt.Fprintf(&list, "%d;\n", id)
	}
	return list.String()
}

// data reads what follows the table of contents: rows into tables, and large objects into the file.
func (c *customRestore) data(ctx context.Context) error {
	var settings strings.Builder
	for _, item := range c.reader.items {
		settings.WriteString(item.sql)
	}
	l := newLoader(ctx, c.into, c.o.Jobs, settings.String())
	for l.ctx.Err() == nil {
		item, err := c.reader.next()
		if errors.Is(err, io.EOF) {
			if lost := c.reader.missing(); lost != nil {
				l.cancel(fmt.Errorf("there is nothing of %s %s: %w", lost.what, lost.name, errCustom))
			}
			break
		}
		switch {
		case err != nil:
		case item.rows():
			err = l.table(c.reader, item)
		default:
			err = c.largeObjects(item)
		}
		if err != nil {
			l.cancel(err)
		}
	}
	return l.wait()
}

// largeObjects keeps an item as it is for pg_restore: each object's OID and blocks,
// and 0 after the last.
func (c *customRestore) largeObjects(item *customItem) error {
	c.reader.kept = c.kept
	defer func() { c.reader.kept = nil }()
	if err := c.reader.begin(item); err != nil {
		return err
	}
	for {
		oid, err := c.reader.integer()
		if err != nil || oid == 0 {
			return err
		}
		for {
			n, err := c.reader.block()
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			if err := c.reader.skip(n); err != nil {
				return err
			}
		}
	}
}

func (c *customRestore) program() string { return filepath.Join(c.o.BinDir, "pg_restore") }

// pgRestore restores what is listed of the file as it is now. It connects when it has the list.
func (c *customRestore) pgRestore(ctx context.Context, list string, only ...string) error {
	if err := c.kept.Flush(); err != nil {
		return err
	}
	argv := []string{
		c.program(), "--exit-on-error", "--no-password", "--jobs=" + strconv.Itoa(c.o.Jobs),
		"--dbname=" + conninfo(c.o.Database), "--use-list=/dev/stdin",
	}
	result, err := c.into.run(ctx, command.Config{
		Argv: append(append(argv, only...), c.path), Env: c.o.Login.client(), PIDFile: c.o.PIDFile, Stdin: strings.NewReader(list), Secrets: c.o.Login.secrets(),
	})
	return restoreFault(c.o.Database, result, err)
}

// readFault names what is neither the server's nor a program's own word: the file, or the dump.
func (c *customRestore) readFault(ctx context.Context, err error) error {
	switch {
	case err == nil || fault.KindOf(err) != "":
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errNoSpace):
		return fault.New(fault.NoSpace, "write", c.path, err)
	case errors.Is(err, errCustom) || errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.FormatUnsupported, "restore dump into", "database "+c.o.Database, err)
	}
	return fault.New(fault.PathFailed, "write", c.path, err)
}
