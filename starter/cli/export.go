package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// exported is what "backups export" wrote.
type exported struct {
	Key     string `json:"key"`
	File    string `json:"file"`
	Bytes   int64  `json:"bytes"` // of the file
	Globals string `json:"globals,omitempty"`
	Restore string `json:"restore"` // the command that restores it by hand
}

func (a *app) backupsExport() *cobra.Command {
	var globals string
	c := &cobra.Command{
		Use:   "export KEY FILE",
		Short: "Write a dump as a plain file that psql or pg_restore takes",
		Long: "Write a dump as a plain file, for those who restore by hand: a .sql.gz for gunzip and psql, or\n" +
			"pg_dump's custom format for pg_restore. Every byte is authenticated. FILE is not encrypted; \"-\" is\n" +
			"stdout. --globals writes the roles, with what their passwords are checked against, and tablespaces.",
		Example: "  lifeboat backups export database-backups/2024/01/15/frende_db_backup_20240115_020000.sql.gz frende.sql.gz",
		Args:    exactly("KEY", "FILE"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.exportBackup(ctx, strings.TrimSuffix(args[0], "/"), args[1], globals)
		}),
	}
	c.Flags().StringVar(&globals, "globals", "", "write roles and tablespaces to `FILE`, too")
	return a.withJSON(c)
}

func (a *app) exportBackup(ctx context.Context, key, file, globals string) error {
	const toStdout = "-"
	if file == toStdout && a.json {
		return fault.Newf(fault.InputInvalid, "export", key, "stdout takes either the file or JSON").WithHint("name a file")
	}
	configured, opened, err := a.vault(ctx)
	if err != nil {
		return err
	}
	backup, err := opened.Open(ctx, key)
	if err != nil {
		return err
	}
	manifest := backup.Manifest()
	if manifest.System != configured.Name {
		return fault.Newf(fault.BackupUnknown, "export", key, "it belongs to the system %q", manifest.System)
	}
	told := exported{Key: manifest.Key, File: file, Globals: globals}
	stream, pack := postgres.StreamCustom, asIs
	switch manifest.Kind {
	case vault.KindSQL:
		stream, pack = postgres.StreamSQL, zipped
		told.Restore = "gunzip --stdout " + file + " | psql -v ON_ERROR_STOP=1 --single-transaction --dbname=DATABASE"
	case vault.KindCustom:
		told.Restore = "pg_restore --exit-on-error --jobs=4 --dbname=DATABASE " + file
	default:
		return fault.Newf(fault.Unsupported, "export", key, "it is no dump").
			WithHint("recover it with: lifeboat recover %s --to backup:%s", system.KindOfFolder(manifest.Folder), manifest.Key)
	}
	if file == toStdout {
		_, err = pour(ctx, backup, stream, pack, a.Stdout)
	} else {
		told.Bytes, err = pourInto(ctx, backup, stream, pack, file)
	}
	if err == nil && globals != "" {
		_, err = pourInto(ctx, backup, postgres.StreamGlobals, asIs, globals)
	}
	switch {
	case err != nil || file == toStdout:
		return err
	case a.json:
		return a.printJSON(told)
	}
	fmt.Fprintf(a.Stdout, "%s of %s\nrestore it into an empty database with: %s\n", system.Bytes(told.Bytes).Human(), told.Key, told.Restore)
	return nil
}

// pourInto writes a stream of a backup to a file that only this user can read, and
// that has its name only when it is whole. A file that is there is not replaced.
func pourInto(ctx context.Context, backup *vault.Backup, stream string, pack func(io.Writer) io.WriteCloser, path string) (bytes int64, err error) {
	const op = "export to"
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return 0, fault.New(fault.PathFailed, op, path, errors.Join(err, os.ErrExist)).WithHint("name a file that does not exist")
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".lifeboat-export-")
	if err != nil {
		return 0, fault.New(fault.PathFailed, op, path, err)
	}
	bytes, err = pour(ctx, backup, stream, pack, file)
	if closeErr := errors.Join(file.Sync(), file.Close()); err == nil && closeErr != nil {
		err = fault.New(fault.PathFailed, op, path, closeErr)
	}
	if err != nil {
		return bytes, errors.Join(err, os.Remove(file.Name()))
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return bytes, fault.New(fault.PathFailed, op, path, errors.Join(err, os.Remove(file.Name())))
	}
	return bytes, nil
}

// pour writes a stream of a backup, packed, and gives the bytes that came of it.
func pour(ctx context.Context, backup *vault.Backup, stream string, pack func(io.Writer) io.WriteCloser, into io.Writer) (int64, error) {
	from, err := backup.Open(ctx, stream)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	counted := &counter{into: into}
	packed := pack(counted)
	_, err = io.CopyBuffer(packed, from, make([]byte, 1<<20))
	if closeErr := packed.Close(); err == nil {
		err = closeErr
	}
	if err != nil && fault.KindOf(err) == "" {
		err = fault.New(fault.PathFailed, "export", backup.Manifest().Key, err)
	}
	return counted.bytes, err
}

func zipped(into io.Writer) io.WriteCloser { return gzip.NewWriter(into) }

func asIs(into io.Writer) io.WriteCloser { return unpacked{into} }

// unpacked writes bytes as they are.
type unpacked struct{ io.Writer }

func (unpacked) Close() error { return nil }

type counter struct {
	into  io.Writer
	bytes int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.into.Write(p)
	c.bytes += int64(n)
	return n, err
}
