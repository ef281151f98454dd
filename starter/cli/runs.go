package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"go.opentelemetry.io/otel"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/telemetry"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// How long a command waits for Temporal, and for the worker that answers an update.
const (
	dialTimeout   = 10 * time.Second
	answerTimeout = 30 * time.Second
)

// temporal connects as the configuration says; the caller closes the client.
func (a *app) temporal(ctx context.Context) (temporal.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	configured, err := a.connection()
	if err != nil {
		return temporal.Client{}, err
	}
	options := temporal.Options{Logger: zap.NewNop()}
	if options.Traces, err = a.trace(ctx, configured); err != nil {
		fmt.Fprintf(a.Stderr, "lifeboat: this command is not traced: %v\n", err)
	}
	if a.payloads, err = a.openPayloads(configured); err != nil {
		return temporal.Client{}, err
	}
	options.Payloads = a.payloads
	return temporal.Dial(ctx, options)
}

// openPayloads resolves the keys of payloads.
func (a *app) openPayloads(configured *system.System) (*temporal.Payloads, error) {
	var secrets []keys.Secret
	for _, ref := range configured.Temporal.Keys() {
		secret, err := ref.Resolve(a.Env, os.ReadFile)
		if err != nil {
			return nil, err
		}
		a.secrets.Add(secret)
		secrets = append(secrets, keys.NewSecret(secret))
	}
	return temporal.NewPayloads(secrets)
}

// connection reads what reaching Temporal needs, and no more. Without a
// configuration, as on an operator's own machine, nothing is needed.
func (a *app) connection() (*system.System, error) {
	if path, err := system.Find(a.config, a.Env); err == nil {
		return system.LoadConnection(path, a.Env)
	}
	return &system.System{}, nil
}

// trace makes the first span of what this command starts; nil without a place for it.
func (a *app) trace(ctx context.Context, configured *system.System) (interceptor.ClientInterceptor, error) {
	var err error
	a.traces, err = telemetry.OpenTraces(ctx, telemetry.TracesConfig{
		URL: configured.Telemetry.Traces, Service: "lifeboat", System: configured.Name, Env: a.Env, Secrets: a.secrets,
	})
	if err != nil || a.traces == nil {
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {})) // a collector that is gone is no operator's concern
	return a.traces.Interceptor()
}

// close sends what this command traced.
func (a *app) close(ctx context.Context) {
	if a.traces == nil {
		return
	}
	if err := a.traces.Close(ctx); err != nil {
		fmt.Fprintf(a.Stderr, "lifeboat: the trace of this command was not taken: %s\n", a.secrets.Redact(err.Error()))
	}
}

// start starts a workflow under an ID that no other run of it may hold.
func (a *app) start(ctx context.Context, c client.Client, id, kind, summary string, input any) (client.WorkflowRun, error) {
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       id,
		TaskQueue:                                api.Queue,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            summary,
	}, kind, input)
	if err != nil {
		return nil, temporal.Named("start", id, err)
	}
	a.warnWithoutWorker(ctx, c)
	return run, nil
}

// warnWithoutWorker says when nobody will take the run up.
func (a *app) warnWithoutWorker(ctx context.Context, c client.Client) {
	queue, err := c.DescribeTaskQueue(ctx, api.Queue, enums.TASK_QUEUE_TYPE_WORKFLOW)
	if err == nil && len(queue.GetPollers()) == 0 {
		fmt.Fprintf(a.Stderr, "lifeboat: no worker listens on the task queue %q: the run waits until one does\nHINT: start the lifeboat worker on the system's host\n", api.Queue)
	}
}

// update answers a run that waits for a person.
func (a *app) update(ctx context.Context, id, name string, input any) error {
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	handle, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, Args: []any{input}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return a.refused(ctx, c, id, input, named(name, id, err))
	}
	var answer api.Answer
	if err := handle.Get(ctx, &answer); err != nil {
		return a.refused(ctx, c, id, input, named(name, id, err))
	}
	if a.json {
		return a.printJSON(answer)
	}
	fmt.Fprintln(a.Stdout, answer.Accepted)
	return nil
}

// refused says of an approval that names another system what this command takes
// instead: the run itself speaks to whoever updates it, with whatever tool.
func (a *app) refused(ctx context.Context, c client.Client, id string, input any, err error) error {
	given, approval := input.(api.Approval)
	if !approval || !fault.Has(err, fault.InputInvalid) {
		return err
	}
	p, queryErr := progressOf(ctx, asking{c, a.payloads}, id)
	if queryErr != nil || p.System == "" || p.System == given.System {
		return err
	}
	return anotherSystem("approve", id, given.System, p.System)
}

// anotherSystem refuses a --yes-destroy.
func anotherSystem(op, subject, given, of string) error {
	return fault.Newf(fault.InputInvalid, op, subject, "--yes-destroy names another system, %q", given).
		WithHint("give the name of the system that may be replaced: --yes-destroy %s", of)
}

// named gives the fault that an error from Temporal stands for.
func named(op, subject string, err error) error {
	if restored := temporalfault.FromTemporal(err); fault.KindOf(restored) != "" {
		return restored
	}
	if _, ok := errors.AsType[*client.WorkflowUpdateServiceTimeoutOrCanceledError](err); ok {
		return fault.Newf(fault.Unanswered, op, subject, "waited for %s", answerTimeout)
	}
	return temporal.Named(op, subject, err)
}

// inTheWay names the recovery for which another one of the system was refused:
// the one that holds the system.
func inTheWay(ctx context.Context, c client.Client, of string, err error) error {
	refused, ok := errors.AsType[*fault.Error](err)
	if !ok || refused.Kind != fault.RecoveryRunning || ctx.Err() != nil {
		return err
	}
	held, lookErr := c.DescribeWorkflowExecution(ctx, api.HoldID(of), "")
	id := held.GetWorkflowExecutionInfo().GetParentExecution().GetWorkflowId()
	if lookErr != nil || id == "" || held.GetWorkflowExecutionInfo().GetCloseTime() != nil {
		return err // what the run said of it stands
	}
	return refused.WithHint("see it with: lifeboat watch %s; or end it first with: lifeboat abort %s", id, id)
}

// who says on whose behalf a run is started, for the audit.
func (a *app) who() string {
	name, set := a.Env("SUDO_USER")
	if !set || name == "" {
		if current, err := user.Current(); err == nil {
			name = current.Username
		}
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		return name
	}
	return name + "@" + host
}
