package records

import (
	"cmp"
	"context"
	"maps"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/temporal"
)

// Execution names a workflow; without a run ID its newest run.
type Execution struct{ ID, RunID string }

// StepID is an activity's ID.
type StepID string

// Attempts says how often an activity was tried, and why not once.
type Attempts struct {
	Count       int
	LastFailure string // of the attempt before the last; "" when there was one only
}

// AttemptsFrom reads the attempts of activities from the histories of workflows.
// Temporal writes them down when an activity ends. When two workflows have a
// step of the same ID, it is the first one's. message reads the first line of a failure, which may be sealed.
func AttemptsFrom(c client.Client, message func(*failure.Failure) string) func(ctx context.Context, workflows []Execution) (map[StepID]Attempts, error) {
	return func(ctx context.Context, workflows []Execution) (map[StepID]Attempts, error) {
		all := map[StepID]Attempts{}
		for _, w := range workflows {
			found, err := attemptsOf(ctx, c, message, w)
			if err != nil {
				return nil, err
			}
			maps.Copy(found, all)
			all = found
		}
		return all, nil
	}
}

// attemptsOf adds up the attempts of a step that its workflow began anew.
func attemptsOf(ctx context.Context, c client.Client, message func(*failure.Failure) string, w Execution) (map[StepID]Attempts, error) {
	found := map[StepID]Attempts{}
	names, failed := map[int64]StepID{}, map[StepID]string{}
	history := c.GetWorkflowHistory(ctx, w.ID, w.RunID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		if err != nil {
			return nil, temporal.Named("read history of", w.ID, err)
		}
		if scheduled := event.GetActivityTaskScheduledEventAttributes(); scheduled != nil {
			names[event.GetEventId()] = StepID(scheduled.GetActivityId())
		}
		if started := event.GetActivityTaskStartedEventAttributes(); started != nil {
			step := names[started.GetScheduledEventId()]
			found[step] = Attempts{
				Count:       found[step].Count + int(started.GetAttempt()),
				LastFailure: cmp.Or(message(started.GetLastFailure()), failed[step]),
			}
		}
		if ended := event.GetActivityTaskFailedEventAttributes(); ended != nil {
			failed[names[ended.GetScheduledEventId()]] = message(ended.GetFailure())
		}
	}
	return found, nil
}
