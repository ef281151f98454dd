package postgres

import (
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// Kill ends the server as a crash would.
func (i *Instance) Kill() error {
	if err := syscall.Kill(i.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fault.New(fault.ServerFailed, "kill", i.String(), err)
	}
	return nil
}

// LimitStatements shortens what one counting or checking statement may take.
func (s *Server) LimitStatements(to time.Duration) { s.patience = to }

// CustomItems is how many items of a dump in custom format are no rows.
func CustomItems(from io.Reader) (int, error) {
	r := newCustomReader(from)
	r.kept = io.Discard
	err := r.head()
	return len(r.others), err
}
