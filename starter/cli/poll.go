package cli

import (
	"context"
	"slices"

	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// seen is a run at one moment, with what is below it.
type seen struct {
	api.Progress
	own        api.Progress        // of the run alone
	below      api.Phase           // of the run that does this one's work, such as a drill's recovery
	merged     map[string]bool     // workflows whose steps are told, too
	activities map[string]activity // by workflow ID and activity ID
}

// followed says whether a step is a run whose own steps are told.
func (s *seen) followed(step api.Step) bool { return s.merged[step.Workflow] }

// activity is what Temporal knows of an activity that has not ended.
type activity struct {
	done, total int64 // bytes
	attempt     int32
	failure     string // why the attempt before failed
}

func activityKey(workflowID, activityID string) string { return workflowID + "\x00" + activityID }

// deepest is how far below a run others are looked at: a drill, its recovery, a component.
const deepest = 2

// asking is Temporal, and how to read what it stores.
type asking struct {
	client.Client
	payloads *temporal.Payloads
}

// poll asks the run where it stands, and Temporal how its activities and its children's are doing.
func (a *app) poll(ctx context.Context, of client.Client, id string) (seen, error) {
	c := asking{of, a.payloads}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	now := seen{merged: map[string]bool{}, activities: map[string]activity{}}
	var err error
	if now.own, err = progressOf(ctx, c, id); err != nil {
		return now, err
	}
	now.Progress = now.own
	now.Steps, now.Components = slices.Clone(now.own.Steps), slices.Clone(now.own.Components)
	if now.Finished == nil {
		if err := now.pending(ctx, c, id); err != nil {
			return now, err
		}
	}
	return now, now.descend(ctx, c, now.own, 1)
}

func progressOf(ctx context.Context, c asking, id string) (p api.Progress, err error) {
	answer, err := c.QueryWorkflow(ctx, id, "", api.QueryProgress)
	if err != nil {
		return p, err
	}
	return p, answer.Get(&p)
}

// descend looks at the children of a run. One whose steps the run does not tell
// by itself is asked for them: a drill's recovery is.
func (s *seen) descend(ctx context.Context, c asking, parent api.Progress, depth int) error {
	for _, id := range parent.Children {
		if parent.Finished == nil {
			if err := s.pending(ctx, c, id); err != nil {
				return err
			}
		}
		if depth > deepest || !carries(parent, id) {
			continue
		}
		child, err := progressOf(ctx, c, id)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			continue // it has not begun, or ended just now
		}
		if child.Started.Before(parent.Started) {
			continue // an earlier run of this ID
		}
		s.merge(id, child)
		if err := s.descend(ctx, c, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// carries says whether a child is a step of its parent's: one that works on a
// component tells its steps to its parent.
func carries(parent api.Progress, id string) bool {
	return slices.ContainsFunc(parent.Steps, func(step api.Step) bool { return step.Workflow == id && step.Component == "" })
}

// merge takes in what a child tells.
func (s *seen) merge(id string, child api.Progress) {
	s.merged[id] = true
	if child.Finished == nil {
		s.below = child.Phase
	}
	for _, step := range child.Steps {
		if !slices.ContainsFunc(s.Steps, func(told api.Step) bool { return told.Workflow == step.Workflow && told.ID == step.ID }) {
			s.Steps = append(s.Steps, step)
		}
	}
	slices.SortStableFunc(s.Steps, func(a, b api.Step) int { return a.Started.Compare(b.Started) })
	for _, one := range child.Components {
		if !slices.ContainsFunc(s.Components, func(told api.ComponentView) bool { return told.ID == one.ID }) {
			s.Components = append(s.Components, one)
		}
	}
	if len(s.Clocks) == 0 {
		s.Clocks = child.Clocks
	}
	if s.Waiting == "" {
		s.Waiting = child.Waiting
	}
}

// pending takes in what Temporal knows of a workflow's activities.
func (s *seen) pending(ctx context.Context, c asking, id string) error {
	described, err := c.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return err
	}
	for _, pending := range described.GetPendingActivities() {
		one := activity{attempt: pending.GetAttempt(), failure: c.payloads.Message(pending.GetLastFailure())}
		var told struct{ Done, Total int64 }
		if heartbeat := pending.GetHeartbeatDetails(); heartbeat != nil && c.payloads.Value(heartbeat, &told) == nil {
			one.done, one.total = told.Done, told.Total
		}
		s.activities[activityKey(id, pending.GetActivityId())] = one
	}
	return nil
}
