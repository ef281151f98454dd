package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/frende/lifeboat/internal/fault"
)

// Snapshot is one state of a database that several sessions read: pg_dump and
// those that count. Nobody can drop, truncate or rewrite its tables while it is
// held, as none of these respects a snapshot; whoever only reads and writes rows
// does not notice it.
type Snapshot struct {
	ID    string
	From  time.Time // by the server's clock: what was committed before is in it
	To    time.Time // … and nothing that was committed after this
	LSN   LSN       // where the WAL was about then
	Major int       // version of the server

	login     Login
	database  string
	conn      *pgx.Conn // holds it
	relations []dumped
	sequences []Sequence
	readers   int
}

// snapshotPatience bounds the wait for one that alters a table, and for which all others then wait.
const snapshotPatience = "10s"

const stateUnknownTable = "42P01"

// TakeSnapshot exports a snapshot of one database. It fails with ServerRefused when
// somebody holds a table locked for too long, and otherwise as Connect does.
func TakeSnapshot(ctx context.Context, login Login, database string) (*Snapshot, error) {
	const op = "take snapshot of"
	subject := "database " + database
	s := &Snapshot{login: login.WithDatabase(database), database: database, readers: readersOf(2)}
	lister, err := s.login.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, lister)
	if s.conn, err = s.login.connect(ctx); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		if err = s.take(ctx, lister); err == nil {
			return s, nil
		}
		if !again(err) || try == lockTries {
			break
		}
		if _, err = s.conn.Exec(ctx, "ROLLBACK"); err == nil {
			err = waitFor(ctx, time.Duration(try)*time.Second)
		}
		if err != nil {
			break
		}
	}
	closeConn(ctx, s.conn)
	if isLockTimeout(err) {
		return nil, fault.Newf(fault.ServerRefused, op, subject, "somebody holds a table locked for longer than %s, %d times in a row", snapshotPatience, lockTries).
			WithHint("look for whoever alters tables in pg_stat_activity, and begin again when that is done")
	}
	return nil, queryFault(ctx, op, subject, err)
}

// again says whether a table was only locked, or dropped, while it was to be locked.
func again(err error) bool {
	said, ok := errors.AsType[*pgconn.PgError](err)
	return isLockTimeout(err) || ok && said.Code == stateUnknownTable
}

func (s *Snapshot) take(ctx context.Context, lister *pgx.Conn) (err error) {
	// Listed on the other connection: this one's snapshot must come after the locks.
	if s.relations, err = listDumped(ctx, lister); err != nil {
		return err
	}
	if _, err := s.conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return err
	}
	for _, statement := range []string{
		"SET LOCAL lock_timeout = '" + snapshotPatience + "'", "SET LOCAL idle_in_transaction_session_timeout = 0", "SET LOCAL statement_timeout = 0",
	} {
		if _, err := s.conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	var tables []string
	for _, r := range s.relations {
		if r.kind == "r" {
			tables = append(tables, "ONLY "+pgx.Identifier{r.schema, r.name}.Sanitize())
		}
	}
	if len(tables) > 0 {
		if _, err := s.conn.Exec(ctx, "LOCK TABLE "+strings.Join(tables, ", ")+" IN ACCESS SHARE MODE"); err != nil {
			return err
		}
	}
	var lsn string
	var version int
	// The first statement that needs a snapshot takes it.
	if err := s.conn.QueryRow(ctx, `
SELECT pg_export_snapshot(), statement_timestamp(), clock_timestamp(), current_setting('server_version_num')::int,
       coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, '0/0')::text`).
		Scan(&s.ID, &s.From, &s.To, &version, &lsn); err != nil {
		return err
	}
	s.From, s.To, s.Major = s.From.UTC(), s.To.UTC(), Major(version)
	if s.LSN, err = ParseLSN(lsn); err != nil {
		return err
	}
	s.sequences, err = s.readSequences(ctx, s.conn)
	return err
}

// readSequences reads where the sequences stand at this moment.
func (s *Snapshot) readSequences(ctx context.Context, conn *pgx.Conn) ([]Sequence, error) {
	found := []Sequence{}
	for _, r := range s.relations {
		if r.kind != "S" {
			continue
		}
		one := Sequence{Name: r.schema + "." + r.name}
		name := pgx.Identifier{r.schema, r.name}.Sanitize()
		if err := conn.QueryRow(ctx, "SELECT last_value, is_called, (SELECT seqcycle FROM pg_sequence WHERE seqrelid = s.tableoid) FROM "+name+" s").
			Scan(&one.Before.Last, &one.Before.Called, &one.Cycles); err != nil {
			return nil, err
		}
		one.After = one.Before
		found = append(found, one)
	}
	slices.SortFunc(found, func(a, b Sequence) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// Settle notes where the sequences stand when the dump has ended. One that was
// dropped meanwhile is left out of the comparison.
func (s *Snapshot) Settle(ctx context.Context, c *Contents) error {
	conn, err := s.login.connect(ctx) // outside the snapshot
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	there, err := listDumped(ctx, conn)
	if err != nil {
		return queryFault(ctx, "read sequences of", "database "+s.database, err)
	}
	now := *s
	now.relations = there
	after, err := now.readSequences(ctx, conn)
	if err != nil {
		return queryFault(ctx, "read sequences of", "database "+s.database, err)
	}
	kept := []Sequence{}
	for _, one := range c.Sequences {
		at := slices.IndexFunc(after, func(other Sequence) bool { return other.Name == one.Name })
		if at >= 0 {
			one.After = after[at].Before
			kept = append(kept, one)
		}
	}
	c.Sequences = kept
	return nil
}

// Contents reads all that the snapshot holds.
func (s *Snapshot) Contents(ctx context.Context) (*Contents, error) {
	found, err := s.contents(ctx)
	if err != nil {
		return nil, queryFault(ctx, "read contents of", "database "+s.database, err)
	}
	return found, nil
}

// reader opens a session that sees the snapshot.
func (s *Snapshot) reader(ctx context.Context) (*pgx.Conn, error) {
	conn, err := s.login.connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{
		"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET TRANSACTION SNAPSHOT " + quoteLiteral(s.ID), comparable, "SET LOCAL lc_monetary = 'C'",
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			closeConn(ctx, conn)
			return nil, err
		}
	}
	return conn, nil
}

// Close lets the snapshot go.
func (s *Snapshot) Close(ctx context.Context) { closeConn(ctx, s.conn) }
