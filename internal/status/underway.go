package status

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/temporal"
)

// mostUnderway bounds what Underway lists.
const mostUnderway = 100

// Underway lists the runs of a system that go on, the oldest first: those that
// people and schedules started on the queue, without their children and without
// those of the type except. What started moments ago may not be listed yet.
func Underway(ctx context.Context, c client.Client, system, queue, except string) ([]Run, error) {
	page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Query: fmt.Sprintf("ExecutionStatus = 'Running' AND TaskQueue = '%s'", queue), PageSize: mostUnderway,
	})
	if err != nil {
		return nil, temporal.Named("list runs of", system, err)
	}
	var runs []Run
	for _, found := range page.GetExecutions() {
		id, kind := found.GetExecution().GetWorkflowId(), found.GetType().GetName()
		if found.GetParentExecution() != nil || kind == except || !belongs(id, system) {
			continue
		}
		runs = append(runs, Run{ID: id, Kind: kind, Started: found.GetStartTime().AsTime()})
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
