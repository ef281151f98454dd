package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// Verified says what was compared with a backup's manifest.
type Verified struct {
	Files int64
	Bytes int64
}

// VerifyFiles compares a restored directory that was not staged yet with the
// server's own manifest of the backup: every file's presence, size and CRC-32C
// (pg_verifybackup; WAL is checked by its archive instead). It fails with
// VerificationFailed.
func VerifyFiles(ctx context.Context, binDir, dataDir, manifest, log string) (Verified, error) {
	const op = "verify files of"
	body, err := os.ReadFile(manifest)
	if err != nil {
		return Verified{}, pathFault(op, manifest, err)
	}
	var listed struct {
		Files []struct {
			Size int64 `json:"Size"`
		} `json:"Files"`
	}
	if err := json.Unmarshal(body, &listed); err != nil {
		return Verified{}, fault.Newf(fault.VerificationFailed, op, dataDir, "the backup manifest is not readable")
	}
	_, err = command.Run(ctx, command.Config{
		Argv: []string{filepath.Join(binDir, "pg_verifybackup"), "--no-parse-wal", "--exit-on-error", "--manifest-path", manifest, dataDir},
		Env:  cLocale(), Log: log,
	})
	if err != nil {
		if ctx.Err() != nil || !fault.Has(err, fault.CommandFailed) {
			return Verified{}, err
		}
		return Verified{}, fault.New(fault.VerificationFailed, op, dataDir, err).WithHint("read %s; do not use this backup", log)
	}
	v := Verified{Files: int64(len(listed.Files))}
	for _, file := range listed.Files {
		v.Bytes += file.Size
	}
	return v, nil
}

// statementTime bounds one counting or checking statement.
const statementTime = 10 * time.Minute

// NotCounted stands for the rows of a table that could not be counted in time.
const NotCounted = -1

// CountRows counts the rows of tables ("users", "app.users"). A count is told and
// compared with nothing, so one that takes too long is NotCounted; an unlogged
// table has no rows after a recovery. A table that does not exist, or can't be
// read, is VerificationFailed.
func (s *Server) CountRows(ctx context.Context, tables []string) ([]int64, error) {
	counts := make([]int64, len(tables))
	if err := s.limit(ctx); err != nil {
		return nil, err
	}
	for n, table := range tables {
		// regclass prints the name quoted as it has to be.
		name, err := value[*string](ctx, s, "SELECT to_regclass($1)::text", table)
		if err != nil {
			return nil, err
		}
		if name == nil {
			return nil, fault.Newf(fault.VerificationFailed, "count rows of", table, "the table does not exist in database %s", s.login.config.Database).
				WithHint("correct tables in lifeboat.yaml, or choose another backup")
		}
		if counts[n], err = s.count(ctx, *name); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// count counts the rows of one table, by its quoted name.
func (s *Server) count(ctx context.Context, table string) (int64, error) {
	unlogged, err := value[bool](ctx, s, "SELECT pg_is_in_recovery() AND relpersistence = 'u' FROM pg_class WHERE oid = $1::regclass", table)
	if err != nil || unlogged {
		return 0, err
	}
	var rows int64
	err = s.conn.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&rows)
	if said, ok := errors.AsType[*pgconn.PgError](err); ok && said.Code == stateTooLong && ctx.Err() == nil {
		return NotCounted, nil
	}
	if err != nil {
		return 0, wrongAnswer(queryFault(ctx, "count rows of", table, err))
	}
	return rows, nil
}

// wrongAnswer is a statement that failed by itself: it will not do better the
// next time, while the old system is kept stopped.
func wrongAnswer(err error) error {
	if failed, ok := errors.AsType[*fault.Error](err); ok && failed.Kind == fault.ServerFailed {
		return fault.New(fault.VerificationFailed, failed.Op, failed.Subject, failed.Cause)
	}
	return err
}

// Check runs a query that must give one row with one column: true, or a number
// of at least minimum. It gives the answer as text, and fails with
// VerificationFailed when it is another one.
func (s *Server) Check(ctx context.Context, sql string, minimum *int64) (string, error) {
	const op = "check"
	if err := s.limit(ctx); err != nil {
		return "", err
	}
	tx, err := s.conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return "", queryFault(ctx, op, s.String(), err)
	}
	defer func() {
		// It was read only: nothing is lost with a rollback that fails.
		_ = tx.Rollback(ctx)
	}()
	// The error of the query comes with its rows, too.
	rows, _ := tx.Query(ctx, sql)
	answers, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (any, error) {
		values, err := row.Values()
		if err != nil {
			return nil, err
		}
		if len(values) != 1 {
			return nil, fault.Newf(fault.VerificationFailed, op, strconv.Quote(sql), "it gave %d columns, wanted is one", len(values))
		}
		return values[0], nil
	})
	if said, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(said.Code, classWrong) {
		return "", fault.Newf(fault.VerificationFailed, op, strconv.Quote(sql), "%s", said.Message)
	}
	if err != nil {
		return "", wrongAnswer(queryFault(ctx, op, strconv.Quote(sql), err))
	}
	if len(answers) != 1 {
		return "", fault.Newf(fault.VerificationFailed, op, strconv.Quote(sql), "it gave %d rows, wanted is one", len(answers))
	}
	answer := fmt.Sprint(answers[0])
	if passes(answers[0], minimum) {
		return answer, nil
	}
	wanted := "true"
	if minimum != nil {
		wanted = "at least " + strconv.FormatInt(*minimum, 10)
	}
	return answer, fault.Newf(fault.VerificationFailed, op, strconv.Quote(sql), "the answer is %s, wanted is %s", answer, wanted)
}

func passes(answer any, minimum *int64) bool {
	if minimum == nil {
		yes, ok := answer.(bool)
		return ok && yes
	}
	switch n := answer.(type) {
	case int64:
		return n >= *minimum
	case int32:
		return int64(n) >= *minimum
	case int16:
		return int64(n) >= *minimum
	case float64:
		return n >= float64(*minimum)
	default:
		return false
	}
}

// standbyPatience is how long a statement on a standby that stands still waits for a
// lock: the transaction that holds it never ends there.
const standbyPatience = "2s"

// Locked says whether a statement failed because what it asks for is locked.
func Locked(err error) bool {
	said, ok := errors.AsType[*answer](err)
	return ok && said.code == stateLockNotAvailable
}

// limit bounds the statements that follow.
func (s *Server) limit(ctx context.Context) error {
	if s.facts.InRecovery {
		if err := s.execute(ctx, "SET lock_timeout = '"+standbyPatience+"'"); err != nil {
			return err
		}
	}
	return s.execute(ctx, fmt.Sprintf("SET statement_timeout = %d", s.patience.Milliseconds()))
}

// CollationChanges lists the databases whose text sorts by another version of
// the library than the one they were made under: their indexes may be wrong.
func (s *Server) CollationChanges(ctx context.Context) ([]string, error) {
	return collect(ctx, s, `
SELECT datname FROM pg_database
WHERE datallowconn AND datcollversion IS NOT NULL AND datcollversion <> coalesce(pg_database_collation_actual_version(oid), datcollversion)
ORDER BY datname`, pgx.RowTo[string])
}
