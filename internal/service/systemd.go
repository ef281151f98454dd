package service

import (
	"context"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// systemd controls a unit (systemctl(1)).
type systemd struct {
	service system.Service
	program string
	journal string
}

func (d systemd) unit() string {
	if d.service.Unit != "" {
		return d.service.Unit
	}
	return d.service.Name
}

func (d systemd) log() string { return "journalctl -u " + d.unit() }

func (d systemd) status(ctx context.Context) (State, error) {
	result, err := run(ctx, nil, d.program, "show", "--property=LoadState", "--property=ActiveState", "--", d.unit())
	if err != nil {
		return "", err
	}
	load, active := "", ""
	for line := range strings.Lines(string(result.Stdout)) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name {
		case "LoadState":
			load = value
		case "ActiveState":
			active = value
		}
	}
	switch {
	case load == "not-found":
		return "", fault.Newf(fault.ConfigInvalid, "control service", d.service.Name, "there is no unit %s on this host", d.unit()).
			WithHint("correct the unit in lifeboat.yaml, or install it and run: systemctl daemon-reload")
	case active == "active", active == "reloading", active == "refreshing":
		return Running, nil
	case active == "inactive":
		return Stopped, nil
	case active == "failed":
		return Failed, nil
	case active == "activating", active == "deactivating", active == "maintenance":
		return Changing, nil
	default:
		return "", fault.Newf(fault.ServiceFailed, "look at service", d.service.Name, "systemctl does not say its state")
	}
}

// start forgets earlier failures first: a unit that crashed too often during
// the disaster is refused by systemd's start limit otherwise.
func (d systemd) start(ctx context.Context) error {
	state, err := d.status(ctx)
	if err != nil {
		return err
	}
	if state == Failed {
		if _, err := run(ctx, nil, d.program, "reset-failed", "--no-ask-password", "--", d.unit()); err != nil {
			return err
		}
	}
	_, err = run(ctx, nil, d.program, "start", "--no-ask-password", "--", d.unit())
	return err
}

func (d systemd) stop(ctx context.Context) error {
	_, err := run(ctx, nil, d.program, "stop", "--no-ask-password", "--", d.unit())
	return err
}
