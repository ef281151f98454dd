package postgres

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/fault"
)

// DatabaseState is how a database stands in its cluster.
type DatabaseState struct {
	Exists bool
	Open   bool // it may be connected to
	Locale Locale
}

// Database looks at a database without connecting to it.
func (s *Server) Database(ctx context.Context, name string) (DatabaseState, error) {
	state := DatabaseState{Exists: true}
	l := &state.Locale
	err := s.conn.QueryRow(ctx, "SELECT d.datallowconn, "+localeColumns+" FROM pg_database d WHERE d.datname = $1", name).
		Scan(&state.Open, &l.Encoding, &l.Provider, &l.Collate, &l.CType, &l.Name)
	if errors.Is(err, pgx.ErrNoRows) {
		return DatabaseState{}, nil
	}
	if err != nil {
		return DatabaseState{}, queryFault(ctx, "look at", "database "+name, err)
	}
	return state, nil
}

// CheckPrerequisites says, with PrerequisiteMissing, which extension, role or
// tablespace the server does not have. key is that of the dump, for the hint.
func (s *Server) CheckPrerequisites(ctx context.Context, key string, extensions []Extension, roles, tablespaces []string) error {
	const op = "prepare server for"
	there, err := collect(ctx, s, "SELECT name::text FROM pg_available_extensions", pgx.RowTo[string])
	if err != nil {
		return err
	}
	var wanted []string
	for _, extension := range extensions {
		wanted = append(wanted, extension.Name)
	}
	if missing := without(wanted, there); len(missing) > 0 {
		return fault.Newf(fault.PrerequisiteMissing, op, key, "%s does not have the extension %s", s, strings.Join(missing, ", ")).
			WithHint("install its package on the server's host (contrib's are in postgresql-contrib), and begin again; nothing was touched")
	}
	if there, err = collect(ctx, s, "SELECT rolname::text FROM pg_roles", pgx.RowTo[string]); err != nil {
		return err
	}
	if missing := without(roles, there); len(missing) > 0 {
		return fault.Newf(fault.PrerequisiteMissing, op, key, "%s does not have the role %s", s, strings.Join(missing, ", ")).
			WithHint("take them out of the dump: lifeboat backups export %s FILE --globals globals.sql, read it, and run: psql -f globals.sql", key)
	}
	if there, err = collect(ctx, s, "SELECT spcname::text FROM pg_tablespace", pgx.RowTo[string]); err != nil {
		return err
	}
	if missing := without(tablespaces, there); len(missing) > 0 {
		return fault.Newf(fault.PrerequisiteMissing, op, key, "%s does not have the tablespace %s", s, strings.Join(missing, ", ")).
			WithHint("make it with CREATE TABLESPACE, and begin again; nothing was touched")
	}
	return nil
}

func without(wanted, there []string) []string {
	return slices.DeleteFunc(slices.Clone(wanted), func(name string) bool { return slices.Contains(there, name) })
}

// sessionsPatience bounds the end of sessions that were told to end.
const sessionsPatience = 30 * time.Second

// CloseDatabase lets nobody connect to a database any more, superusers included,
// and ends its sessions. It gives how many there were, and fails with TargetRefused
// when a transaction is prepared in it: no session ends that.
func (s *Server) CloseDatabase(ctx context.Context, name string) (ended int, err error) {
	prepared, err := collect(ctx, s, "SELECT gid FROM pg_prepared_xacts WHERE database = $1", pgx.RowTo[string], name)
	if err != nil {
		return 0, err
	}
	if len(prepared) > 0 {
		return 0, fault.Newf(fault.TargetRefused, "close", "database "+name, "transaction %s is prepared in it", strings.Join(prepared, ", ")).
			WithHint("end it in the database: COMMIT PREPARED or ROLLBACK PREPARED, and begin again")
	}
	if err := s.execute(ctx, "ALTER DATABASE "+pgx.Identifier{name}.Sanitize()+" ALLOW_CONNECTIONS false"); err != nil {
		return 0, err
	}
	return s.endSessions(ctx, name)
}

// endSessions ends the sessions of a database and waits until they have ended.
func (s *Server) endSessions(ctx context.Context, name string) (ended int, err error) {
	if ended, err = value[int](ctx, s, "SELECT count(pg_terminate_backend(pid))::int FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name); err != nil {
		return 0, err
	}
	limited, cancel := context.WithTimeout(ctx, sessionsPatience)
	defer cancel()
	for {
		left, err := value[int](ctx, s, "SELECT count(*)::int FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name)
		if err != nil || left == 0 {
			return ended, err
		}
		if waitFor(limited, 50*time.Millisecond) != nil {
			return ended, fault.Newf(fault.ServerFailed, "end sessions of", "database "+name, "%d have not ended within %s", left, sessionsPatience)
		}
	}
}

// OpenDatabase lets sessions connect to a database again.
func (s *Server) OpenDatabase(ctx context.Context, name string) error {
	return s.execute(ctx, "ALTER DATABASE "+pgx.Identifier{name}.Sanitize()+" ALLOW_CONNECTIONS true")
}

// SwapDatabases puts a restored database in the place of the living one, which
// keeps its data under another name, marked as replaced by the run, and lets nobody in: all
// of it or nothing. connections is how many it may have at once. Done already is no error. It fails with
// TargetRefused when neither is where the swap left it or would take it from.
func (s *Server) SwapDatabases(ctx context.Context, live, staging, old, run string, connections int) (replaced bool, err error) {
	names, err := collect(ctx, s, "SELECT datname FROM pg_database WHERE datname IN ($1, $2, $3)", pgx.RowTo[string], live, staging, old)
	if err != nil {
		return false, err
	}
	there := func(name string) bool { return slices.Contains(names, name) }
	switch {
	case !there(staging) && there(live):
		return there(old), nil // an attempt before this one did it
	case !there(staging):
		return false, fault.Newf(fault.TargetRefused, "swap", "database "+live, "neither it nor %s is there", staging).
			WithHint("look at the databases that there are (psql -l), and at who dropped them")
	case there(live) && there(old):
		return false, fault.Newf(fault.TargetRefused, "swap", "database "+live, "there is a database %s, and somebody made %s anew", old, live).
			WithHint("drop or rename %s: the step is tried again", live)
	}
	for _, name := range []string{staging, live} {
		if _, err := s.endSessions(ctx, name); err != nil {
			return false, err
		}
	}
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return false, queryFault(ctx, "swap", "database "+live, err)
	}
	defer rollback(ctx, tx)
	quoted := func(name string) string { return pgx.Identifier{name}.Sanitize() }
	var statements []string
	if there(live) {
		mark, err := Replaced{Database: live, Run: run, At: time.Now().UTC().Truncate(time.Second)}.mark(old)
		if err != nil {
			return false, err
		}
		statements = append(statements, "ALTER DATABASE "+quoted(live)+" RENAME TO "+quoted(old), mark)
	}
	statements = append(statements, "ALTER DATABASE "+quoted(staging)+" RENAME TO "+quoted(live), limited(live, connections))
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return false, queryFault(ctx, "swap", "database "+live, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return false, queryFault(ctx, "swap", "database "+live, err)
	}
	return there(live), nil
}

func limited(database string, connections int) string {
	return "ALTER DATABASE " + pgx.Identifier{database}.Sanitize() + " CONNECTION LIMIT " + strconv.Itoa(connections)
}

// Analyze gives the planner what it needs to know of a database that was just restored.
func (s *Server) Analyze(ctx context.Context) error {
	return s.execute(ctx, "ANALYZE")
}
