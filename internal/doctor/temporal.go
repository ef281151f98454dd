package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/temporal"
)

// How long closed runs are kept: a quarter's drill is looked at in the next one.
const (
	retentionLeast  = 30 * day
	retentionWanted = 90 * day
)

// pollerAge is how long ago a worker that lives has asked for work at most: a
// poll lasts a minute.
const pollerAge = 2 * time.Minute

// mostBacklog is how long a task waits at most for a worker that lives.
const mostBacklog = 5 * time.Second

// temporalExam examines the Temporal server and its workers.
type temporalExam struct {
	x         *Examination
	client    client.Client
	described *workflowservice.DescribeNamespaceResponse
}

func (x *Examination) temporal() {
	e := &temporalExam{x: x}
	add := func(subject, name string, look func(context.Context) answer, needs ...*question) *question {
		return x.add(Temporal, subject, name, look, needs...)
	}
	reachable := add("server", "reachable", e.reachable)
	add("server", "version", e.version, reachable)
	described := add(x.Namespace, "namespace", e.namespace, reachable)
	add(x.Namespace, "retention", e.retention, described)
	add(x.Namespace, "updates", e.updates, described)
	if x.SearchAttributes != nil {
		add(x.Namespace, "search attributes", e.searchAttributes, described)
	}
	add(x.Queue, "workflow worker", func(ctx context.Context) answer { return e.worker(ctx, enums.TASK_QUEUE_TYPE_WORKFLOW) }, described)
	add(x.Queue, "activity worker", func(ctx context.Context) answer { return e.worker(ctx, enums.TASK_QUEUE_TYPE_ACTIVITY) }, described)
}

func (e *temporalExam) reachable(ctx context.Context) answer {
	connected, err := e.x.Temporal(ctx)
	if err != nil {
		a := failure(err, "backups by schedule stop, and no recovery can be started or goes on")
		a.mend = "temporal operator cluster health\nsystemctl status temporal"
		if fault.Has(err, fault.ConfigInvalid) {
			a.mend = fault.HintOf(err)
		}
		return a
	}
	e.client = connected
	e.x.onClose(connected.Close)
	return well("it answers")
}

func (e *temporalExam) version(ctx context.Context) answer {
	found, err := e.client.WorkflowService().GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{})
	if err != nil {
		return failure(temporal.Named("ask", "Temporal", err), "")
	}
	return well("Temporal %s", found.GetServerVersion())
}

func (e *temporalExam) describe(ctx context.Context) (*workflowservice.DescribeNamespaceResponse, error) {
	found, err := e.client.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: e.x.Namespace})
	return found, temporal.Named("describe namespace", e.x.Namespace, err)
}

func (e *temporalExam) namespace(ctx context.Context) answer {
	found, err := e.describe(ctx)
	if err != nil {
		a := failure(err, "without its namespace nothing can be started")
		a.mend = fmt.Sprintf("temporal operator namespace create --namespace %s --retention 90d", e.x.Namespace)
		return a
	}
	e.described = found
	return well("it exists")
}

func (e *temporalExam) retention(ctx context.Context) answer {
	const why = "closed runs are the evidence of drills and recoveries; after this time their histories are gone"
	found, err := e.describe(ctx) // anew: after a fix it has changed
	if err != nil {
		return failure(err, why)
	}
	kept := found.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()
	if kept >= retentionWanted {
		return well("closed runs are kept for %s", brief(kept))
	}
	tell := warning
	if kept < retentionLeast {
		tell = problem
	}
	run := fmt.Sprintf("temporal operator namespace update --namespace %s --retention 90d", e.x.Namespace)
	return tell(fmt.Sprintf("closed runs are kept for %s", brief(kept)), why, run).
		mended(fmt.Sprintf("raise the retention of namespace %s from %s to 90 days", e.x.Namespace, brief(kept)), func(ctx context.Context) error {
			_, err := e.client.WorkflowService().UpdateNamespace(ctx, &workflowservice.UpdateNamespaceRequest{
				Namespace: e.x.Namespace,
				Config:    &namespace.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(retentionWanted)},
			})
			return err
		})
}

// updates are how a person approves and aborts.
func (e *temporalExam) updates(context.Context) answer {
	if !e.described.GetNamespaceInfo().GetCapabilities().GetSyncUpdate() {
		return problem("this server takes no workflow updates", "no recovery could be approved or aborted",
			"upgrade Temporal, or set the dynamic configuration frontend.enableUpdateWorkflowExecution: true")
	}
	return well("they are taken")
}

func (e *temporalExam) searchAttributes(ctx context.Context) answer {
	const why = "runs can't be found by system, phase and objective"
	found, err := e.client.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: e.x.Namespace})
	_, denied := errors.AsType[*serviceerror.PermissionDenied](err)
	_, lacking := errors.AsType[*serviceerror.Unimplemented](err)
	if denied || lacking { // as Temporal Cloud does
		return warning("this server does not tell its search attributes", why, "look at them in its Web UI: "+strings.Join(slices.Sorted(maps.Keys(e.x.SearchAttributes())), ", "))
	}
	if err != nil {
		return failure(temporal.Named("list search attributes of", e.x.Namespace, err), why)
	}
	wanted := e.x.SearchAttributes()
	var missing, create []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		have, ok := found.GetCustomAttributes()[name]
		if ok && have == wanted[name] {
			continue
		}
		if ok {
			return problem(fmt.Sprintf("%s is of type %s, not %s", name, have, wanted[name]), why,
				fmt.Sprintf("temporal operator search-attribute remove --namespace %s --name %s\nand restart the worker, which adds it", e.x.Namespace, name))
		}
		missing = append(missing, name)
		create = append(create, fmt.Sprintf("temporal operator search-attribute create --namespace %s --name %s --type %s", e.x.Namespace, name, wanted[name]))
	}
	if len(missing) > 0 {
		return problem("missing: "+strings.Join(missing, ", "), why, strings.Join(create, "\n"))
	}
	return well("all %d are there", len(wanted))
}

// worker asks who serves the queue. A poller that died is listed for minutes, and
// can't be told from one that waits for work, but for what waits for it.
func (e *temporalExam) worker(ctx context.Context, kind enums.TaskQueueType) answer {
	const why = "what is started waits until a worker takes it up"
	mend := "systemctl start lifeboat-worker\nor by hand: lifeboat-worker --config " + e.x.File
	queue, err := e.client.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: e.x.Namespace, TaskQueue: &taskqueue.TaskQueue{Name: e.x.Queue}, TaskQueueType: kind, ReportStats: true,
	})
	if err != nil {
		return failure(temporal.Named("ask for workers of", e.x.Queue, err), why)
	}
	var identities []string
	var last time.Time
	for _, poller := range queue.GetPollers() {
		identities = append(identities, poller.GetIdentity())
		if at := poller.GetLastAccessTime().AsTime(); at.After(last) {
			last = at
		}
	}
	switch silent := e.x.Now().Sub(last); {
	case len(identities) == 0:
		return problem("no worker serves it", why, mend)
	case silent > pollerAge:
		return problem(fmt.Sprintf("the last worker, %s, was seen %s ago", identities[0], brief(silent)), why, mend)
	}
	slices.Sort(identities)
	if waits := queue.GetStats().GetApproximateBacklogAge().AsDuration(); waits > mostBacklog {
		return problem(fmt.Sprintf("%d tasks wait, one for %s: %s takes none", queue.GetStats().GetApproximateBacklogCount(), brief(waits), identities[0]), why, mend)
	}
	return well("served by %s", strings.Join(slices.Compact(identities), ", "))
}
