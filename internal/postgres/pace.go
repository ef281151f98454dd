package postgres

import (
	"context"
	"sync"
	"time"
)

const (
	paceEvery = 5 * time.Millisecond
	// A commit with something to write is the only thing that flushes WAL for whoever asks.
	// A message belongs to this database, where nobody decodes WAL yet.
	paceSQL = `SELECT CASE WHEN pg_wal_lsn_diff(pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn()) > 1048576
	THEN pg_logical_emit_message(true, 'lifeboat', '') END`
)

// pace has the server flush its WAL steadily while much is written to a database that
// is being restored. Without it the WAL lies unflushed until the server's own writer
// comes, five times a second, or a segment is full: then whoever writes waits until
// the disk has it all. It ends with stop, and does no harm when it can't be done.
func pace(ctx context.Context, into incarnation) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ending := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		conn, err := into.connect(ctx)
		if err != nil {
			return
		}
		defer closeConn(ctx, conn)
		if _, err := conn.Exec(ctx, "SET default_transaction_read_only = off; SET synchronous_commit = local; SET log_statement = none"); err != nil {
			return
		}
		ticker := time.NewTicker(paceEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ending:
				return
			case <-ticker.C:
			}
			if _, err := conn.Exec(ctx, paceSQL); err != nil {
				return
			}
		}
	})
	return func() {
		close(ending)
		defer time.AfterFunc(closeTime, cancel).Stop() // the server may answer no more
		ended.Wait()
		cancel()
	}
}
