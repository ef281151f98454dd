package lab

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/frende/lifeboat/internal/fault"
)

// TemporalOptions say how a Temporal server is set up.
type TemporalOptions struct {
	Name   string // default "temporal"; names its service, folder and log
	Port   int    // default: a free one
	UIPort int    // default: a free one
}

// Temporal is a Temporal server of a lab, with its Web UI. Its state is on
// disk, so it survives being killed.
type Temporal struct {
	*Service
	Address   string // host:port of the front end
	UIAddress string // http://host:port of the Web UI
	Namespace string
	Binary    string // the temporal command, usable by the lab's account
}

const (
	temporalNamespace = "default"
	temporalRetention = 90 * 24 * time.Hour // of closed runs; the server's own is a day
)

// Temporal starts a new Temporal server.
func (l *Lab) Temporal(ctx context.Context, o TemporalOptions) (*Temporal, error) {
	if o.Name == "" {
		o.Name = "temporal"
	}
	program, err := find("temporal")
	if err == nil {
		program, err = l.Account.usable(program)
	}
	if err != nil {
		return nil, err
	}
	for _, port := range []*int{&o.Port, &o.UIPort} {
		if *port != 0 {
			continue
		}
		if *port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	folder, err := l.Folder(o.Name)
	if err != nil {
		return nil, err
	}
	t := &Temporal{Address: loopback(o.Port), UIAddress: "http://" + loopback(o.UIPort), Namespace: temporalNamespace, Binary: program}
	t.Service, err = l.Define(Program{
		Name: o.Name,
		Args: []string{
			program, "server", "start-dev", "--db-filename", folder + "/temporal.db", "--ip", "127.0.0.1",
			"--port", fmt.Sprint(o.Port), "--ui-port", fmt.Sprint(o.UIPort), "--log-level", "warn",
			// One write for each event instead of several. A kill -9 loses nothing; only a power cut could.
			"--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL",
			// A step starts with the answer that decides on it, without a way through the task queue.
			"--dynamic-config-value", "system.enableActivityEagerExecution=true",
		},
		Ready: "temporal://" + t.Address,
	})
	if err != nil {
		return nil, err
	}
	if err := t.Start(ctx); err != nil {
		return nil, err
	}
	return t, t.raiseRetention(ctx)
}

// raiseRetention keeps closed runs long enough to be looked at.
func (t *Temporal) raiseRetention(ctx context.Context) error {
	namespaces, err := client.NewNamespaceClient(client.Options{HostPort: t.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		return fault.New(fault.TemporalUnavailable, "raise retention", t.Address, err)
	}
	defer namespaces.Close()
	err = namespaces.Update(ctx, &workflowservice.UpdateNamespaceRequest{
		Namespace: t.Namespace,
		Config:    &namespace.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(temporalRetention)},
	})
	if err != nil {
		return fault.New(fault.TemporalUnavailable, "raise retention", t.Address, err)
	}
	return nil
}
