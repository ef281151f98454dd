package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
)

// lookEvery is how often something is looked at that should take no time from
// what is measured.
const lookEvery = 20 * time.Millisecond

// span is one activity, from the start of its last attempt to its completion.
type span struct{ started, completed time.Time }

func (s span) took() time.Duration { return s.completed.Sub(s.started) }

// pastOf reads from Temporal's history when a workflow began, and the completed
// activities of it and of the recoveries it started, by activity ID.
func pastOf(ctx context.Context, c client.Client, id, runID string) (began time.Time, done map[string]span, err error) {
	done = map[string]span{}
	names, starts := map[int64]string{}, map[int64]time.Time{} // by the event that scheduled the activity
	for events := c.GetWorkflowHistory(ctx, id, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		if err != nil {
			return began, nil, fmt.Errorf("history of %s: %w", id, err)
		}
		at := event.GetEventTime().AsTime()
		switch detail := event.GetAttributes().(type) {
		case *history.HistoryEvent_WorkflowExecutionStartedEventAttributes:
			began = at
		case *history.HistoryEvent_ActivityTaskScheduledEventAttributes:
			names[event.GetEventId()] = detail.ActivityTaskScheduledEventAttributes.GetActivityId()
		case *history.HistoryEvent_ActivityTaskStartedEventAttributes:
			starts[detail.ActivityTaskStartedEventAttributes.GetScheduledEventId()] = at
		case *history.HistoryEvent_ActivityTaskCompletedEventAttributes:
			scheduled := detail.ActivityTaskCompletedEventAttributes.GetScheduledEventId()
			done[names[scheduled]] = span{starts[scheduled], at}
		case *history.HistoryEvent_ChildWorkflowExecutionStartedEventAttributes:
			child := detail.ChildWorkflowExecutionStartedEventAttributes.GetWorkflowExecution()
			if strings.HasPrefix(child.GetWorkflowId(), "backup/") {
				continue // the first backup after a recovery outlives it
			}
			_, more, err := pastOf(ctx, c, child.GetWorkflowId(), child.GetRunId())
			if err != nil {
				return began, nil, err
			}
			maps.Copy(done, more)
		}
	}
	return began, done, nil
}

// awaitActivity waits until a running workflow, or a recovery that it started,
// has completed the activity, and says how long after the workflow's begin that was.
func awaitActivity(ctx context.Context, c client.Client, id, activity string) (time.Duration, error) {
	var took time.Duration
	err := await(ctx, 10*lookEvery, func() (bool, error) {
		described, err := c.DescribeWorkflow(ctx, id, "")
		if err != nil {
			return false, err
		}
		began, done, err := pastOf(ctx, c, id, "")
		if err != nil {
			return false, err
		}
		found, ok := done[activity]
		took = found.completed.Sub(began)
		if !ok && described.Status != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return false, fmt.Errorf("%s ended (%s) without %s", id, described.Status, activity)
		}
		return ok, nil
	})
	return took, err
}

// awaitQuiet waits until no workflow runs.
func awaitQuiet(ctx context.Context, c client.Client) error {
	return await(ctx, 10*lookEvery, func() (bool, error) {
		running, err := c.ListWorkflow(ctx, openWorkflows())
		return err == nil && len(running.GetExecutions()) == 0, err
	})
}

// await looks again and again until done says so, fails, or the context ends.
func await(ctx context.Context, every time.Duration, done func() (bool, error)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		ok, err := done()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("waited in vain"), context.Cause(ctx))
		case <-ticker.C:
		}
	}
}
