package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/doctor"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/workflows/api"
)

// TestOperatorsDecideWhatARecoveryDoesToALivingSystem follows one system through
// its operators' decisions: a recovery that waits, others that want to begin
// meanwhile, an abort, and at last an approval while people still write.
func TestOperatorsDecideWhatARecoveryDoesToALivingSystem(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.backupIsInterrupted(t)
	t.Run("doctor finds nothing wrong with it, and says what could be better", func(t *testing.T) {
		said := h.lifeboat(t, "doctor").done(t).stdout
		require.Contains(t, said, "WARNING  configuration/frende/replica\n")
		require.Contains(t, said, ", 0 problems, 0 not examined, in ")
		require.NotContains(t, said, "PROBLEM")
		var report doctor.Report
		require.NoError(t, json.Unmarshal([]byte(h.lifeboat(t, "doctor", "--json", "--only", "temporal,backups").done(t).stdout), &report))
		require.True(t, report.Healthy())
		require.Contains(t, fmt.Sprint(report.Findings), "served by lifeboat-worker@")
	})
	before := h.look(t)

	t.Run("a recovery without approval waits and touches nothing", func(t *testing.T) {
		h.start(t, "by-hand", api.RecoverSystem, api.Queue, struct{}{})
		p := h.waits(t, "by-hand")
		require.Contains(t, p.Waiting, "lifeboat approve by-hand --yes-destroy frende")
		now := h.look(t)
		require.NotEmpty(t, now.Leftover, "everything is restored beside")
		now.Leftover, now.Beside, now.Scratch = before.Leftover, before.Beside, before.Scratch
		require.Equal(t, before, now)
	})
	t.Run("a second recovery is refused while one runs", func(t *testing.T) {
		first := h.look(t)
		_, err := h.kindOf(t, h.start(t, "another", api.RecoverSystem, api.Queue, map[string]string{"yes_destroy": "frende"}))
		require.True(t, fault.Has(err, fault.RecoveryRunning), "%v", err)
		h.lifeboat(t, "watch", "another").ended(t, fault.RecoveryRunning)
		h.lifeboat(t, "recover", "system", "--yes-destroy", "frende").ended(t, fault.RecoveryRunning)
		h.lifeboat(t, "recover", "database", "frende", "--yes-destroy", "frende").ended(t, fault.RecoveryRunning, "database/frende")
		require.Equal(t, api.PhaseWaiting, h.progress(t, "by-hand").Phase)
		require.Equal(t, first, h.look(t), "the first one was not disturbed")
	})
	t.Run("a wrong approval opens nothing", func(t *testing.T) {
		h.lifeboat(t, "approve", "by-hand", "--yes-destroy", "friende").ended(t, fault.InputInvalid, "friende")
		h.lifeboat(t, "approve", "by-hand").ended(t, fault.InputInvalid, "by-hand")
		h.lifeboat(t, "approve", "recover/nothing", "--yes-destroy", "frende").ended(t, fault.RunUnknown, "recover/nothing")
		require.Equal(t, api.PhaseWaiting, h.progress(t, "by-hand").Phase)
	})
	t.Run("an abort leaves everything as it was", func(t *testing.T) {
		h.lifeboat(t, "abort", "by-hand", "--reason", "the server came back").done(t)
		h.lifeboat(t, "watch", "by-hand").ended(t, fault.Aborted, "frende")
		require.Equal(t, before, h.look(t))
	})
	t.Run("a recovery of another part would restart the services of the first, and is refused", func(t *testing.T) {
		h.start(t, "recover/frende/database", api.RecoverDatabase, api.Queue, struct{}{})
		h.waits(t, "recover/frende/database")
		first := h.look(t)
		h.lifeboat(t, "recover", "cache", "sessions", "--yes-destroy", "frende").ended(t, fault.RecoveryRunning, "cache/sessions", "lifeboat watch recover/frende/database;")
		h.lifeboat(t, "recover", "files", "--yes-destroy", "frende").ended(t, fault.RecoveryRunning, "files/uploads")
		require.Equal(t, first, h.look(t), "nothing was touched")
		h.lifeboat(t, "abort", "recover/frende/database").done(t)
		h.lifeboat(t, "watch", "recover/frende/database").ended(t, fault.Aborted)
		require.Equal(t, before, h.look(t))
	})
	for what, end := range map[string]func(id string) error{
		"cancelled": func(id string) error { return h.client.CancelWorkflow(t.Context(), id, "") },
		"terminated": func(id string) error {
			return h.client.TerminateWorkflow(t.Context(), id, "", "by a person in the Web UI")
		},
	} {
		t.Run("a recovery that is "+what+" in Temporal cleans up after itself", func(t *testing.T) {
			h.start(t, what, api.RecoverSystem, api.Queue, struct{}{})
			children := h.waits(t, what).Children
			require.NotEmpty(t, h.look(t).Leftover)
			require.NoError(t, end(what))
			for _, child := range children {
				_, err := h.kindOf(t, h.client.GetWorkflow(t.Context(), child, ""))
				require.Error(t, err, "%s has ended", child)
			}
			_, err := h.kindOf(t, h.client.GetWorkflow(t.Context(), what, ""))
			require.Error(t, err, "%s has ended", what)
			h.unheld(t)
			require.Equal(t, before, h.look(t))
		})
	}
	t.Run("a failure behind the fence gives the old system back", func(t *testing.T) {
		h.configured(t, func(p *plan) { p.Minimum = 1_000_000 })
		h.lifeboat(t, "recover", "system", "--yes-destroy", "frende").ended(t, fault.VerificationFailed, "users")
		now := h.look(t)
		require.NotEqual(t, before.PIDs["postgres"], now.PIDs["postgres"], "the old server was stopped for its last WAL, and started again")
		now.PIDs = before.PIDs
		require.Equal(t, before, now)
	})
	t.Run("an approved one replaces a living system and loses nothing", h.replaced)
	t.Run("every run is told from the ledger", h.told)
	t.Run("a table that somebody dropped comes back from a dump", h.dumped)
	h.keepsSecrets(t)
}

// replaced recovers the living system while somebody writes.
func (h *house) replaced(t *testing.T) {
	h.start(t, "approved", api.RecoverSystem, api.Queue, struct{}{})
	h.waits(t, "approved")
	before := h.look(t)
	writing, stop := context.WithCancel(t.Context())
	defer stop()
	acknowledged := make(chan int, 1)
	started := make(chan struct{})
	go func() { acknowledged <- h.writeUntilFenced(writing, started) }()
	<-started
	h.lifeboat(t, "approve", "approved", "--yes-destroy", "frende").done(t)
	require.Contains(t, h.lifeboat(t, "watch", "approved").done(t).stdout, "recovered")
	last := <-acknowledged
	require.Positive(t, last)

	after := h.look(t)
	survivors, err := strconv.Atoi(h.text(t, "select count(*)::text from written"))
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(survivors), h.text(t, "select max(id)::text from written"), "without a gap")
	require.Contains(t, []int{last, last + 1}, survivors, "what was acknowledged is there, and at most the one commit whose answer the fence cut off")
	require.Equal(t, before.content(), after.content())
	require.Equal(t, before.Access, after.Access, "the fence is down")
	require.Equal(t, "false", h.text(t, "select pg_is_in_recovery()::text"))
	require.Empty(t, after.Scratch)
	for _, dir := range h.dirs() {
		require.NotEqual(t, before.Inodes[dir], after.Inodes[dir])
		left, err := target.Leftovers(dir)
		require.NoError(t, err)
		var old []string
		for _, one := range left {
			require.NotEqual(t, target.LeftoverStaging, one.Kind, one.Path)
			require.NotEqual(t, target.LeftoverLock, one.Kind, one.Path)
			if one.Kind == target.LeftoverOld {
				old = append(old, one.Path)
			}
		}
		require.Len(t, old, 1, "the old directory of %s is kept", dir)
	}
	require.NotEqual(t, before.PIDs["app"], after.PIDs["app"], "the application was stopped and started again")
	require.Contains(t, h.lifeboat(t, "report", "approved").done(t).stdout, "database/frende")
}

// told wants a record of each run that people began, and of none that another run
// tells: the interrupted backup and the whole one, the recovery that was aborted
// and the one that was approved.
func (h *house) told(t *testing.T) {
	var listed []struct{ ID, Kind, Outcome string }
	require.NoError(t, json.Unmarshal([]byte(h.lifeboat(t, "report", "--json").done(t).stdout), &listed))
	runs := map[string][]string{}
	kinds := map[string]int{}
	for _, run := range listed {
		runs[run.ID] = append(runs[run.ID], run.Outcome)
		kinds[run.Kind]++
	}
	require.Equal(t, []string{"succeeded"}, runs["approved"])
	require.Equal(t, []string{"aborted"}, runs["by-hand"])
	require.Empty(t, runs["another"], "a run that was refused did nothing to tell of")
	require.Equal(t, []string{"aborted"}, runs["cancelled"])
	require.Equal(t, 1, kinds[api.BackupSystem])
	require.Zero(t, kinds[api.BackupFiles]+kinds[api.BackupCache]+kinds[api.BackupConfiguration], "parts are told by the whole")

	var interrupted, whole report.Run
	for _, one := range listed {
		told := map[string]*report.Run{api.BackupDatabase: &interrupted, api.BackupSystem: &whole}[one.Kind]
		if told != nil { // the list is newest first: the oldest of a kind stays
			*told = report.Run{}
			require.NoError(t, json.Unmarshal([]byte(h.lifeboat(t, "report", one.ID, "--json").done(t).stdout), told))
		}
	}
	attempts := map[string]int{}
	for _, step := range append(slices.Clone(interrupted.Steps), whole.Steps...) {
		attempts[step.ID] = max(attempts[step.ID], step.Attempts)
	}
	require.Greater(t, attempts["database/frende/base-backup"], 1, "the worker was killed in the middle of it")
	require.Len(t, whole.Backups, 4)
	for _, step := range []string{"files/uploads/capture", "cache/sessions/read-back", "configuration/frende/record"} {
		require.Equal(t, 1, attempts[step], "the attempts are read from the histories of the parts: %s", step)
	}

	page := h.lifeboat(t, "report", "approved", "--html").done(t).stdout
	require.Contains(t, page, "<h1>frende recovered in ")
	require.Contains(t, page, `class="waited"`)
	require.Contains(t, page, "on the critical path")
}

// writeUntilFenced commits rows one by one until the server lets it no longer,
// and gives the number of the last one that was acknowledged.
func (h *house) writeUntilFenced(ctx context.Context, started chan<- struct{}) int {
	begun := sync.OnceFunc(func() { close(started) })
	defer begun()
	conn, err := pgx.Connect(ctx, h.dsn)
	if err != nil {
		return -1
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it is fenced by then
	if _, err := conn.Exec(ctx, "create table written (id int primary key)"); err != nil {
		return -1
	}
	for id := 1; ; id++ {
		if _, err := conn.Exec(ctx, "insert into written values ($1)", id); err != nil {
			return id - 1
		}
		if id == 100 {
			begun()
		}
	}
}
