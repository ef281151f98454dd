package temporal

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// Change is what Apply does, or would do, to one schedule.
type Change struct {
	Name    string   `json:"name"`
	ID      string   `json:"id"`
	Kind    Changed  `json:"change"`
	What    []string `json:"what,omitempty"`   // updated: what is otherwise now
	Drift   []string `json:"drift,omitempty"`  // what somebody had changed by hand, and is put right
	Paused  bool     `json:"paused,omitempty"` // an operator's pause, which stays
	Applied bool     `json:"applied"`          // false: a dry run
}

// Changed is the kind of a change.
type Changed string

// Kinds of changes.
const (
	ScheduleCreated   Changed = "created"
	ScheduleUpdated   Changed = "updated"
	ScheduleDeleted   Changed = "deleted"
	ScheduleUnchanged Changed = "unchanged"
)

// Apply brings the schedules of a system to what is configured: it creates and
// updates, puts right what was edited by hand, and deletes what is no longer
// configured. Applying again changes nothing. An operator's pause and its note
// stay. Schedules that Lifeboat did not make are never touched. With dryRun it
// only says what it would do.
func Apply(ctx context.Context, c Client, s system.System, dryRun bool) ([]Change, error) {
	all, err := desireAll(s)
	if err != nil {
		return nil, err
	}
	changes := []Change{}
	for _, d := range all {
		change, err := applyOne(ctx, c, s, d, dryRun)
		if err != nil {
			return changes, err
		}
		changes = append(changes, change)
	}
	strays, err := strays(ctx, c, s)
	if err != nil {
		return changes, err
	}
	for _, stray := range strays {
		if !dryRun {
			if err := c.ScheduleClient().GetHandle(ctx, stray.id).Delete(ctx); err != nil && !isNotFound(err) {
				return changes, Named("delete schedule", stray.id, err)
			}
		}
		changes = append(changes, Change{
			Name: stray.name, ID: stray.id, Kind: ScheduleDeleted, Paused: stray.found.Schedule.State.Paused, Applied: !dryRun,
		})
	}
	return changes, nil
}

func applyOne(ctx context.Context, c Client, s system.System, d desired, dryRun bool) (Change, error) {
	change := Change{Name: d.name, ID: d.id, Kind: ScheduleCreated, Applied: !dryRun}
	handle := c.ScheduleClient().GetHandle(ctx, d.id)
	if dryRun {
		found, err := handle.Describe(ctx)
		if isNotFound(err) {
			return change, nil
		}
		if err != nil {
			return change, Named("read schedule", d.id, err)
		}
		return change, change.against(d, found.Schedule, c.payloads)
	}
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: d.id, Spec: *d.runs.Spec, Action: d.runs.Action, Overlap: d.runs.Policy.Overlap, CatchupWindow: d.runs.Policy.CatchupWindow,
		Note: d.note, Memo: map[string]any{memoKey: s.Name},
	})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return change, Named("create schedule", d.id, err)
	}
	err = handle.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		if err := change.against(d, in.Description.Schedule, c.payloads); err != nil {
			return nil, err
		}
		if change.Kind == ScheduleUnchanged {
			return nil, temporal.ErrSkipScheduleUpdate
		}
		update := d.runs
		update.State = stateAfter(d, *in.Description.Schedule.State)
		return &client.ScheduleUpdate{Schedule: &update}, nil
	}})
	return change, Named("update schedule", d.id, err)
}

// stateAfter keeps an operator's pause, and the reason that the note gives.
func stateAfter(d desired, was client.ScheduleState) *client.ScheduleState {
	if was.Paused {
		return &client.ScheduleState{Paused: true, Note: was.Note}
	}
	return &client.ScheduleState{Note: d.note}
}

// against fills the change from a schedule that exists.
func (change *Change) against(d desired, found client.Schedule, p *Payloads) error {
	now, err := p.termsOf(found)
	if err != nil {
		return err
	}
	was, known := p.appliedOf(found)
	change.Paused = found.State.Paused
	change.What = now.differences(d.terms)
	change.Drift = driftOf(was, known, now, d.terms)
	change.Kind = ScheduleUpdated
	if known && was.Hash == d.terms.hash() && len(change.What) == 0 {
		change.Kind = ScheduleUnchanged
	}
	return nil
}

// driftOf says what differs from what was applied. Without the memo, which an
// edit may have dropped, nobody knows that: then it is held against the configuration.
func driftOf(was applied, known bool, now, configured terms) []string {
	if known {
		return was.Terms.differences(now)
	}
	return append([]string{"memo: none instead of what was applied"}, configured.differences(now)...)
}

// stray is a schedule that Lifeboat made and nobody configures any more.
type stray struct {
	name, id string
	found    *client.ScheduleDescription
}

// strays finds them. Temporal's list may lag some seconds behind.
func strays(ctx context.Context, c Client, s system.System) ([]stray, error) {
	prefix := api.ScheduleID(s.Name, "") + "/"
	list, err := c.ScheduleClient().List(ctx, client.ScheduleListOptions{PageSize: 200})
	if err != nil {
		return nil, Named("list schedules of", s.Name, err)
	}
	var all []stray
	for list.HasNext() {
		entry, err := list.Next()
		if err != nil {
			return nil, Named("list schedules of", s.Name, err)
		}
		name, ours := strings.CutPrefix(entry.ID, prefix)
		if !ours || slices.ContainsFunc(s.Schedules, func(one system.Schedule) bool { return one.Name == name }) {
			continue
		}
		found, err := c.ScheduleClient().GetHandle(ctx, entry.ID).Describe(ctx)
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return nil, Named("read schedule", entry.ID, err)
		}
		if c.payloads.made(found, s.Name) {
			all = append(all, stray{name: name, id: entry.ID, found: found})
		}
	}
	slices.SortFunc(all, func(a, b stray) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// made says whether Lifeboat made the schedule, for this system.
func (p *Payloads) made(found *client.ScheduleDescription, of string) bool {
	var owner string
	_, known := p.appliedOf(found.Schedule)
	return known || p.memo(found.Memo.GetFields()[memoKey], &owner) && owner == of
}

func isNotFound(err error) bool {
	_, missing := errors.AsType[*serviceerror.NotFound](err)
	return missing
}
