package service

import (
	"context"
	"os"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// stoppedStatus is the exit status of a status command that means "not running".
const stoppedStatus = 3

// longestLog is the size at which a log of start and stop commands is begun anew.
const longestLog = 8 << 20

// program controls a service by commands.
type program struct {
	service system.Service
	env     []string
	logFile string
}

func (d program) log() string { return d.logFile }

func (d program) status(ctx context.Context) (State, error) {
	result, err := run(ctx, d.env, d.service.Status...)
	switch {
	case err == nil:
		return Running, nil
	case result.Exit == stoppedStatus:
		return Stopped, nil
	default:
		return "", err
	}
}

func (d program) start(ctx context.Context) error { return d.act(ctx, d.service.Start) }

func (d program) stop(ctx context.Context) error { return d.act(ctx, d.service.Stop) }

// act runs a command that may leave a server behind.
func (d program) act(ctx context.Context, argv []string) error {
	if info, err := os.Stat(d.logFile); err == nil && info.Size() > longestLog {
		if err := os.Truncate(d.logFile, 0); err != nil {
			return fault.New(fault.PathFailed, "begin log anew", d.logFile, err)
		}
	}
	_, err := command.Run(ctx, command.Config{Argv: argv, Env: d.env, Log: d.logFile, Daemon: true})
	return err
}
