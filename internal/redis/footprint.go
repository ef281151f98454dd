package redis

import (
	"context"
	"strconv"
)

// Footprint is what tells a server that was restarted or changed its role from
// one that was left alone.
type Footprint struct {
	RunID string `json:"run_id"`
	PID   int    `json:"pid"`
	Role  string `json:"role"`
}

// Footprint reads the server's footprint.
func (s *Server) Footprint(ctx context.Context) (Footprint, error) {
	info, err := s.info(ctx)
	if err != nil {
		return Footprint{}, err
	}
	pid, err := strconv.Atoi(info["process_id"])
	if err != nil {
		return Footprint{}, s.failed("ask footprint of", err)
	}
	return Footprint{RunID: info["run_id"], PID: pid, Role: info["role"]}, nil
}
