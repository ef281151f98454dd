package postgres

import (
	"bytes"
	"context"
	"path/filepath"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// CheckFollows says whether a base backup of the primary can be copied from this
// server: it is a standby of the same cluster, on the primary's timeline, which has
// replayed nothing that the primary did not write, and the primary's WAL holds the whole
// pages that such a backup needs. It fails with ForeignCluster when this is another
// cluster's server or follows another primary, and with StandbyUnfit.
func (s *Server) CheckFollows(ctx context.Context, primary *Server) error {
	const op = "copy a base backup from"
	if err := checkSystem(op, s.String(), s.facts.SystemID, primary.facts.SystemID); err != nil {
		return err
	}
	if !s.facts.InRecovery {
		return fault.Newf(fault.StandbyUnfit, op, s.String(), "it is no standby: it was promoted, or is the primary itself").
			WithHint("find out who promoted it; name a standby of %s under standby, or remove that", primary)
	}
	var position, pages string
	var timeline uint32
	err := primary.conn.QueryRow(ctx, `
SELECT pg_current_wal_flush_lsn()::text, ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int, current_setting('full_page_writes')`).
		Scan(&position, &timeline, &pages)
	if err != nil {
		return queryFault(ctx, op, primary.String(), err)
	}
	written, err := ParseLSN(position)
	switch {
	case err != nil:
		return err
	case s.facts.Timeline != timeline:
		return fault.Newf(fault.StandbyUnfit, op, s.String(), "its last restart point lies on timeline %d, the primary writes timeline %d", s.facts.Timeline, timeline).
			WithHint("have it follow %s; one that does gets there with CHECKPOINT at the primary, and then at the standby", primary)
	case s.facts.LSN > written: // it was asked before the primary was
		return fault.Newf(fault.ForeignCluster, op, s.String(), "it has replayed %s, and %s has written %s: it follows another server of the same identifier", s.facts.LSN, primary, written).
			WithHint("find the server that it follows: two primaries of one cluster are at work")
	case pages != "on":
		return fault.Newf(fault.StandbyUnfit, op, s.String(), "full_page_writes of %s is %s: pages that change while they are copied could not be mended", primary, pages).
			WithHint("at the primary: ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf(); CHECKPOINT;")
	}
	return nil
}

// AwaitFollowed waits until this standby has replayed what the primary wrote up to
// lsn. It fails with StandbyUnfit when it has not within the time, and with
// ForeignCluster when what it replayed is not what the primary has there: a second
// primary of the same identifier and timeline writes other records at the same positions.
func (s *Server) AwaitFollowed(ctx context.Context, primary *Server, lsn LSN, within time.Duration) error {
	if err := s.awaitReplay(ctx, lsn, within); err != nil {
		return err
	}
	const op = "compare WAL of"
	here, err := s.recordsBefore(ctx, primary.facts.Timeline, lsn)
	if err != nil {
		return err
	}
	there, err := primary.recordsBefore(ctx, primary.facts.Timeline, lsn)
	switch {
	case err != nil:
		return err
	case here == nil || there == nil:
		return fault.Newf(fault.StandbyUnfit, op, s.String(), "its WAL before %s is in pg_wal no more", lsn)
	case !bytes.Equal(here, there):
		return fault.Newf(fault.ForeignCluster, op, s.String(), "before %s it is not that of %s: it follows another server of the same identifier", lsn, primary).
			WithHint("find the server that it follows: two primaries of one cluster are at work")
	}
	return nil
}

// comparedWAL is how much of the WAL is compared, in bytes: a restore point, with the
// time at which it was made, takes half of it.
const comparedWAL = 256

// recordsBefore reads the WAL that ends at lsn, as far as it lies in one segment; nil when the segment is gone.
func (s *Server) recordsBefore(ctx context.Context, timeline uint32, lsn LSN) ([]byte, error) {
	segment := SegmentBefore(timeline, lsn, s.facts.SegmentSize)
	end := int64(lsn) - int64(segment.Number)*s.facts.SegmentSize
	from := max(0, end-comparedWAL)
	return value[[]byte](ctx, s, "SELECT pg_read_binary_file('pg_wal/' || $1, $2, $3, true)", segment.Name(s.facts.SegmentSize), from, end-from)
}

func (s *Server) awaitReplay(ctx context.Context, lsn LSN, within time.Duration) error {
	const op = "replay on"
	limit := time.NewTimer(within)
	defer limit.Stop()
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	for {
		var position string
		var paused bool
		if err := s.conn.QueryRow(ctx, "SELECT coalesce(pg_last_wal_replay_lsn(), '0/0')::text, pg_is_in_recovery() AND pg_is_wal_replay_paused()").Scan(&position, &paused); err != nil {
			return queryFault(ctx, op, s.String(), err)
		}
		at, err := ParseLSN(position)
		if err != nil || at >= lsn {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.ServerUnavailable, op, s.String(), context.Cause(ctx))
		case <-limit.C:
			why := ""
			if paused {
				why = "; its replay is paused"
			}
			return fault.Newf(fault.StandbyUnfit, op, s.String(), "it lags: within %s it came to %s, and the primary was at %s (%d bytes)%s", within, at, lsn, lsn-at, why).
				WithHint("look at pg_stat_replication at the primary, at recovery_min_apply_delay and at long queries on the standby")
		case <-poll.C:
		}
	}
}

// Flushed is the position that the primary's WAL is durable to.
func (s *Server) Flushed(ctx context.Context) (LSN, error) {
	position, err := value[string](ctx, s, "SELECT pg_current_wal_flush_lsn()::text")
	if err != nil {
		return 0, err
	}
	return ParseLSN(position)
}

// SettingsFile is a file of settings or of client authentication in a data directory.
type SettingsFile struct {
	Path    string `json:"path"` // relative to the data directory
	Content []byte `json:"content"`
}

// mostSettings bounds one file of settings, in bytes.
const mostSettings = 4 << 20

const settingsFilesSQL = `
WITH here AS (SELECT current_setting('data_directory') || '/' AS dir),
     named AS (
         SELECT sourcefile AS path FROM pg_file_settings
         UNION SELECT dir || 'postgresql.auto.conf' FROM here
         UNION SELECT current_setting(name) FROM (VALUES ('config_file'), ('hba_file'), ('ident_file')) AS files(name))
SELECT substr(path, length(dir) + 1), pg_read_binary_file(path, 0, $1, true)
FROM named, here WHERE starts_with(path, dir) AND (pg_stat_file(path, true)).size IS NOT NULL ORDER BY 1`

// SettingsFiles reads the settings of the server that lie in its data directory:
// what a base backup of it has in their place, and one of its standby has not.
func (s *Server) SettingsFiles(ctx context.Context) ([]SettingsFile, error) {
	rows, err := s.conn.Query(ctx, settingsFilesSQL, mostSettings)
	if err != nil {
		return nil, queryFault(ctx, "read settings of", s.String(), err)
	}
	var files []SettingsFile
	for rows.Next() {
		var file SettingsFile
		if err := rows.Scan(&file.Path, &file.Content); err != nil {
			rows.Close()
			return nil, queryFault(ctx, "read settings of", s.String(), err)
		}
		if len(file.Content) == mostSettings {
			rows.Close()
			return nil, fault.Newf(fault.Unsupported, "read settings of", s.String(), "%s is longer than %d bytes", file.Path, mostSettings)
		}
		files = append(files, file)
	}
	if err := rows.Err(); err != nil {
		return nil, queryFault(ctx, "read settings of", s.String(), err)
	}
	return files, nil
}

// PlaceSettings puts the settings of the primary in the place of its standby's into a
// directory that was restored from the standby, verified, and is used by no server.
func PlaceSettings(dataDir string, owner Account, files []SettingsFile) error {
	for _, file := range files {
		if !filepath.IsLocal(file.Path) {
			return fault.Newf(fault.HostileArchive, "restore settings into", dataDir, "%q leads out of it", file.Path)
		}
		path := filepath.Join(dataDir, file.Path)
		if err := owner.MakeParents(path); err != nil {
			return err
		}
		if err := owner.place(path, file.Content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
