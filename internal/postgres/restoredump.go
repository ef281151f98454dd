package postgres

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
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
// earlier attempt left. It gives its OID. LocaleMismatch: the server does not have the locale.
func CreateDatabase(ctx context.Context, login Login, name string, c *Contents) (oid uint32, err error) {
	conn, err := login.Maintenance(name).connect(ctx)
	if err != nil {
		return 0, err
	}
	defer closeConn(ctx, conn)
	if err := dropDatabase(ctx, conn, name); err != nil {
		return 0, err
	}
	if _, err := conn.Exec(ctx, c.Properties.create(name)); err != nil {
		return 0, localeFault(ctx, name, c.Properties.Locale, err)
	}
	if err := conn.QueryRow(ctx, "SELECT oid FROM pg_database WHERE datname = $1", name).Scan(&oid); err != nil {
		return 0, queryFault(ctx, "make", "database "+name, err)
	}
	if err := c.Properties.apply(ctx, conn, name); err != nil {
		return 0, err
	}
	if slices.Contains(c.Schemas, "public") {
		return oid, nil
	}
	return oid, dropPublic(ctx, login, name)
}

// dropPublic drops the schema that a new database has: a dump does not say that its
// source had none.
func dropPublic(ctx context.Context, login Login, name string) error {
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
	OID      uint32  // of the database; 0: of the one that is there when it begins
	BinDir   string  // of the programs
	PIDFile  string  // where the running program is recorded, for EndRestore
	As       Account // psql's; empty: this process's
	Jobs     int     // sessions at once, for a dump in custom format
	Dir      string  // for what of such a dump pg_restore reads
}

// EndRestore ends a program that restores, and that a worker which was killed, or an
// attempt that was given up, has left. After a database was dropped and before
// the next is made, it ends the last that could get into that one.
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
	into, err := o.incarnation(ctx)
	if err != nil {
		return err
	}
	defer pace(ctx, into)()
	result, err := command.Run(ctx, command.Config{
		Argv: []string{
			filepath.Join(o.BinDir, "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--no-password",
			"--output=/dev/null", "--command=" + into.checkSQL(), "--file=-", "--dbname=" + conninfo(o.Database),
		},
		Env: o.Login.client(), User: o.As.Name, PIDFile: o.PIDFile, Stdin: source, Secrets: o.Login.secrets(),
	})
	if source.err != nil {
		return source.err
	}
	return restoreFault(o.Database, result, err)
}

// restoreFault tells a statement that was refused, which will be again, from a server that went away.
func restoreFault(database string, result command.Result, err error) error {
	if !fault.Has(err, fault.CommandFailed) {
		return err
	}
	for _, lost := range []string{"connection to server", "server closed the connection", "terminating connection", "could not connect", "no connection to the server"} {
		if strings.Contains(string(result.Stderr), lost) {
			return fault.New(fault.ServerUnavailable, restoreOp, "database "+database, err)
		}
	}
	for line := range strings.Lines(string(result.Stderr)) {
		if strings.Contains(line, "ERROR:") || strings.Contains(line, "error:") { // what follows may repeat rows
			return fault.Newf(fault.DumpFailed, restoreOp, "database "+database, "%s", strings.ToValidUTF8(strings.TrimSpace(line), "?"))
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
