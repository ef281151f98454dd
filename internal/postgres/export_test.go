package postgres

import (
	"errors"
	"syscall"

	"github.com/frende/lifeboat/internal/fault"
)

// Kill ends the server as a crash would.
func (i *Instance) Kill() error {
	if err := syscall.Kill(i.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fault.New(fault.ServerFailed, "kill", i.String(), err)
	}
	return nil
}
