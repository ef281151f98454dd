package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/workflows/api"
)

// recovered recovers the whole system, and gives what it was before and is now.
func (h *house) recovered(t *testing.T, id string) (before, after production) {
	t.Helper()
	before = h.look(t)
	run := h.start(t, id, api.RecoverSystem, api.Queue, map[string]string{"yes_destroy": "frende"})
	h.ends(t, run, nil)
	h.ends(t, h.client.GetWorkflow(t.Context(), h.childOf(t, run, api.BackupDatabase), ""), nil)
	return before, h.look(t)
}

// change writes to every component.
func (h *house) change(t *testing.T, mark string) {
	t.Helper()
	h.sql(t, "insert into users select max(id) + 1, $1 from users", mark)
	require.NoError(t, h.cache(t).Set(t.Context(), "mark", mark, 0).Err())
	for _, root := range []string{h.uploads, h.settings} {
		require.NoError(t, h.lab.Write(filepath.Join(root, mark+".txt"), []byte(mark), 0o640))
	}
}

// TestARecoveryIsUndone takes recoveries of a whole system back, as an operator does.
func TestARecoveryIsUndone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.lifeboat(t, "backup", "system").done(t)
	undo := func(t *testing.T, args ...string) outcome {
		t.Helper()
		return h.lifeboat(t, append([]string{"recover", "undo"}, args...)...)
	}
	before := h.look(t)

	t.Run("what is no recovery that replaced something is refused", func(t *testing.T) {
		undo(t, "recover/nothing", "--yes-destroy", "frende").ended(t, fault.RunUnknown, "recover/nothing")
		undo(t, "recover/nothing", "--yes-destroy", "friende").ended(t, fault.InputInvalid, "friende")
		undo(t).ended(t, fault.InputInvalid, "ID")
		undo(t, "first", "--from", "primary").ended(t, fault.InputInvalid, "--from")
		var listed []struct{ ID, Kind string }
		require.NoError(t, json.Unmarshal([]byte(h.lifeboat(t, "report", "--json").done(t).stdout), &listed))
		for _, one := range listed {
			if one.Kind == api.BackupSystem {
				undo(t, one.ID, "--yes-destroy", "frende").ended(t, fault.InputInvalid, one.ID, "BackupSystem")
			}
		}
		h.start(t, "aborted", api.RecoverSystem, api.Queue, struct{}{})
		h.waits(t, "aborted")
		undo(t, "aborted", "--yes-destroy", "frende").ended(t, fault.RecoveryRunning, "aborted")
		h.lifeboat(t, "abort", "aborted").done(t)
		h.lifeboat(t, "watch", "aborted").ended(t, fault.Aborted)
		undo(t, "aborted", "--yes-destroy", "frende").ended(t, fault.TargetRefused, "aborted", "before its cut-over")
		_, err := h.kindOf(t, h.start(t, "undo/by-hand", api.UndoRecovery, api.Queue, struct{}{}))
		require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
		require.Equal(t, before, h.look(t))
	})

	h.change(t, "lost")
	old, _ := h.recovered(t, "first")
	h.change(t, "since")
	now := h.look(t)
	t.Run("one that is called off leaves the recovered system", func(t *testing.T) {
		undo(t, "first", "--detach").done(t)
		require.Contains(t, h.waits(t, "undo/frende").Waiting, "lifeboat approve undo/frende --yes-destroy frende")
		h.lifeboat(t, "recover", "system", "--yes-destroy", "frende").ended(t, fault.RecoveryRunning, "lifeboat watch undo/frende")
		undo(t, "first").ended(t, fault.RecoveryRunning, "undo/frende")
		require.Contains(t, h.lifeboat(t, "cleanup", "--dry-run").done(t).stdout, "holds")
		h.lifeboat(t, "abort", "undo/frende").done(t)
		h.lifeboat(t, "watch", "undo/frende").ended(t, fault.Aborted)
		require.Equal(t, now, h.look(t))
	})
	t.Run("an approved one brings back what was there before", func(t *testing.T) {
		undo(t, "first", "--detach").done(t)
		h.waits(t, "undo/frende")
		h.lifeboat(t, "approve", "undo/frende", "--yes-destroy", "frende").done(t)
		require.Contains(t, h.lifeboat(t, "watch", "undo/frende").done(t).stdout, "UNDONE first in ")
		after := h.look(t)
		require.Equal(t, old.content(), after.content())
		require.Equal(t, old.Access, after.Access, "the fence of the recovery is down")
		require.Equal(t, old.Inodes, after.Inodes, "the very directories")
		require.Equal(t, "false", h.text(t, "select pg_is_in_recovery()::text"))
		require.NotEqual(t, now.PIDs["app"], after.PIDs["app"], "the application was stopped and started again")
		require.Equal(t, now.Scratch, after.Scratch)
		h.keepsOne(t)

		var told report.Run
		require.NoError(t, json.Unmarshal([]byte(h.lifeboat(t, "report", "undo/frende", "--json").done(t).stdout), &told))
		require.Equal(t, report.Succeeded, told.Outcome)
		require.Len(t, told.Notes, 4)
		require.Len(t, told.Approvals, 1)
		require.NotEmpty(t, told.Checks)
		require.Contains(t, h.lifeboat(t, "report", "undo/frende").done(t).stdout, "a recovery of frende undone in ")
		undo(t, "first", "--yes-destroy", "frende").ended(t, fault.TargetRefused, "nothing is kept")
	})
	t.Run("an undo is undone", func(t *testing.T) {
		var result api.UndoResult
		require.NoError(t, json.Unmarshal([]byte(undo(t, "undo/frende", "--yes-destroy", "frende", "--json").done(t).stdout), &result))
		require.Len(t, result.Components, 4)
		after := h.look(t)
		require.Equal(t, now.content(), after.content())
		require.Equal(t, now.Inodes, after.Inodes)
		h.keepsOne(t)
	})
	t.Run("too late is too late", func(t *testing.T) {
		h.configured(t, func(p *plan) { p.More = "targets: [{name: production, kind: production, undo: 1s}]\n" })
		here := h.look(t)
		undo(t, "undo/frende", "--yes-destroy", "frende").ended(t, fault.TargetRefused, "could be undone until")
		require.Equal(t, here, h.look(t))
		h.lifeboat(t, "cleanup").done(t)
		undo(t, "undo/frende", "--yes-destroy", "frende").ended(t, fault.TargetRefused)
	})
	t.Run("the next recovery follows what was put back last", func(t *testing.T) {
		h.change(t, "last")
		h.lifeboat(t, "backup", "system").done(t)
		was := h.look(t)
		_, after := h.recovered(t, "second")
		require.Equal(t, was.content(), after.content())
	})
	h.keepsSecrets(t)
}

// keepsOne wants one old directory with its journal beside each, and no more.
func (h *house) keepsOne(t *testing.T) {
	t.Helper()
	for _, dir := range h.dirs() {
		left, err := target.Leftovers(dir)
		require.NoError(t, err)
		kinds := map[target.LeftoverKind]int{}
		for _, one := range left {
			kinds[one.Kind]++
		}
		require.Equal(t, map[target.LeftoverKind]int{target.LeftoverOld: 1, target.LeftoverJournal: 1}, kinds, "beside %s: %v", dir, left)
	}
}

// TestAKilledWorkersUndoIsFinishedByTheNext kills the worker with SIGKILL at the
// named points of an undo; at the first two, or with make torture at all of them.
func TestAKilledWorkersUndoIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.lifeboat(t, "backup", "system").done(t)
	random := rand.New(rand.NewPCG(1, 2))
	points := []point{
		{"at the renames", api.UndoRecovery, false, func(h *house, s *scene) bool { return !exists(h.postgres.DataDir) || h.swapped(s) }},
		{"after the promotion", api.UndoRecovery, false, func(h *house, s *scene) bool {
			return h.swapped(s) && !exists(filepath.Join(h.postgres.DataDir, "standby.signal"))
		}},
		{"after the fence", api.UndoRecovery, false, func(h *house, s *scene) bool { return !h.swapped(s) && h.fenced(s) }},
		{"after the swap, before the start", api.UndoRecovery, false, (*house).swapped},
	}
	for n, p := range points[:torture.Trials(t, 2, len(points))] {
		t.Run(p.name, func(t *testing.T) {
			h.change(t, fmt.Sprint("lost-", n))
			id := fmt.Sprintf("recovered/%d", n)
			old, _ := h.recovered(t, id)
			h.change(t, fmt.Sprint("since-", n))
			s := &scene{production: h.look(t)}
			run := h.start(t, fmt.Sprintf("undo/%d", n), api.UndoRecovery, api.Queue, map[string]string{"id": id, "yes_destroy": "frende"})
			h.killAt(t, h.worker, p, s, random, false)
			require.NoError(t, h.worker.Start(t.Context()))
			h.ends(t, run, nil)
			h.ends(t, h.client.GetWorkflow(t.Context(), h.childOf(t, run, api.BackupDatabase), ""), nil)
			after := h.look(t)
			require.Equal(t, old.content(), after.content())
			require.Equal(t, old.Access, after.Access)
			require.Equal(t, old.Inodes, after.Inodes)
			require.Empty(t, h.strays(t))
			h.keepsOne(t)
			for _, dir := range h.dirs() {
				left, err := target.Leftovers(dir)
				require.NoError(t, err)
				for _, one := range left {
					require.NoError(t, os.RemoveAll(one.Path))
				}
			}
		})
	}
}
