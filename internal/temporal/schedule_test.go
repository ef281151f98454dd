package temporal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

func connect(t *testing.T) temporal.Client {
	t.Helper()
	return connectTo(t, lab.StartTemporal(t), nil)
}

func connectTo(t *testing.T, server *lab.Temporal, p *temporal.Payloads) temporal.Client {
	t.Helper()
	options := client.Options{HostPort: server.Address, Namespace: server.Namespace, Logger: temporal.Logger(zap.NewNop())}
	if p != nil {
		temporal.Through(p, &options)
	}
	c, err := client.DialContext(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return temporal.NewClient(c, p)
}

// frende has a timetable; validated and defaulted, as a file is.
func frende(t *testing.T, schedules string) system.System {
	t.Helper()
	env := func(name string) (string, bool) { return "k", name == "KEY" }
	s, err := system.Parse("lifeboat.yaml", []byte(`system: frende
stores: [{name: primary, bucket: backups, region: us-east-1}]
keys: {encryption: [env:KEY]}
caches: [{name: sessions, address: "127.0.0.1:6379", data_dir: /srv/redis, service: redis}]
files: [{name: uploads, root: /srv/uploads}]
services: [{name: redis, role: server}]
schedules:
`+schedules), env)
	require.NoError(t, err)
	return *s
}

const timetable = `
  - {name: cache, workflow: BackupCache, of: sessions, every: 15m, if_changed: true}
  - {name: files, workflow: BackupFiles, cron: 0 3 * * *}
  - {name: drill, workflow: DrillSystem, when: first saturday of quarter at 06:00}
`

// kinds gives what happened to each schedule.
func kinds(changes []temporal.Change) map[string]temporal.Changed {
	all := map[string]temporal.Changed{}
	for _, change := range changes {
		all[change.Name] = change.Kind
	}
	return all
}

func schedule(t *testing.T, c temporal.Client, s system.System, name string) temporal.Schedule {
	t.Helper()
	all, err := temporal.Schedules(t.Context(), c, s)
	require.NoError(t, err)
	for _, one := range all {
		if one.Name == name {
			return one
		}
	}
	require.FailNow(t, "no schedule "+name)
	return temporal.Schedule{}
}

// edit changes a schedule as somebody does in the Web UI.
func edit(t *testing.T, c temporal.Client, id string, change func(*client.Schedule)) {
	t.Helper()
	err := c.ScheduleClient().GetHandle(t.Context(), id).Update(t.Context(), client.ScheduleUpdateOptions{
		DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			edited := in.Description.Schedule
			change(&edited)
			return &client.ScheduleUpdate{Schedule: &edited}, nil
		},
	})
	require.NoError(t, err)
}

func TestASealedScheduleIsReadAndWithoutItsKeySaysSo(t *testing.T) {
	server := lab.StartTemporal(t)
	sealing, s := connectTo(t, server, payloadsOf(t, older)), frende(t, timetable)
	for _, want := range []temporal.Changed{temporal.ScheduleCreated, temporal.ScheduleUnchanged} {
		changes, err := temporal.Apply(t.Context(), sealing, s, false)
		require.NoError(t, err)
		require.Equal(t, want, kinds(changes)["cache"])
	}
	found, err := sealing.ScheduleClient().GetHandle(t.Context(), "schedule/frende/cache").Describe(t.Context())
	require.NoError(t, err)
	action, ok := found.Schedule.Action.(*client.ScheduleWorkflowAction)
	require.True(t, ok)
	require.NotContains(t, fmt.Sprint(action.Args, action.Memo), "frende", "what Temporal keeps is sealed")
	require.Empty(t, schedule(t, sealing, s, "cache").Drift)
	edit(t, sealing, "schedule/frende/cache", func(s *client.Schedule) { s.Policy.CatchupWindow = time.Minute })
	require.Equal(t, []string{"catch-up: 1m instead of 1h"}, schedule(t, sealing, s, "cache").Drift, "an edit is seen, and its input is as it was")

	_, err = temporal.Schedules(t.Context(), connectTo(t, server, payloadsOf(t)), s)
	require.True(t, fault.Has(err, fault.KeyUnavailable), "%v", err)
	newKey := connectTo(t, server, payloadsOf(t, newer, older))
	require.Len(t, schedule(t, newKey, s, "cache").Drift, 1)
	_, err = temporal.Apply(t.Context(), newKey, s, false)
	require.NoError(t, err)
	require.Empty(t, schedule(t, newKey, s, "cache").Drift)
}

func TestApplyIsIdempotentAndAnOperatorsPauseSurvives(t *testing.T) {
	c, s := connect(t), frende(t, timetable)
	created := map[string]temporal.Changed{"cache": temporal.ScheduleCreated, "files": temporal.ScheduleCreated, "drill": temporal.ScheduleCreated}

	// A dry run says what would happen, and nothing does.
	changes, err := temporal.Apply(t.Context(), c, s, true)
	require.NoError(t, err)
	require.Equal(t, created, kinds(changes))
	require.False(t, changes[0].Applied)
	require.False(t, schedule(t, c, s, "cache").Applied)

	changes, err = temporal.Apply(t.Context(), c, s, false)
	require.NoError(t, err)
	require.Equal(t, created, kinds(changes))
	for range 2 {
		changes, err = temporal.Apply(t.Context(), c, s, false)
		require.NoError(t, err)
		for _, change := range changes {
			require.Equal(t, temporal.ScheduleUnchanged, change.Kind, "%+v", change)
		}
	}

	// What the Web UI shows, and what bounds a run.
	found, err := c.ScheduleClient().GetHandle(t.Context(), "schedule/frende/cache").Describe(t.Context())
	require.NoError(t, err)
	action, ok := found.Schedule.Action.(*client.ScheduleWorkflowAction)
	require.True(t, ok)
	require.Equal(t, "schedule/frende/cache", action.ID)
	require.Equal(t, "back up cache sessions of frende", action.StaticSummary)
	require.Equal(t, 6*time.Hour, action.WorkflowRunTimeout)
	require.Zero(t, action.WorkflowExecutionTimeout)
	require.Equal(t, time.Hour, found.Schedule.Policy.CatchupWindow)
	require.False(t, found.Schedule.Policy.PauseOnFailure)
	require.Equal(t, "every 15m, from lifeboat.yaml", found.Schedule.State.Note)

	// How terms are written never changes: schedules that an earlier release applied would look edited by hand.
	found, err = c.ScheduleClient().GetHandle(t.Context(), "schedule/frende/drill").Describe(t.Context())
	require.NoError(t, err)
	payload, ok := found.Schedule.Action.(*client.ScheduleWorkflowAction).Memo["lifeboat"].(*commonpb.Payload)
	require.True(t, ok)
	var memo struct{ Terms map[string]string }
	require.NoError(t, json.Unmarshal(payload.GetData(), &memo))
	require.Equal(t, map[string]string{
		"starts":   `{"calendars":[{"seconds":[0],"minutes":[0],"hours":[6],"days":[1,2,3,4,5,6,7],"months":[1,4,7,10],"weekdays":[6]}]}`,
		"catch-up": "3d", "overlap": "skip", "run timeout": "1d", "task queue": "lifeboat", "workflow": "DrillSystem",
		"workflow ID": "schedule/frende/drill", "input": "{}", "summary": "drill: recover frende into the sandbox",
	}, memo.Terms)

	// Paused; then the file changes, and is applied.
	require.NoError(t, temporal.Pause(t.Context(), c, s, "cache", "dba@frende.com: migration"))
	hourly := frende(t, `
  - {name: cache, workflow: BackupCache, of: sessions, every: 1h, if_changed: true}
  - {name: files, workflow: BackupFiles, cron: 0 3 * * *}
`)
	require.Equal(t, []string{"starts: every 1h instead of every 15m"}, schedule(t, c, hourly, "cache").Unapplied)
	changes, err = temporal.Apply(t.Context(), c, hourly, true)
	require.NoError(t, err)
	require.Equal(t, temporal.ScheduleUpdated, kinds(changes)["cache"])
	changes, err = temporal.Apply(t.Context(), c, hourly, false)
	require.NoError(t, err)
	require.Equal(t, temporal.ScheduleUpdated, kinds(changes)["cache"])
	require.Equal(t, []string{"starts: every 1h instead of every 15m"}, changes[0].What)
	require.Empty(t, changes[0].Drift)
	cache := schedule(t, c, hourly, "cache")
	require.True(t, cache.Paused)
	require.Equal(t, "dba@frende.com: migration", cache.Note)
	require.Equal(t, "every 1h", cache.Starts)
	require.Nil(t, cache.Next)
	require.Empty(t, cache.Drift)
	require.Empty(t, cache.Unapplied)

	was, err := temporal.Resume(t.Context(), c, hourly, "cache", "migrated")
	require.NoError(t, err)
	require.True(t, was)
	cache = schedule(t, c, hourly, "cache")
	require.NotNil(t, cache.Next)
	require.Equal(t, "every 1h, from lifeboat.yaml; migrated", cache.Note)
	was, err = temporal.Resume(t.Context(), c, hourly, "cache", "migrated")
	require.NoError(t, err)
	require.False(t, was)
}

func TestWhatIsNoLongerConfiguredIsDeletedAndNothingElse(t *testing.T) {
	c, s := connect(t), frende(t, timetable)
	_, err := temporal.Apply(t.Context(), c, s, false)
	require.NoError(t, err)
	// Somebody's own schedules, one of them under our prefix, and another system's.
	for _, id := range []string{"nightly-etl", "schedule/frende/by-hand"} {
		_, err := c.ScheduleClient().Create(t.Context(), client.ScheduleOptions{
			ID: id, Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
			Action: &client.ScheduleWorkflowAction{ID: id, Workflow: "Etl", TaskQueue: "etl"},
		})
		require.NoError(t, err)
	}
	other := s
	other.Name = "frende-test"
	_, err = temporal.Apply(t.Context(), c, other, false)
	require.NoError(t, err)

	fewer := frende(t, "  - {name: files, workflow: BackupFiles, cron: 0 3 * * *}\n")
	listed := func() map[string]bool {
		all, err := temporal.Schedules(t.Context(), c, fewer)
		require.NoError(t, err)
		found := map[string]bool{}
		for _, one := range all {
			found[one.Name] = one.Configured
		}
		return found
	}
	require.Eventually(t, func() bool { return len(listed()) == 3 }, time.Minute, 50*time.Millisecond, "Temporal's list lags behind")
	require.Equal(t, map[string]bool{"files": true, "cache": false, "drill": false}, listed())
	changes, err := temporal.Apply(t.Context(), c, fewer, true)
	require.NoError(t, err)
	require.Equal(t, map[string]temporal.Changed{"files": "unchanged", "cache": "deleted", "drill": "deleted"}, kinds(changes))
	require.Len(t, listed(), 3, "a dry run deletes nothing")
	changes, err = temporal.Apply(t.Context(), c, fewer, false)
	require.NoError(t, err)
	require.Equal(t, map[string]temporal.Changed{"files": "unchanged", "cache": "deleted", "drill": "deleted"}, kinds(changes))
	require.Equal(t, map[string]bool{"files": true}, listed())
	for _, id := range []string{"nightly-etl", "schedule/frende/by-hand", "schedule/frende-test/cache"} {
		_, err := c.ScheduleClient().GetHandle(t.Context(), id).Describe(t.Context())
		require.NoError(t, err, id)
	}
}

func TestAnEditByHandIsShownAsDriftAndPutRight(t *testing.T) {
	c, s := connect(t), frende(t, timetable)
	_, err := temporal.Apply(t.Context(), c, s, false)
	require.NoError(t, err)
	id := "schedule/frende/files"
	for name, one := range map[string]struct {
		edit  func(*client.Schedule)
		drift []string
	}{
		"times": {
			func(s *client.Schedule) { s.Spec.Calendars[0].Hour = []client.ScheduleRange{{Start: 5}} },
			[]string{"starts: 05:00 UTC every day instead of 03:00 UTC every day"},
		},
		"another start": {
			func(s *client.Schedule) {
				s.Spec.Intervals = append(s.Spec.Intervals, client.ScheduleIntervalSpec{Every: time.Hour, Offset: time.Minute})
			},
			[]string{"starts: 03:00 UTC every day; every 1h + 1m instead of 03:00 UTC every day"},
		},
		"time zone": {
			func(s *client.Schedule) { s.Spec.TimeZoneName = "Europe/Berlin" },
			[]string{"time zone: Europe/Berlin instead of none"},
		},
		"policies": {
			func(s *client.Schedule) {
				s.Policy.CatchupWindow, s.Policy.PauseOnFailure, s.Policy.Overlap = 365*24*time.Hour, true, 6
			},
			[]string{"catch-up: 365d instead of 6h", "overlap: allowall instead of skip", "pause on failure: yes instead of none"},
		},
		"input and timeout": {
			func(s *client.Schedule) {
				action := s.Action.(*client.ScheduleWorkflowAction)
				action.Args, action.WorkflowRunTimeout = []any{api.BackupInput{System: "frende"}}, 0
			},
			[]string{`input: {"system":"frende"} instead of {"by":"schedule files","system":"frende"}`, "run timeout: none instead of 1d"},
		},
		"the same input by another hand, and another second": {
			func(s *client.Schedule) {
				s.Action.(*client.ScheduleWorkflowAction).Args = []any{json.RawMessage(`{ "by": "schedule files", "system": "frende" }`)}
				s.Spec.Calendars[0].Second = []client.ScheduleRange{{Start: 30}}
			},
			[]string{"starts: 03:00 UTC every day, at seconds [30] instead of 03:00 UTC every day"},
		},
		"an end": {
			func(s *client.Schedule) { s.State.LimitedActions, s.State.RemainingActions = true, 3 },
			[]string{"ends after: 3 more runs instead of none"},
		},
		"a dropped memo": {
			func(s *client.Schedule) {
				s.Action.(*client.ScheduleWorkflowAction).Memo = nil
				s.Spec.Jitter = time.Minute
			},
			[]string{"memo: none instead of what was applied", "jitter: 1m instead of none"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			edit(t, c, id, one.edit)
			require.Equal(t, one.drift, schedule(t, c, s, "files").Drift)
			changes, err := temporal.Apply(t.Context(), c, s, true)
			require.NoError(t, err)
			require.Equal(t, temporal.ScheduleUpdated, kinds(changes)["files"])
			changes, err = temporal.Apply(t.Context(), c, s, false)
			require.NoError(t, err)
			require.Equal(t, one.drift, changes[1].Drift)
			require.Equal(t, temporal.ScheduleUpdated, changes[1].Kind)
			require.Empty(t, schedule(t, c, s, "files").Drift)
			changes, err = temporal.Apply(t.Context(), c, s, false)
			require.NoError(t, err)
			require.Equal(t, temporal.ScheduleUnchanged, kinds(changes)["files"])
		})
	}
	// A pause and its note are an operator's right, and no drift.
	require.NoError(t, temporal.Pause(t.Context(), c, s, "files", "why"))
	require.Empty(t, schedule(t, c, s, "files").Drift)
}

func TestTemporalStartsOnTheDaysOfTheCalendar(t *testing.T) {
	c := connect(t)
	s := frende(t, timetable+`
  - {name: weekly, workflow: CleanUp, cron: 0 5 * * sun}
  - {name: leap, workflow: CleanUp, cron: 30 4 29 2 *}
  - {name: odd, workflow: CleanUp, cron: "5/20 8-10,22 * mar,jun-aug 1-5"}
  - {name: seven, workflow: CleanUp, every: 7h}
`)
	_, err := temporal.Apply(t.Context(), c, s, false)
	require.NoError(t, err)
	for _, configured := range s.Schedules {
		found, err := c.ScheduleClient().GetHandle(t.Context(), api.ScheduleID(s.Name, configured.Name)).Describe(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, found.Info.NextActionTimes)
		at := found.Info.CreatedAt
		for _, next := range found.Info.NextActionTimes {
			at = configured.Next(at)
			require.Equal(t, at, next.UTC(), configured.Name)
			if configured.Name == "drill" {
				require.Equal(t, time.Saturday, next.Weekday())
				require.LessOrEqual(t, next.Day(), 7)
				require.Contains(t, []time.Month{1, 4, 7, 10}, next.Month())
			}
		}
	}
}

// standIn runs stand-ins for the scheduled workflows: a drill that waits for leave to end, a backup of files that fails.
func standIn(t *testing.T, c temporal.Client) {
	t.Helper()
	w := worker.New(c.Client, api.Queue, worker.Options{DisableRegistrationAliasing: true})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		workflow.GetSignalChannel(ctx, "end").Receive(ctx, nil)
		return nil
	}, workflow.RegisterOptions{Name: api.DrillSystem})
	w.RegisterWorkflowWithOptions(func(workflow.Context, api.Input[api.BackupInput]) (api.BackupResult, error) {
		return api.BackupResult{}, temporalfault.ToTemporal(fault.Newf(fault.StorageDenied, "put", "file-backups/x", "no"))
	}, workflow.RegisterOptions{Name: api.BackupFiles})
	w.RegisterWorkflowWithOptions(func(_ workflow.Context, in api.Input[api.BackupInput]) (api.BackupResult, error) {
		given, err := in.Checked(api.BackupCache)
		if err == nil && !given.IfChanged {
			err = errors.New("if_changed is missing")
		}
		return api.BackupResult{Unchanged: []api.Unchanged{{Component: "cache/" + given.Component, Key: "redis-backups/k"}}}, err
	}, workflow.RegisterOptions{Name: api.BackupCache})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
}

func TestTriggerAndBackfillStartRunsAndTheirOutcomeIsTold(t *testing.T) {
	c, s := connect(t), frende(t, timetable)
	standIn(t, c)
	_, err := temporal.Apply(t.Context(), c, s, false)
	require.NoError(t, err)
	ended := func(name string) temporal.Schedule {
		var one temporal.Schedule
		require.Eventually(t, func() bool {
			one = schedule(t, c, s, name)
			return one.Last != nil && one.Last.Status != temporal.RunRunning
		}, time.Minute, 50*time.Millisecond)
		return one
	}

	// A paused schedule can be triggered; the outcome of each kind of end is told.
	require.NoError(t, temporal.Pause(t.Context(), c, s, "cache", "why"))
	triggered, err := temporal.Trigger(t.Context(), c, s, "cache")
	require.NoError(t, err)
	require.Contains(t, triggered.Run.ID, "schedule/frende/cache-20")
	require.Equal(t, "nothing changed since redis-backups/k", ended("cache").Last.Outcome)
	_, err = temporal.Trigger(t.Context(), c, s, "files")
	require.NoError(t, err)
	files := ended("files")
	require.Equal(t, temporal.RunFailed, files.Last.Status)
	require.Equal(t, "StorageDenied: put file-backups/x: store refuses this access: no", files.Last.Outcome)
	require.Equal(t, 1, files.Runs)

	// A second trigger waits for the first run's end, and says so.
	first, err := temporal.Trigger(t.Context(), c, s, "drill")
	require.NoError(t, err)
	require.Equal(t, []string{first.Run.ID}, schedule(t, c, s, "drill").Running)
	second, err := temporal.Trigger(t.Context(), c, s, "drill")
	require.NoError(t, err)
	require.Nil(t, second.Run)
	require.Equal(t, []string{first.Run.ID}, second.After)
	require.NoError(t, c.SignalWorkflow(t.Context(), first.Run.ID, first.Run.RunID, "end", nil))
	require.Eventually(t, func() bool { return schedule(t, c, s, "drill").Runs == 2 }, time.Minute, 50*time.Millisecond)

	// A backfill starts one run for each start that was due, the ends of the range included.
	now := time.Now()
	to := now.UTC().Truncate(24 * time.Hour).Add(-21 * time.Hour) // yesterday, 03:00
	due, err := temporal.Backfill(t.Context(), c, s, "files", to.AddDate(0, 0, -2), to, now)
	require.NoError(t, err)
	require.Equal(t, []time.Time{to.AddDate(0, 0, -2), to.AddDate(0, 0, -1), to}, due)
	require.Eventually(t, func() bool { return schedule(t, c, s, "files").Runs == 4 }, time.Minute, 50*time.Millisecond)
	found, err := c.ScheduleClient().GetHandle(t.Context(), "schedule/frende/files").Describe(t.Context())
	require.NoError(t, err)
	var backfilled []time.Time
	for _, action := range found.Info.RecentActions[1:] {
		backfilled = append(backfilled, action.ScheduleTime.UTC())
	}
	require.Equal(t, due, backfilled)

	for name, refused := range map[string]struct {
		schedule string
		from, to time.Time
		says     string
	}{
		"backwards": {"files", to, to.Add(-time.Hour), "lies before"},
		"future":    {"files", to, now.Add(time.Hour), "lies in the future"},
		"nothing":   {"files", to.Add(time.Minute), to.Add(time.Hour), "no start lies between"},
		"too many":  {"cache", to.AddDate(0, -1, 0), to, "more than 100 starts"},
	} {
		_, err := temporal.Backfill(t.Context(), c, s, refused.schedule, refused.from, refused.to, now)
		require.True(t, fault.Has(err, fault.InputInvalid), name)
		require.ErrorContains(t, err, refused.says, name)
		require.NotEmpty(t, fault.HintOf(err))
	}
	edit(t, c, "schedule/frende/files", func(s *client.Schedule) { s.Spec.Jitter = time.Minute })
	_, err = temporal.Backfill(t.Context(), c, s, "files", to, to, now)
	require.ErrorContains(t, err, "it does not do what lifeboat.yaml says: jitter: 1m instead of none")
}

func TestAnUnknownScheduleNamesThoseThereAre(t *testing.T) {
	c, s := connect(t), frende(t, timetable)
	operations := map[string]func(context.Context, string) error{
		"pause": func(ctx context.Context, name string) error { return temporal.Pause(ctx, c, s, name, "") },
		"resume": func(ctx context.Context, name string) error {
			_, err := temporal.Resume(ctx, c, s, name, "")
			return err
		},
		"trigger": func(ctx context.Context, name string) error { _, err := temporal.Trigger(ctx, c, s, name); return err },
		"backfill": func(ctx context.Context, name string) error {
			_, err := temporal.Backfill(ctx, c, s, name, time.Time{}, time.Time{}, time.Now())
			return err
		},
	}
	for op, do := range operations {
		err := do(t.Context(), "cahce")
		require.True(t, fault.Has(err, fault.ScheduleUnknown), "%v", err)
		require.ErrorContains(t, err, op+" schedule cahce: no such schedule")
		require.Equal(t, "there are: cache, files, drill", fault.HintOf(err))
		err = do(t.Context(), "cache")
		require.True(t, fault.Has(err, fault.ScheduleUnknown), "%v", err)
		require.Equal(t, "apply it first: lifeboat schedule apply", fault.HintOf(err))
	}
}

func TestSkippedAndMissedStartsAreCounted(t *testing.T) {
	server := lab.StartTemporal(t)
	c := connectTo(t, server, nil)
	s := frende(t, "  - {name: drill, workflow: DrillSystem, every: 1m}\n")
	_, err := temporal.Apply(t.Context(), c, s, false)
	require.NoError(t, err)
	// Lifeboat starts nothing more often than each minute: somebody has it start each second, and no worker works.
	edit(t, c, "schedule/frende/drill", func(s *client.Schedule) {
		s.Spec.Intervals[0].Every, s.Policy.CatchupWindow = time.Second, 10*time.Second // the least that Temporal takes
	})
	var drill temporal.Schedule
	require.Eventually(t, func() bool {
		drill = schedule(t, c, s, "drill")
		return drill.Skipped >= 2
	}, time.Minute, 50*time.Millisecond)
	require.Len(t, drill.Running, 1)
	require.Zero(t, drill.Missed)

	// Temporal is down for longer than the catch-up window.
	_, err = server.Kill(t.Context())
	require.NoError(t, err)
	down := time.Now()
	require.Eventually(t, func() bool { return time.Since(down) > 13*time.Second }, time.Minute, 50*time.Millisecond)
	require.NoError(t, server.Start(t.Context()))
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		all, err := temporal.Schedules(ctx, c, s)
		return err == nil && all[0].Missed >= 2
	}, 40*time.Second, 100*time.Millisecond)

	require.NoError(t, c.TerminateWorkflow(t.Context(), drill.Running[0], "", "test"))
	require.NoError(t, temporal.Pause(t.Context(), c, s, "drill", "test"))
}
