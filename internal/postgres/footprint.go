package postgres

import (
	"context"
	"time"
)

// Footprint is what tells a server that was restarted, promoted or disturbed
// from one that was left alone.
type Footprint struct {
	SystemID string    `json:"system_id"`
	Timeline uint32    `json:"timeline"`
	Started  time.Time `json:"started"`
	PID      int       `json:"pid"` // of the postmaster; 0 when its directory is not on this host
	DataDir  string    `json:"data_dir"`
	Failed   int64     `json:"failed"` // archive_command failures since the statistics began
}

// Footprint reads the server's footprint.
func (s *Server) Footprint(ctx context.Context) (Footprint, error) {
	f := Footprint{SystemID: s.facts.SystemID, Timeline: s.facts.Timeline, DataDir: s.facts.DataDir}
	err := s.conn.QueryRow(ctx, "SELECT pg_postmaster_start_time(), (SELECT failed_count FROM pg_stat_archiver)").Scan(&f.Started, &f.Failed)
	if err != nil {
		return Footprint{}, queryFault(ctx, "ask footprint of", s.String(), err)
	}
	f.Started = f.Started.UTC()
	f.PID, _ = postmaster(f.DataDir)
	return f, nil
}
