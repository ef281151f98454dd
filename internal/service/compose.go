package service

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/system"
)

// compose controls a service of a compose project, by docker's compose plug-in.
type compose struct {
	service system.Service
	program string
}

func (d compose) name() string {
	if d.service.Unit != "" {
		return d.service.Unit
	}
	return d.service.Name
}

func (d compose) log() string {
	return "docker compose --project-directory " + d.service.Project + " logs " + d.name()
}

// run runs a compose command. It needs to know which engine to talk to.
func (d compose) run(ctx context.Context, args ...string) (command.Result, error) {
	env := append(command.Base(), command.Inherit("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH",
		"COMPOSE_PROJECT_NAME", "COMPOSE_FILE", "COMPOSE_PROFILES")...)
	argv := append([]string{d.program, "compose", "--project-directory", d.service.Project}, args...)
	return command.Run(ctx, command.Config{Argv: argv, Env: env, Dir: d.service.Project})
}

// status takes a service for running when all of its containers run.
func (d compose) status(ctx context.Context) (State, error) {
	all, err := d.run(ctx, "ps", "--all", "--quiet", d.name())
	if err != nil {
		return "", err
	}
	running, err := d.run(ctx, "ps", "--status", "running", "--quiet", d.name())
	if err != nil {
		return "", err
	}
	switch total, up := len(bytes.Fields(all.Stdout)), len(bytes.Fields(running.Stdout)); {
	case up == 0:
		return Stopped, nil
	case up < total:
		return Changing, nil
	default:
		return Running, nil
	}
}

// start starts this service alone: what it depends on is started by its own entry.
func (d compose) start(ctx context.Context) error {
	_, err := d.run(ctx, "up", "--detach", "--no-deps", "--no-recreate", d.name())
	return err
}

// stop leaves the engine a little less time than we have, so that it kills in
// time what does not end by itself.
func (d compose) stop(ctx context.Context) error {
	seconds := max(1, int(timeout(d.service)/time.Second)-5)
	_, err := d.run(ctx, "stop", "--timeout", strconv.Itoa(seconds), d.name())
	return err
}
