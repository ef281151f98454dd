package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// State is what a service is doing.
type State string

// States of a service.
const (
	Running  State = "running"
	Stopped  State = "stopped"
	Failed   State = "failed"   // stopped, and not on purpose
	Changing State = "changing" // on its way up or down
)

// defaultTimeout holds for a service that was configured without one.
const defaultTimeout = time.Minute

// defaultPoll is the time between two looks at a service.
const defaultPoll = 100 * time.Millisecond

// Config says how services are reached.
type Config struct {
	LogDir    string        // where the output of start and stop commands goes; default: the temporary directory
	Env       []string      // environment of start, stop and status commands; nil: command.Base()
	Systemctl string        // default "systemctl"
	Journal   string        // default "journalctl"
	Docker    string        // default "docker"
	Poll      time.Duration // between two looks; default 100 ms
}

// Control starts and stops services.
type Control struct{ config Config }

// New returns a Control. It starts nothing.
func New(config Config) *Control {
	if config.LogDir == "" {
		config.LogDir = os.TempDir()
	}
	if config.Systemctl == "" {
		config.Systemctl = "systemctl"
	}
	if config.Journal == "" {
		config.Journal = "journalctl"
	}
	if config.Docker == "" {
		config.Docker = "docker"
	}
	if config.Poll == 0 {
		config.Poll = defaultPoll
	}
	return &Control{config: config}
}

// driver is one kind of service.
type driver interface {
	status(ctx context.Context) (State, error)
	start(ctx context.Context) error
	stop(ctx context.Context) error
	log() string // the command or file that shows the service's log
	tail(ctx context.Context, lines int) (string, error)
}

func (c *Control) driver(s system.Service) (driver, error) {
	switch s.Kind {
	case system.ServiceSystemd:
		return systemd{service: s, program: c.config.Systemctl, journal: c.config.Journal}, nil
	case system.ServiceCompose:
		return compose{service: s, program: c.config.Docker}, nil
	case system.ServiceCommand:
		if len(s.Start) == 0 || len(s.Stop) == 0 || len(s.Status) == 0 {
			return nil, fault.Newf(fault.ConfigInvalid, "control service", s.Name, "it needs the commands start, stop and status")
		}
		return program{service: s, env: c.config.Env, logFile: filepath.Join(c.config.LogDir, "lifeboat-service-"+s.Name+".log")}, nil
	default:
		return nil, fault.Newf(fault.ConfigInvalid, "control service", s.Name, "kind %q does not exist", s.Kind)
	}
}

// Status says what the service is doing now.
func (c *Control) Status(ctx context.Context, s system.Service) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout(s))
	defer cancel()
	d, err := c.driver(s)
	if err != nil {
		return "", err
	}
	state, err := d.status(ctx)
	return state, named(s, d, "look at", err)
}

// Check says, with ConfigInvalid, that a program which starts, stops or looks at
// the service is not on this host. It runs none of them.
func (c *Control) Check(s system.Service) error {
	if _, err := c.driver(s); err != nil {
		return err
	}
	programs := [][]string{s.Start, s.Stop, s.Status}
	switch s.Kind {
	case system.ServiceSystemd:
		programs = [][]string{{c.config.Systemctl}}
	case system.ServiceCompose:
		programs = [][]string{{c.config.Docker}}
	}
	for _, argv := range programs {
		_, err := command.New(command.Config{Argv: argv, Env: c.config.Env})
		if failed, ok := errors.AsType[*fault.Error](err); ok {
			return fault.Newf(fault.ConfigInvalid, "control service", s.Name, "%s: %w", failed.Subject, failed.Cause).
				WithHint("install %s on this host, or correct it at service %s in lifeboat.yaml", failed.Subject, s.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Start starts the service and waits until it runs. It says whether it had to.
func (c *Control) Start(ctx context.Context, s system.Service) (changed bool, err error) {
	return c.bring(ctx, s, "start", Running, func(ctx context.Context, d driver) error { return d.start(ctx) })
}

// Stop stops the service and waits until it has stopped. It says whether it
// had to. A service that has failed counts as stopped.
func (c *Control) Stop(ctx context.Context, s system.Service) (changed bool, err error) {
	return c.bring(ctx, s, "stop", Stopped, func(ctx context.Context, d driver) error { return d.stop(ctx) })
}

// bring acts unless the service has the wanted state, and waits until it has.
func (c *Control) bring(ctx context.Context, s system.Service, op string, wanted State, act func(context.Context, driver) error) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, timeout(s))
	defer cancel()
	d, err := c.driver(s)
	if err != nil {
		return false, err
	}
	state, err := d.status(limited)
	if err != nil {
		return false, named(s, d, op, err)
	}
	if reached(state, wanted) {
		return false, nil
	}
	if err := act(limited, d); err != nil {
		return true, named(s, d, op, err)
	}
	poll := time.NewTicker(c.config.Poll)
	defer poll.Stop()
	for {
		state, err := d.status(limited)
		switch {
		case err != nil && limited.Err() == nil:
			return true, named(s, d, op, err)
		case err == nil && reached(state, wanted):
			return true, nil
		case err == nil && state == Failed:
			return true, named(s, d, op, errors.New("it failed"))
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil { // ends limited too: only the caller's end is told
				return true, named(s, d, op, ctx.Err())
			}
			return true, named(s, d, op, fmt.Errorf("it was not %s after %s", wanted, timeout(s)))
		case <-poll.C:
		}
	}
}

func reached(state, wanted State) bool {
	return state == wanted || wanted == Stopped && state == Failed
}

func timeout(s system.Service) time.Duration {
	if s.Timeout > 0 {
		return time.Duration(s.Timeout)
	}
	return defaultTimeout
}

// named turns a driver's error into the service's. A cancellation, and a
// configuration that can't work, stay what they are.
func named(s system.Service, d driver, op string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	cause := err
	if failed, ok := errors.AsType[*fault.Error](err); ok {
		if failed.Kind == fault.ConfigInvalid {
			return failed
		}
		cause = fmt.Errorf("%s: %w", failed.Subject, failed.Cause)
	}
	return fault.New(fault.ServiceFailed, op+" service", s.Name, cause).WithHint("read its log: %s", d.log())
}

// run runs a control program and keeps its output.
func run(ctx context.Context, env []string, argv ...string) (command.Result, error) {
	return command.Run(ctx, command.Config{Argv: argv, Env: env})
}
