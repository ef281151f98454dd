package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

const timetable = `
schedules:
  - {name: cache, workflow: BackupCache, of: sessions, when: first saturday of year at 00:00, if_changed: true}
  - {name: settings, workflow: BackupConfiguration, when: first saturday of year at 00:00}
  - {name: clean-up, workflow: CleanUp, cron: 0 5 * * sun}
`

// scheduled is a schedule as `lifeboat schedule list --json` tells it.
func (h *house) scheduled(t *testing.T, name string) temporal.Schedule {
	t.Helper()
	var all []temporal.Schedule
	require.NoError(t, json.Unmarshal([]byte(h.lifeboat(t, "schedule", "list", "--json").done(t).stdout), &all))
	for _, one := range all {
		if one.Name == name {
			return one
		}
	}
	require.FailNow(t, "no schedule "+name)
	return temporal.Schedule{}
}

// triggered runs a schedule once, to the end.
func (h *house) triggered(t *testing.T, name string) temporal.Started {
	t.Helper()
	runs := h.scheduled(t, name).Runs
	h.lifeboat(t, "schedule", "trigger", name).done(t)
	var now temporal.Schedule
	await(t, "the run of "+name, func() bool {
		now = h.scheduled(t, name)
		return now.Runs > runs && now.Last.Finished != nil
	})
	require.Equal(t, temporal.RunCompleted, now.Last.Status, now.Last.Outcome)
	return *now.Last
}

func (h *house) ofCache(t *testing.T) (found []listed) {
	t.Helper()
	said := h.lifeboat(t, "backups", "list", "--of", "cache/sessions", "--json").done(t)
	require.NoError(t, json.Unmarshal([]byte(said.stdout), &found))
	return found
}

func TestASystemLooksAfterItselfByItsTimetable(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configured(t, func(p *plan) { p.More = timetable })

	t.Run("nothing starts before the timetable is applied", func(t *testing.T) {
		h.lifeboat(t, "schedule", "trigger", "cache").ended(t, fault.ScheduleUnknown, "cache")
		require.Contains(t, h.lifeboat(t, "schedule", "list").done(t).stdout, "cache: starts nothing until: lifeboat schedule apply\n")
		require.Contains(t, h.lifeboat(t, "schedule", "apply", "--dry-run").done(t).stdout, "DRY RUN, nothing was changed: frende: 3 created\n")
		require.Contains(t, h.lifeboat(t, "schedule", "apply").done(t).stdout, "APPLIED frende: 3 created\n")
		require.Contains(t, h.lifeboat(t, "schedule", "apply").done(t).stdout, "APPLIED frende: 3 unchanged\n")
		h.lifeboat(t, "schedule", "pause", "--all", "--reason", "the test starts them").done(t)
		require.True(t, h.scheduled(t, "settings").Paused)
	})
	t.Run("a cache is backed up when it changed and only then", func(t *testing.T) {
		require.Empty(t, h.triggered(t, "cache").Outcome)
		made := h.ofCache(t)
		require.Len(t, made, 1)
		require.Equal(t, "nothing changed since "+made[0].Key, h.triggered(t, "cache").Outcome)
		require.Contains(t, h.lifeboat(t, "backup", "cache", "--if-changed").done(t).stdout, "0 backups, 1 unchanged since the newest\n")
		require.Len(t, h.ofCache(t), 1)
		require.NoError(t, h.cache(t).Set(t.Context(), "one more", "key", 0).Err())
		require.Empty(t, h.triggered(t, "cache").Outcome)
		require.Len(t, h.ofCache(t), 2)
	})
	t.Run("what an ended recovery left is cleaned up, and nothing that may be needed", func(t *testing.T) {
		h.lifeboat(t, "backup", "files").done(t)
		h.lifeboat(t, "recover", "files", "--detach").done(t)
		h.waits(t, "recover/frende/files")
		said := h.lifeboat(t, "cleanup", "--dry-run").done(t).stdout
		require.Contains(t, said, "recover/frende/files/uploads works on it\n", "a recovery that waits for a person is left alone")
		require.Contains(t, said, "DRY RUN, nothing was removed: frende: 0 would go")

		require.NoError(t, h.client.TerminateWorkflow(t.Context(), "recover/frende/files/uploads", "", "by a person in the Web UI"))
		_, err := h.kindOf(t, h.client.GetWorkflow(t.Context(), "recover/frende/files", ""))
		require.Error(t, err, "the recovery has given up")
		left, err := target.Leftovers(h.uploads)
		require.NoError(t, err)
		require.NotEmpty(t, left, "nobody was there to discard it")

		var planned, done api.CleanUpResult
		require.NoError(t, json.Unmarshal([]byte(h.lifeboat(t, "cleanup", "--dry-run", "--json").done(t).stdout), &planned))
		require.Len(t, planned.Removed, 1, "%+v", planned)
		require.Equal(t, api.StagingDirectory, planned.Removed[0].What)
		require.DirExists(t, planned.Removed[0].Subject)
		require.NoError(t, json.Unmarshal([]byte(h.lifeboat(t, "cleanup", "--json").done(t).stdout), &done))
		require.Equal(t, planned.Removed, done.Removed)
		left, err = target.Leftovers(h.uploads)
		require.NoError(t, err)
		require.Empty(t, left, "the lock that it had kept is gone, too")
		h.lifeboat(t, "recover", "files", "--yes-destroy", "frende").done(t)

		said = h.lifeboat(t, "cleanup").done(t).stdout
		require.Contains(t, said, "kept for undo until ")
		old, err := filepath.Glob(h.uploads + ".lifeboat-old-*")
		require.NoError(t, err)
		require.Len(t, old, 1)
		require.Len(t, h.ofCache(t), 2, "finished backups stay")
	})
	t.Run("retention says of everything why it is kept, on record", func(t *testing.T) {
		said := h.lifeboat(t, "retention", "run").done(t).stdout
		require.Regexp(t, `kept      2 backups from redis-backups/.+ to redis-backups/.+ in primary: younger: it ended less than 30d ago\n`, said)
		require.Contains(t, said, "RETENTION APPLIED frende: 0 backups and 0 WAL files removed")
		told := h.lifeboat(t, "report", "retention/frende").done(t).stdout
		require.Contains(t, told, "ApplyRetention")
		require.Contains(t, told, "kept: 2 backups from redis-backups/")

		run, err := h.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: api.Queue}, api.ApplyRetention)
		require.NoError(t, err)
		var result api.RetentionResult
		require.NoError(t, run.Get(t.Context(), &result), "it starts without any input")
		require.Empty(t, result.Removed)
		require.Regexp(t, `kept in primary: it ended less than 30d ago; until 20\d\d-\d\d-\d\d at least\n`, h.lifeboat(t, "backups", "list", "--why").done(t).stdout)
	})
	t.Run("a clean-up is scheduled like everything else", func(t *testing.T) {
		h.triggered(t, "clean-up")
	})
	h.keepsSecrets(t)
}
