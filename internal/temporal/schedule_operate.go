package temporal

import (
	"context"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// find gives a schedule that Temporal has. ScheduleUnknown names those there are.
func find(ctx context.Context, c Client, s system.System, op, name string) (client.ScheduleHandle, *client.ScheduleDescription, error) {
	id := api.ScheduleID(s.Name, name)
	handle := c.ScheduleClient().GetHandle(ctx, id)
	found, err := handle.Describe(ctx)
	if err == nil && name != "" {
		return handle, found, nil
	}
	if err != nil && !isNotFound(err) {
		return nil, nil, Named(op, id, err)
	}
	names := make([]string, 0, len(s.Schedules))
	for _, configured := range s.Schedules {
		if configured.Name == name {
			return nil, nil, fault.Newf(fault.ScheduleUnknown, op, name, "it stands in lifeboat.yaml and was never applied").
				WithHint("apply it first: lifeboat schedule apply")
		}
		names = append(names, configured.Name)
	}
	if len(names) == 0 {
		return nil, nil, fault.Newf(fault.ScheduleUnknown, op, name, "lifeboat.yaml has no schedules")
	}
	return nil, nil, fault.New(fault.ScheduleUnknown, op, name, nil).WithHint("there are: %s", strings.Join(names, ", "))
}

// Pause keeps a schedule from starting anything until Resume; what runs goes on.
// note says who paused it and why. Pausing again replaces the note.
func Pause(ctx context.Context, c Client, s system.System, name, note string) error {
	handle, _, err := find(ctx, c, s, "pause schedule", name)
	if err != nil {
		return err
	}
	return Named("pause schedule", name, handle.Pause(ctx, client.SchedulePauseOptions{Note: note}))
}

// Resume lets a paused schedule start again. What it would have started meanwhile
// is not made up for. It says whether the schedule was paused. The schedule's note
// says again what it is, and then note: who resumed it.
func Resume(ctx context.Context, c Client, s system.System, name, note string) (was bool, err error) {
	handle, found, err := find(ctx, c, s, "resume schedule", name)
	if err != nil || !found.Schedule.State.Paused {
		return false, err
	}
	for _, configured := range s.Schedules {
		if configured.Name == name {
			note = noteOf(configured) + "; " + note
		}
	}
	return true, Named("resume schedule", name, handle.Unpause(ctx, client.ScheduleUnpauseOptions{Note: note}))
}

// Triggered is what Trigger did.
type Triggered struct {
	Name  string   `json:"name"`
	Run   *Started `json:"run,omitempty"`   // the run that was started
	After []string `json:"after,omitempty"` // workflow IDs that must end before it starts
}

// triggerPatience is how long Trigger waits to learn the ID of the run.
const triggerPatience = 10 * time.Second

// Trigger starts the schedule's workflow now, paused or not. When a run of the
// schedule still works, it starts as soon as that has ended.
func Trigger(ctx context.Context, c Client, s system.System, name string) (Triggered, error) {
	const op = "trigger schedule"
	handle, before, err := find(ctx, c, s, op, name)
	if err != nil {
		return Triggered{}, err
	}
	if err := handle.Trigger(ctx, client.ScheduleTriggerOptions{Overlap: enums.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE}); err != nil {
		return Triggered{}, Named(op, name, err)
	}
	triggered := Triggered{Name: name}
	ctx, cancel := context.WithTimeout(ctx, triggerPatience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		now, err := handle.Describe(ctx)
		if err != nil {
			return triggered, Named(op, name, err)
		}
		if recent := now.Info.RecentActions; now.Info.NumActions > before.Info.NumActions && len(recent) > 0 {
			triggered.Run, err = startedOf(ctx, c, recent[len(recent)-1])
			return triggered, err
		}
		triggered.After = nil
		for _, running := range now.Info.RunningWorkflows {
			triggered.After = append(triggered.After, running.WorkflowID)
		}
		if len(triggered.After) > 0 {
			return triggered, nil
		}
		select {
		case <-ctx.Done():
			return triggered, fault.Newf(fault.TemporalUnavailable, op, name, "no run has started within %s", triggerPatience).
				WithHint("look again with: lifeboat schedule list")
		case <-ticker.C:
		}
	}
}

// mostBackfilled bounds what one Backfill may start.
const mostBackfilled = 100

// Backfill starts a run for each start of the schedule from from up to and with
// to, one after the other, paused or not, and says for which. It fails with
// InputInvalid when there is none, when there are over a hundred, and for times
// to come.
func Backfill(ctx context.Context, c Client, s system.System, name string, from, to, now time.Time) ([]time.Time, error) {
	const op = "backfill schedule"
	handle, found, err := find(ctx, c, s, op, name)
	if err != nil {
		return nil, err
	}
	refuse := func(hint, format string, args ...any) error {
		return fault.Newf(fault.InputInvalid, op, name, format, args...).WithHint("%s", hint)
	}
	switch {
	case to.Before(from):
		return nil, refuse("give the earlier time with --from", "%s lies before %s", moment(to), moment(from))
	case to.After(now):
		return nil, refuse("the schedule itself starts what is still to come; it is now "+moment(now), "%s lies in the future", moment(to))
	}
	for _, configured := range s.Schedules {
		if configured.Name != name {
			continue
		}
		if err := c.payloads.same(s, configured, found.Schedule); err != nil {
			return nil, err
		}
		var due []time.Time
		for at := configured.Next(from.Add(-time.Nanosecond)); !at.IsZero() && !at.After(to); at = configured.Next(at) {
			if due = append(due, at); len(due) > mostBackfilled {
				return nil, refuse("give a shorter time", "more than %d starts lie between %s and %s", mostBackfilled, moment(from), moment(to))
			}
		}
		if len(due) == 0 {
			return nil, refuse("its next start after --from is "+moment(configured.Next(from)), "no start lies between %s and %s", moment(from), moment(to))
		}
		// Temporal's range is open at its start: a second before the first start that is due.
		return due, Named(op, name, handle.Backfill(ctx, client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{{
			Start: due[0].Add(-time.Second), End: due[len(due)-1], Overlap: enums.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL,
		}}}))
	}
	return nil, fault.Newf(fault.ScheduleUnknown, op, name, "it no longer stands in lifeboat.yaml").WithHint("delete it with: lifeboat schedule apply")
}

// same refuses a schedule that does otherwise than is configured: nobody could say
// which runs a backfill of it would start.
func (p *Payloads) same(s system.System, configured system.Schedule, found client.Schedule) error {
	d, err := desire(s, configured)
	if err != nil {
		return err
	}
	now, err := p.termsOf(found)
	if err != nil {
		return err
	}
	if different := d.terms.differences(now); len(different) > 0 {
		return fault.Newf(fault.InputInvalid, "backfill schedule", configured.Name, "it does not do what lifeboat.yaml says: %s", strings.Join(different, "; ")).
			WithHint("apply it first: lifeboat schedule apply")
	}
	return nil
}
