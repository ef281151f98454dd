package postgres

import "context"

// Beat ends a transaction that changes nothing. Its commit record carries the time:
// the WAL of an idle server tells then that nothing was lost until now, a recovery
// to a time has something to stop at, and archive_timeout something to archive. Any
// role that may connect may do it. A server in recovery writes no WAL, and has
// none: false.
//
// A transaction that has a number and no content writes its commit record and
// nothing else (RecordTransactionCommit); logical decoding passes it over.
func Beat(ctx context.Context, login Login) (bool, error) {
	conn, err := login.connect(ctx)
	if err != nil {
		return false, err
	}
	defer closeConn(ctx, conn)
	return (&Server{conn: conn, login: login}).Beat(ctx)
}

// Beat is the same on a connection that is there.
func (s *Server) Beat(ctx context.Context) (bool, error) {
	id, err := value[*string](ctx, s, "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_xact_id()::text END")
	return id != nil, err
}
