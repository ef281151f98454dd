package postgres

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// Maintenance is the login to a database from which the named one can be made and
// renamed: that is not possible from within.
func (l Login) Maintenance(database string) Login {
	if database == thereToo {
		return l.WithDatabase(alwaysThere)
	}
	return l.WithDatabase(thereToo)
}

// CreateDatabase makes an empty database with the properties of what was dumped,
// and lets only superusers in. One of this name is dropped before: it is what an
// earlier attempt left. LocaleMismatch: the server does not have the locale.
func CreateDatabase(ctx context.Context, login Login, name string, c *Contents) error {
	conn, err := login.Maintenance(name).connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if err := dropDatabase(ctx, conn, name); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, c.Properties.create(name)); err != nil {
		return localeFault(ctx, name, c.Properties.Locale, err)
	}
	if err := c.Properties.apply(ctx, conn, name); err != nil {
		return err
	}
	for _, schema := range c.Schemas {
		if schema == "public" {
			return nil
		}
	}
	// The dump does not say that its source had none.
	inside, err := login.WithDatabase(name).connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, inside)
	if _, err := inside.Exec(ctx, "DROP SCHEMA public"); err != nil {
		return queryFault(ctx, "make", "database "+name, err)
	}
	return nil
}

// DropDatabase drops a database, if it is there, and ends its sessions.
func DropDatabase(ctx context.Context, login Login, name string) error {
	conn, err := login.Maintenance(name).connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	return dropDatabase(ctx, conn, name)
}

func dropDatabase(ctx context.Context, conn *pgx.Conn, name string) error {
	if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return queryFault(ctx, "drop", "database "+name, err)
	}
	return nil
}

// RestoreOptions say into which database a dump is restored, and how.
type RestoreOptions struct {
	Login    Login
	Database string
	BinDir   string  // of the programs
	PIDFile  string  // where the running program is recorded, for EndRestore
	As       Account // psql's; empty: this process's
	Jobs     int     // of pg_restore: sessions at once
}

// EndRestore ends a program that restores, and that a worker which was killed has
// left: it would go on in the database that the next attempt makes.
func EndRestore(ctx context.Context, pidFile string) error {
	_, err := command.EndLeftover(ctx, pidFile, command.DefaultGrace)
	return err
}

// RestoreSQL gives SQL to psql, in one transaction, which ends at the first error.
// A source that ends early is told as its own error; what is in the database then is
// not to be used. DumpFailed names the statement that the server did not take. psql
// runs as the account: names in a dump are its source's users' choice, and could become
// commands for psql where pg_dump is older than 15.14.
func RestoreSQL(ctx context.Context, o RestoreOptions, from io.Reader) error {
	source := &kept{reader: from}
	result, err := command.Run(ctx, command.Config{
		Argv: []string{
			filepath.Join(o.BinDir, "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--no-password",
			"--output=/dev/null", "--file=-", "--dbname=" + conninfo(o.Database),
		},
		Env: o.Login.client(), User: o.As.Name, PIDFile: o.PIDFile, Stdin: source, Secrets: o.Login.secrets(),
	})
	if source.err != nil {
		return source.err
	}
	return restoreFault(o.Database, result, err)
}

// RestoreCustom restores a file in pg_dump's custom format with several sessions.
func RestoreCustom(ctx context.Context, o RestoreOptions, file string) error {
	result, err := command.Run(ctx, command.Config{
		Argv: []string{
			filepath.Join(o.BinDir, "pg_restore"), "--exit-on-error", "--no-password", "--jobs=" + strconv.Itoa(o.Jobs),
			"--dbname=" + conninfo(o.Database), file,
		},
		Env: o.Login.client(), PIDFile: o.PIDFile, Secrets: o.Login.secrets(),
	})
	return restoreFault(o.Database, result, err)
}

// restoreFault tells a statement that was refused, which will be again, from a server that went away.
func restoreFault(database string, result command.Result, err error) error {
	if !fault.Has(err, fault.CommandFailed) {
		return err
	}
	const op = "restore dump into"
	for _, lost := range []string{"connection to server", "server closed the connection", "terminating connection", "could not connect", "no connection to the server"} {
		if strings.Contains(string(result.Stderr), lost) {
			return fault.New(fault.ServerUnavailable, op, "database "+database, err)
		}
	}
	for line := range strings.Lines(string(result.Stderr)) {
		if strings.Contains(line, "ERROR:") || strings.Contains(line, "error:") { // what follows may repeat rows
			return fault.Newf(fault.DumpFailed, op, "database "+database, "%s", strings.ToValidUTF8(strings.TrimSpace(line), "?"))
		}
	}
	return err // it was ended, by whomever
}

// kept remembers what a reader failed with.
type kept struct {
	reader io.Reader
	err    error
}

func (k *kept) Read(p []byte) (int, error) {
	n, err := k.reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		k.err = err
	}
	return n, err
}
