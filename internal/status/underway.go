package status

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/temporal"
)

// mostUnderway bounds what Underway lists.
const mostUnderway = 100

// Underways says what Underway lists, and how it reads it.
type Underways struct {
	System string
	Queue  string
	Except string // a type of workflow that is not listed
	Phase  string // field of a run's memo that holds its phase
	Value  func(stored *common.Payloads, into any) error
}

// Underway lists the runs of a system that go on, the oldest first: those that
// people and schedules started on the queue, without their children and without
// those of the type except. What started moments ago may not be listed yet.
func Underway(ctx context.Context, c client.Client, of Underways) ([]Run, error) {
	page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Query: fmt.Sprintf("ExecutionStatus = 'Running' AND TaskQueue = '%s'", of.Queue), PageSize: mostUnderway,
	})
	if err != nil {
		return nil, temporal.Named("list runs of", of.System, err)
	}
	var runs []Run
	for _, found := range page.GetExecutions() {
		id, kind := found.GetExecution().GetWorkflowId(), found.GetType().GetName()
		if found.GetParentExecution() != nil || kind == of.Except || !belongs(id, of.System) {
			continue
		}
		run := Run{ID: id, Kind: kind, Started: found.GetStartTime().AsTime()}
		if phase := found.GetMemo().GetFields()[of.Phase]; phase != nil {
			if err := of.Value(&common.Payloads{Payloads: []*common.Payload{phase}}, &run.Phase); err != nil {
				run.Phase = "" // sealed with a key that is not here: the run is listed all the same
			}
		}
		runs = append(runs, run)
	}
	slices.SortFunc(runs, func(a, b Run) int { return a.Started.Compare(b.Started) })
	return runs, nil
}

// belongs says whether a run may be of the system: its ID names the system, as
// Lifeboat's own do, or is one that a person chose.
func belongs(id, system string) bool {
	parts := strings.Split(id, "/")
	return len(parts) == 1 || parts[1] == system
}
