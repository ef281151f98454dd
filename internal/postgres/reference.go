package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
)

// Reference is what a cluster held at the end of one WAL segment.
type Reference struct {
	Segment Segment
	Tables  []TableDigest
}

// How long writers are waited for, and how often: while a lock is waited for,
// writers that come later wait, too.
const (
	lockPatience = "1s"
	lockTries    = 5
)

// TakeReference fixes a position of the WAL at which nobody writes to any user
// table, and reads what every one of them holds there. Locks that let readers
// pass (SHARE) are held only while the WAL is switched to a new segment, some
// milliseconds: a snapshot alone would not do, as commits become visible in
// another order than the WAL has them. It fails with ServerRefused when writers
// do not let go of a table within a few tries.
func (s *Server) TakeReference(ctx context.Context, name string) (Reference, error) {
	if s.facts.InRecovery {
		return Reference{}, fault.Newf(fault.ServerSettings, "take reference of", s.String(), "it is a standby")
	}
	names, err := s.databases(ctx)
	if err != nil {
		return Reference{}, err
	}
	var held []*holding
	defer func() {
		for _, h := range held {
			h.release(ctx)
			closeConn(ctx, h.reader)
		}
	}()
	for _, database := range names {
		h, err := s.hold(ctx, database)
		if err != nil {
			return Reference{}, err
		}
		held = append(held, h)
	}
	if _, err := value[string](ctx, s, "SELECT pg_create_restore_point($1)::text", name); err != nil {
		return Reference{}, err
	}
	if _, err := s.Beat(ctx); err != nil {
		return Reference{}, err
	}
	segment, _, err := s.SwitchWAL(ctx)
	if err != nil {
		return Reference{}, err
	}
	for _, h := range held {
		h.release(ctx)
	}
	reference := Reference{Segment: segment}
	for _, h := range held {
		found, err := h.digests(ctx)
		if err != nil {
			return Reference{}, err
		}
		reference.Tables = append(reference.Tables, found...)
	}
	return reference, nil
}

// holding is one database whose tables nobody writes to, and a reader that sees
// it as it is then.
type holding struct {
	database string
	locked   []string // "public.users"
	locker   *pgx.Conn
	reader   *pgx.Conn
	tx       pgx.Tx

	sequences []TableDigest
}

func (s *Server) hold(ctx context.Context, database string) (*holding, error) {
	login := s.login.WithDatabase(database)
	h := &holding{database: database}
	var group errgroup.Group
	for _, conn := range []**pgx.Conn{&h.locker, &h.reader} {
		group.Go(func() (err error) { *conn, err = login.connect(ctx); return err })
	}
	err := group.Wait()
	for try := 1; err == nil; try++ {
		if err = h.lock(ctx); err == nil {
			return h, nil
		}
		if !isLockTimeout(err) || try == lockTries {
			break
		}
		err = waitFor(ctx, time.Duration(try)*time.Second)
	}
	for _, conn := range []*pgx.Conn{h.locker, h.reader} {
		if conn != nil {
			closeConn(ctx, conn)
		}
	}
	if isLockTimeout(err) {
		return nil, fault.Newf(fault.ServerRefused, "take reference of", "database "+database, "somebody writes to a table for longer than %s, %d times in a row", lockPatience, lockTries).
			WithHint("look for a long transaction in pg_stat_activity, or set compare: none at the sandbox")
	}
	return nil, queryFault(ctx, "take reference of", "database "+database, err)
}

// lock locks every table, and lets the reader see what is there then.
func (h *holding) lock(ctx context.Context) error {
	tx, err := h.locker.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	h.tx = tx
	if err := h.lockIn(ctx, tx); err != nil {
		rollback(ctx, tx)
		h.tx = nil
		return err
	}
	return nil
}

func (h *holding) lockIn(ctx context.Context, tx pgx.Tx) error {
	// Listed on the other connection: this one's snapshot must come after the locks.
	rows, err := h.reader.Query(ctx, relationsSQL)
	if err != nil {
		return err
	}
	relations, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r relation, err error) {
		return r, row.Scan(&r.schema, &r.name, &r.kind)
	})
	if err != nil {
		return err
	}
	tables := []string{"ONLY pg_catalog.pg_largeobject"}
	h.locked = []string{"large objects"}
	for _, r := range relations {
		if r.kind == "r" {
			tables = append(tables, "ONLY "+pgx.Identifier{r.schema, r.name}.Sanitize())
			h.locked = append(h.locked, r.schema+"."+r.name)
		}
	}
	if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+lockPatience+"'"); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "LOCK TABLE "+strings.Join(tables, ", ")+" IN SHARE MODE"); err != nil {
		return err
	}
	// A sequence belongs to no snapshot: it is read before the position is fixed.
	h.sequences = nil
	for _, r := range relations {
		if r.kind != "S" {
			continue
		}
		found, err := r.digest(ctx, tx)
		if err != nil {
			return err
		}
		found.Name = h.database + ": " + r.schema + "." + r.name
		h.sequences = append(h.sequences, found)
	}
	var snapshot string
	if err := tx.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&snapshot); err != nil {
		return err
	}
	for _, statement := range []string{
		"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET TRANSACTION SNAPSHOT " + quoteLiteral(snapshot), "SELECT 1",
	} {
		if _, err := h.reader.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// release lets writers go on. It may be called again.
func (h *holding) release(ctx context.Context) {
	if h.tx != nil {
		rollback(ctx, h.tx)
		closeConn(ctx, h.locker)
		h.tx = nil
	}
}

// digests reads what the reader sees, of the tables that were locked.
func (h *holding) digests(ctx context.Context) ([]TableDigest, error) {
	found, err := digestsIn(ctx, h.reader, h.database)
	found = slices.DeleteFunc(found, func(d TableDigest) bool {
		return !slices.Contains(h.locked, strings.TrimPrefix(d.Name, h.database+": "))
	})
	return append(found, h.sequences...), err
}

func waitFor(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// isLockTimeout says whether a lock was not had in time, or would never have been.
func isLockTimeout(err error) bool {
	said, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (said.Code == stateLockNotAvailable || said.Code == stateDeadlock)
}
