package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/fault"
)

// closeTime bounds a polite goodbye to a server that may be gone.
const closeTime = 2 * time.Second

// Server is a connection to a running server. It is not for concurrent use.
type Server struct {
	login    Login
	conn     *pgx.Conn
	facts    Facts
	patience time.Duration // with one counting or checking statement
}

// Connect reaches the server and asks what it is. It fails with
// ServerUnavailable, ServerRefused (authentication, not a superuser) or
// Unsupported (another major version than 15 to 18).
func Connect(ctx context.Context, login Login) (*Server, error) {
	conn, err := login.connect(ctx)
	if err != nil {
		return nil, err
	}
	server := &Server{login: login, conn: conn, patience: statementTime}
	if err := server.ask(ctx); err != nil {
		server.Close(ctx)
		return nil, err
	}
	return server, nil
}

// Close ends the connection.
func (s *Server) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	// The server forgets the session either way; nothing depends on the goodbye.
	_ = s.conn.Close(ctx)
}

// Facts are what the server said of itself when it was connected to.
func (s *Server) Facts() Facts { return s.facts }

// String is the server's address.
func (s *Server) String() string { return s.login.String() }

const factsSQL = `
SELECT (SELECT system_identifier::text FROM pg_control_system()),
       current_setting('server_version_num')::int,
       pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END,
       coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, '0/0')::text,
       current_setting('data_directory'), current_setting('config_file'), current_setting('hba_file'),
       (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'), pg_size_bytes(current_setting('max_wal_size')),
       current_setting('data_checksums')::bool,
       current_setting('wal_level'), current_setting('archive_mode'),
       current_setting('archive_command') NOT IN ('', '(disabled)') OR coalesce(current_setting('archive_library', true), '') <> '',
       (SELECT setting::int FROM pg_settings WHERE name = 'archive_timeout'),
       (SELECT rolname FROM pg_roles WHERE oid = 10), session_user,
       (SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database WHERE datallowconn),
       current_setting('shared_preload_libraries')`

// ask fills in the facts. Who asks is looked at first: most of them are for
// superusers only.
func (s *Server) ask(ctx context.Context) error {
	const op = "ask facts of"
	var version int
	var super bool
	err := s.conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)`).
		Scan(&version, &super)
	if err != nil {
		return queryFault(ctx, op, s.String(), err)
	}
	if err := checkMajor(op, s.String(), Major(version)); err != nil {
		return err
	}
	if !super {
		return fault.Newf(fault.ServerRefused, op, s.String(), "role %s is not a superuser", s.login.User()).
			WithHint("connect as a superuser, or run: ALTER ROLE %s SUPERUSER", pgx.Identifier{s.login.User()}.Sanitize())
	}
	f := &s.facts
	var lsn string
	err = s.conn.QueryRow(ctx, factsSQL).Scan(&f.SystemID, &f.Version, &f.InRecovery, &f.Timeline, &lsn,
		&f.DataDir, &f.ConfigFile, &f.HBAFile, &f.SegmentSize, &f.MaxWALSize, &f.Checksums, &f.WALLevel, &f.ArchiveMode,
		&f.Archiving, &f.ArchiveAfter, &f.Superuser, &f.Login, &f.Bytes, &f.Preload)
	if err != nil {
		return queryFault(ctx, op, s.String(), err)
	}
	if f.LSN, err = ParseLSN(lsn); err != nil {
		return err
	}
	if f.Tablespaces, err = collect(ctx, s, tablespacesSQL, func(row pgx.CollectableRow) (t Tablespace, err error) {
		return t, row.Scan(&t.OID, &t.Name, &t.Location, &t.Bytes)
	}); err != nil {
		return err
	}
	f.Collations, err = collect(ctx, s, collationsSQL, func(row pgx.CollectableRow) (c Collation, err error) {
		return c, row.Scan(&c.Database, &c.Provider, &c.Name, &c.Version)
	})
	return err
}

const tablespacesSQL = `
SELECT oid, spcname, pg_tablespace_location(oid), pg_tablespace_size(oid)
FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid`

// The versions are those of the libraries on the server's host now, not those
// that the databases were made under.
const collationsSQL = `
SELECT datname, CASE datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' ELSE 'builtin' END, datcollate,
       coalesce(pg_database_collation_actual_version(oid), '')
FROM pg_database WHERE datallowconn ORDER BY datname`

// collect runs a query and gives its rows.
func collect[T any](ctx context.Context, s *Server, sql string, scan pgx.RowToFunc[T], args ...any) ([]T, error) {
	rows, err := s.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, queryFault(ctx, "query", s.String(), err)
	}
	all, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, queryFault(ctx, "query", s.String(), err)
	}
	return all, nil
}

// value runs a query that gives one value.
func value[T any](ctx context.Context, s *Server, sql string, args ...any) (T, error) {
	var v T
	if err := s.conn.QueryRow(ctx, sql, args...).Scan(&v); err != nil {
		return v, queryFault(ctx, "query", s.String(), err)
	}
	return v, nil
}

// execute runs a statement.
func (s *Server) execute(ctx context.Context, sql string, args ...any) error {
	if _, err := s.conn.Exec(ctx, sql, args...); err != nil {
		return queryFault(ctx, "execute on", s.String(), err)
	}
	return nil
}
