package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Archiver is what a server says of its archiving (pg_stat_archiver, and the
// marks in pg_wal/archive_status) and of the connections left for streaming.
type Archiver struct {
	Command string `json:"-"` // archive_command; it may hold a secret
	Library string `json:"library,omitempty"`

	Archived   string    `json:"archived,omitempty"` // file that was archived last; "" for none
	ArchivedAt time.Time `json:"archived_at,omitzero"`
	Failed     string    `json:"failed,omitempty"` // file that could not be archived last
	FailedAt   time.Time `json:"failed_at,omitzero"`
	Failures   int64     `json:"failures"` // since the statistics were reset
	Waiting    int64     `json:"waiting"`  // files that are complete and not archived
	Now        time.Time `json:"now"`      // the server's clock

	Senders int `json:"senders"` // max_wal_senders
	Sending int `json:"sending"` // of them in use
}

const archiverSQL = `
SELECT current_setting('archive_command'), coalesce(current_setting('archive_library', true), ''),
       coalesce(last_archived_wal, ''), last_archived_time, coalesce(last_failed_wal, ''), last_failed_time, failed_count,
       (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'), now(),
       current_setting('max_wal_senders')::int, (SELECT count(*) FROM pg_stat_replication)
FROM pg_stat_archiver`

// Archiver asks the server.
func (s *Server) Archiver(ctx context.Context) (Archiver, error) {
	var a Archiver
	var archivedAt, failedAt *time.Time
	err := s.conn.QueryRow(ctx, archiverSQL).Scan(&a.Command, &a.Library, &a.Archived, &archivedAt, &a.Failed, &failedAt, &a.Failures,
		&a.Waiting, &a.Now, &a.Senders, &a.Sending)
	if err != nil {
		return Archiver{}, queryFault(ctx, "ask archiver of", s.String(), err)
	}
	if archivedAt != nil {
		a.ArchivedAt = *archivedAt
	}
	if failedAt != nil {
		a.FailedAt = *failedAt
	}
	return a, nil
}

// CheckReplication asks whether the server takes a replication connection of
// this login, as a base backup makes it: pg_hba.conf has lines of their own for
// these. It fails with ServerRefused or ServerUnavailable.
func CheckReplication(ctx context.Context, login Login) error {
	conn, err := login.connectReplication(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		_ = conn.Close(ctx) // the server forgets the session either way
	}()
	if _, err := conn.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll(); err != nil {
		return queryFault(ctx, "identify", login.String(), err)
	}
	return nil
}

// Address is the host and port that the login leads to.
func (l Login) Address() (host string, port uint16) { return l.config.Host, l.config.Port }

// Mark is what a server has noted of one completed WAL file that is still in pg_wal.
type Mark struct {
	Name string
	Done bool      // it believes that the file is archived; otherwise it still has to be
	At   time.Time // of the note, by the clock of the server's host
}

const marksSQL = `
SELECT regexp_replace(name, '\.(done|ready)$', ''), name LIKE '%.done', modification
FROM pg_ls_archive_statusdir() WHERE name ~ '\.(done|ready)$' ORDER BY name`

// Marks lists them (pg_wal/archive_status).
func (s *Server) Marks(ctx context.Context) ([]Mark, error) {
	return collect(ctx, s, marksSQL, pgx.RowToStructByPos[Mark])
}
