package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/system"
)

// ground is a lab with a Lifeboat in it.
type ground struct {
	lab    *lab.Lab
	worker *lab.Service
	env    []string // of lifeboat and its worker
	client client.Client
}

// openGround finds what runs in a lab by how its worker is started.
func openGround(ctx context.Context, dir string) (*ground, error) {
	opened, err := lab.Open(dir)
	if err != nil {
		return nil, err
	}
	program, err := programOf(opened, "worker")
	if err != nil {
		return nil, err
	}
	worker, err := opened.Service("worker")
	if err != nil {
		return nil, err
	}
	g := &ground{lab: opened, worker: worker, env: program.Env}
	g.client, err = client.DialContext(ctx, client.Options{
		HostPort: g.variable("TEMPORAL_ADDRESS"), Namespace: g.variable("TEMPORAL_NAMESPACE"),
		Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	return g, err
}

// programOf reads how a service of a lab is started.
func programOf(l *lab.Lab, service string) (lab.Program, error) {
	var program lab.Program
	raw, err := os.ReadFile(l.Path("programs", service+".json"))
	if err != nil {
		return program, err
	}
	return program, json.Unmarshal(raw, &program)
}

func (g *ground) variable(name string) string {
	for _, variable := range g.env {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// configuration is the lifeboat.yaml of the lab.
func (g *ground) configuration() (*system.System, error) {
	return system.Load(g.variable("LIFEBOAT_CONFIG"), func(string) (string, bool) { return "", false })
}

// lifeboat runs the lifeboat command as the lab's account and gives its output.
func (g *ground) lifeboat(ctx context.Context, args ...string) ([]byte, error) {
	cmd := g.lab.Command(ctx, g.lab.Path("bin", "lifeboat"), args...)
	cmd.Env = append(cmd.Env, g.env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	output, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("lifeboat %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return output, err
}

// start starts a workflow and gives its ID.
func (g *ground) start(ctx context.Context, args ...string) (string, error) {
	output, err := g.lifeboat(ctx, append(slices.Clone(args), "--detach")...)
	return strings.TrimSpace(string(output)), err
}

// abort calls a recovery off and waits until everything is as it was.
func (g *ground) abort(ctx context.Context, id string) error {
	if _, err := g.lifeboat(ctx, "abort", id, "--reason", "measured"); err != nil {
		return err
	}
	return awaitQuiet(ctx, g.client)
}

func openWorkflows() *workflowservice.ListWorkflowExecutionsRequest {
	return &workflowservice.ListWorkflowExecutionsRequest{Query: `ExecutionStatus = "Running"`}
}

// removeLab removes a lab after a measurement, whatever came of that.
func removeLab(ctx context.Context, dir string, cause error) error {
	return errors.Join(cause, lab.Remove(context.WithoutCancel(ctx), dir))
}
