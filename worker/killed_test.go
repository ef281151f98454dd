package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/workflows/api"
)

// point is a moment at which the worker is killed, told from outside by what
// lies on disk and in the store.
type point struct {
	name    string
	run     string // the workflow's type
	held    bool   // whether WAL is kept from the archive, so that a backup can't end
	reached func(h *house, s *scene) bool
}

// scene is what a trial finds before its run begins.
type scene struct {
	production
	backups map[string]bool // folders of base backups
}

// points are the named ones of row 1. The first ones are tried with every test.
func points() []point {
	backup := func(name string, held bool, reached func(h *house, s *scene) bool) point {
		return point{"backup " + name, api.BackupDatabase, held, reached}
	}
	recovery := func(name string, reached func(h *house, s *scene) bool) point {
		return point{"recovery " + name, api.RecoverSystem, false, reached}
	}
	return []point{
		// Between the renames, or, when the moment was missed, as soon after them as can be.
		recovery("at the renames of the swap", func(h *house, s *scene) bool { return !exists(h.postgres.DataDir) || h.swapped(s) }),
		backup("after its manifest, before the ledger", false, func(h *house, s *scene) bool { return h.newBackup(s, "manifest") }),
		recovery("before the promotion", func(h *house, s *scene) bool { return h.swapped(s) && h.ready() }),
		recovery("in the replay", func(h *house, _ *scene) bool { return h.staged("postmaster.pid") }),
		backup("after its intent", false, func(h *house, s *scene) bool { return h.newBackup(s, "intent") }),
		backup("in mid-stream", true, func(h *house, s *scene) bool { return h.newBackup(s, "chunk/*/*") }),
		backup("before its manifest", true, func(h *house, s *scene) bool {
			return h.newBackup(s, "chunk/*/*") && !h.streams()
		}),
		recovery("in the restore", func(h *house, _ *scene) bool { return h.staged("base/*/*") }),
		recovery("after the fence", func(h *house, s *scene) bool { return !h.swapped(s) && h.fenced(s) }),
		recovery("after the old server's end", func(h *house, s *scene) bool {
			return !h.swapped(s) && !exists(filepath.Join(h.postgres.DataDir, "postmaster.pid"))
		}),
		recovery("after the swap, before the start", (*house).swapped),
		recovery("after the promotion", func(h *house, s *scene) bool {
			return h.swapped(s) && !exists(filepath.Join(h.postgres.DataDir, "standby.signal"))
		}),
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func matches(pattern string) bool {
	found, err := filepath.Glob(pattern)
	return err == nil && len(found) > 0
}

// newBackup says whether a backup of this scene's run has such an object.
func (h *house) newBackup(s *scene, object string) bool {
	for folder := range h.baseBackups() {
		if !s.backups[folder] && matches(filepath.Join(folder, object)) {
			return true
		}
	}
	return false
}

func (h *house) baseBackups() map[string]bool {
	folders, err := filepath.Glob(filepath.Join(h.s3.Dir, bucket, "database-backups", "*", "*", "*", "*.base"))
	found := map[string]bool{}
	for _, folder := range folders {
		found[folder] = err == nil
	}
	return found
}

// streams says whether the server has a client that takes a base backup.
func (h *house) streams() bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, h.dsn)
	if err != nil {
		return true
	}
	var senders int
	err = conn.QueryRow(ctx, "select count(*) from pg_stat_progress_basebackup").Scan(&senders)
	return errors.Join(err, conn.Close(ctx)) != nil || senders > 0
}

func (h *house) staged(object string) bool {
	return matches(filepath.Join(h.postgres.DataDir+".lifeboat-new-*", object))
}

// swapped says whether the data directory is another one than before.
func (h *house) swapped(s *scene) bool {
	info, err := os.Stat(h.postgres.DataDir)
	return err == nil && info.Sys().(*syscall.Stat_t).Ino != s.Inodes[h.postgres.DataDir]
}

func (h *house) fenced(s *scene) bool {
	access, err := os.ReadFile(filepath.Join(h.postgres.DataDir, "pg_hba.conf"))
	return err == nil && string(access) != s.Access
}

// ready says whether the server says of itself that it takes connections.
func (h *house) ready() bool {
	status, err := os.ReadFile(filepath.Join(h.postgres.DataDir, "postmaster.pid"))
	return err == nil && strings.Contains(string(status), "ready")
}

// TestKilledWorkerIsSucceededByOneThatFinishesItsRun is row 1 of the reliability
// table: `kill -9` at named points, and, from the second time on that a point is
// tried, often a little later.
func TestKilledWorkerIsSucceededByOneThatFinishesItsRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.lifeboat(t, "backup", "system").done(t)
	all, written := points(), 1000
	torture.Row(t, 1, 3, 300, func(t *testing.T, n int, random *rand.Rand) {
		p := all[n%len(all)]
		written += 10
		h.sql(t, "insert into users select n, md5(n::text) from generate_series($1::int - 9, $1) n", written)
		s := &scene{production: h.look(t), backups: h.baseBackups()}
		if p.held {
			require.NoError(t, h.lab.Write(h.hold(), nil, 0o644))
		}
		run := h.start(t, fmt.Sprintf("killed/%d", n), p.run, api.Queue, input(p.run))
		h.killAt(t, h.worker, p, s, random, n >= len(all))
		if p.held {
			require.NoError(t, os.Remove(h.hold()))
		}
		require.NoError(t, h.worker.Start(t.Context()))
		if p.run == api.BackupDatabase {
			h.isBackedUpOnce(t, run, s)
		} else {
			h.isRecoveredOnce(t, run, s)
		}
	})
	h.keepsSecrets(t)
}

// TestARecoveryOutlivesTheTemporalServer is row 22 of the reliability table:
// `kill -9` of the Temporal server at named points of a recovery. Every step is
// completed once, also one whose result had to wait for the server.
func TestARecoveryOutlivesTheTemporalServer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.lifeboat(t, "backup", "system").done(t)
	all := slices.DeleteFunc(points(), func(p point) bool { return p.run != api.RecoverSystem })
	torture.Row(t, 22, 2, 50, func(t *testing.T, n int, random *rand.Rand) {
		s := &scene{production: h.look(t), backups: h.baseBackups()}
		run := h.start(t, fmt.Sprintf("survived/%d", n), api.RecoverSystem, api.Queue, input(api.RecoverSystem))
		h.killAt(t, h.temporal.Service, all[n%len(all)], s, random, n >= len(all))
		require.NoError(t, h.temporal.Start(t.Context()))
		h.isRecoveredOnce(t, run, s)
		h.completedOnce(t, run)
	})
}

// completedOnce wants each step of a run and of its children to have one result.
func (h *house) completedOnce(t *testing.T, run client.WorkflowRun) {
	t.Helper()
	results := map[string]int{}
	scheduled := map[int64]string{}
	events := h.client.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(t, err)
		if child := event.GetChildWorkflowExecutionStartedEventAttributes().GetWorkflowExecution(); child != nil {
			h.completedOnce(t, h.client.GetWorkflow(t.Context(), child.GetWorkflowId(), child.GetRunId()))
		}
		if step := event.GetActivityTaskScheduledEventAttributes(); step != nil {
			scheduled[event.GetEventId()] = step.GetActivityId()
			results[step.GetActivityId()] += 0
		}
		if done := event.GetActivityTaskCompletedEventAttributes(); done != nil {
			results[scheduled[done.GetScheduledEventId()]]++
		}
	}
	for step, count := range results {
		require.Equal(t, 1, count, "%s of %s", step, run.GetID())
	}
}

func input(run string) map[string]string {
	if run == api.BackupDatabase {
		return map[string]string{}
	}
	return map[string]string{"yes_destroy": "frende"}
}

// killAt waits for the point and kills the server: alone, as the kernel does, or
// with everything that it has started; later, by up to half a second, if it may.
func (h *house) killAt(t *testing.T, server *lab.Service, p point, s *scene, random *rand.Rand, later bool) {
	t.Helper()
	pid, err := server.PID()
	require.NoError(t, err)
	require.NotZero(t, pid)
	alone, delay := random.IntN(2) == 0, time.Duration(0)
	if later && random.IntN(2) == 0 {
		delay = time.Duration(random.Int64N(int64(500 * time.Millisecond)))
	}
	waiting, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !p.reached(h, s) { // without a pause: some points pass within a millisecond
		require.NoError(t, waiting.Err(), "waited in vain for the point %q", p.name)
	}
	if delay > 0 {
		<-time.After(delay)
	}
	if alone {
		err = syscall.Kill(pid, syscall.SIGKILL)
	} else {
		err = syscall.Kill(pid, syscall.SIGSTOP) // goes no further while what it started is looked up
	}
	inPlace := exists(h.postgres.DataDir)
	require.NoError(t, err)
	_, err = server.Kill(t.Context())
	require.NoError(t, err)
	t.Logf("killed "+server.Name()+": %s (%v later, alone: %v); the data directory is in place: %v", p.name, delay, alone, inPlace)
}

// ends wants the run to succeed.
func (h *house) ends(t *testing.T, run client.WorkflowRun, result any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	require.NoError(t, run.Get(ctx, result), "%s", run.GetID())
}

func (h *house) isBackedUpOnce(t *testing.T, run client.WorkflowRun, s *scene) {
	t.Helper()
	var made api.BackupResult
	h.ends(t, run, &made)
	require.Len(t, made.Backups, 1)
	require.Len(t, h.manifests(t, made.Backups[0].Key), 1)
	require.Len(t, h.baseBackups(), len(s.backups)+1)
	h.lifeboat(t, "backups", "show", made.Backups[0].Key).done(t)
	require.Equal(t, s.production, h.look(t))
}

func (h *house) isRecoveredOnce(t *testing.T, run client.WorkflowRun, s *scene) {
	t.Helper()
	h.ends(t, run, nil)
	h.ends(t, h.client.GetWorkflow(t.Context(), h.childOf(t, run, api.BackupDatabase), ""), nil)
	require.Len(t, h.baseBackups(), len(s.backups)+1, "one backup of the new timeline")
	after := h.look(t)
	require.Equal(t, s.content(), after.content())
	require.Equal(t, s.Access, after.Access, "the fence is down")
	require.Equal(t, "false", h.text(t, "select pg_is_in_recovery()::text"))
	require.Equal(t, s.Scratch, after.Scratch)
	require.Empty(t, h.strays(t))
	for _, dir := range h.dirs() {
		require.NotEqual(t, s.Inodes[dir], after.Inodes[dir])
		left, err := target.Leftovers(dir)
		require.NoError(t, err)
		kinds := map[target.LeftoverKind]int{}
		for _, one := range left {
			kinds[one.Kind]++
			require.NoError(t, os.RemoveAll(one.Path)) // hundreds of trials share a disk
		}
		require.Equal(t, map[target.LeftoverKind]int{target.LeftoverOld: 1, target.LeftoverJournal: 1}, kinds, "beside %s", dir)
	}
}

// childOf finds the one child of a type that a run has started.
func (h *house) childOf(t *testing.T, run client.WorkflowRun, kind string) string {
	t.Helper()
	var found []string
	events := h.client.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(t, err)
		if started := event.GetChildWorkflowExecutionStartedEventAttributes(); started.GetWorkflowType().GetName() == kind {
			found = append(found, started.GetWorkflowExecution().GetWorkflowId())
		}
	}
	require.Len(t, found, 1)
	return found[0]
}

// strays are servers that still run on what was staged or moved aside.
func (h *house) strays(t *testing.T) (found []string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(line), h.lab.Dir) { // ended meanwhile, or another test's
			continue
		}
		if strings.Contains(string(line), ".lifeboat-new-") || strings.Contains(string(line), ".lifeboat-look-") || strings.Contains(string(line), ".lifeboat-old-") {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
