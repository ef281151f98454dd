package postgres

import (
	"context"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// RestorePoint is a named record in the WAL.
type RestorePoint struct {
	Timeline uint32
	LSN      LSN       // behind the record
	At       time.Time // by the server's clock
}

// CreateRestorePoint writes a restore point. ServerSettings: the server is a
// standby, or its wal_level is minimal.
func (s *Server) CreateRestorePoint(ctx context.Context, name string) (RestorePoint, error) {
	const op = "make restore point on"
	if s.facts.InRecovery {
		return RestorePoint{}, fault.Newf(fault.ServerSettings, op, s.String(), "it is a standby").
			WithHint("name the primary server in the connection")
	}
	if s.facts.WALLevel == "minimal" {
		return RestorePoint{}, s.facts.CheckArchiving(s.String())
	}
	var position string
	point := RestorePoint{Timeline: s.facts.Timeline}
	if err := s.conn.QueryRow(ctx, "SELECT pg_create_restore_point($1)::text, clock_timestamp()", name).Scan(&position, &point.At); err != nil {
		return RestorePoint{}, queryFault(ctx, op, s.String(), err)
	}
	point.At = point.At.UTC()
	var err error
	point.LSN, err = ParseLSN(position)
	return point, err
}
