package postgres_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
)

// behind is a recovery that stands right before the swap, of a server that died.
func behind(t *testing.T) (*house, prepared, activities.CutOverInput) {
	t.Helper()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	h.exec(t, "INSERT INTO users VALUES ('b')")
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	p := h.prepare(t, "recover/1")
	h.fence(t, &p)
	return h, p, activities.CutOverInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts, LSN: p.replayed.LSN, Timeline: p.replayed.Timeline}
}

// revive does what a cluster manager does that knows nothing of the recovery: it
// writes its own client authentication, starts the old server, and people write.
func (h *house) revive(t *testing.T, statements ...string) {
	t.Helper()
	hba := filepath.Join(h.DataDir, "pg_hba.conf")
	require.NoError(t, os.Rename(hba+".lifeboat-original", hba))
	require.NoError(t, h.Start(t.Context()))
	h.exec(t, statements...)
}

func TestCommitsOnAnOldServerThatSomebodyStartedAgainAreBroughtOver(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(t *testing.T, h *house){
		"it still runs": func(*testing.T, *house) {},
		"it was killed": func(t *testing.T, h *house) { _, err := h.Kill(t.Context()); require.NoError(t, err) },
		"it was stopped": func(t *testing.T, h *house) {
			require.NoError(t, h.Stop(t.Context()))
		},
	} {
		t.Run(what, func(t *testing.T) {
			h, p, in := behind(t)
			h.revive(t, "INSERT INTO users VALUES ('c')")
			end(t, h)
			cut, _ := h.cutOver(t, &p)
			require.NotNil(t, cut.Replayed)
			require.Greater(t, cut.Replayed.LSN, in.LSN)
			require.NotNil(t, cut.Replayed.Committed)
			require.Equal(t, "a b c", h.users(t))
		})
	}
	t.Run("after an attempt that had handed the staged server over", func(t *testing.T) {
		h, p, in := behind(t)
		require.NoError(t, h.s3.Stop(t.Context()))
		_, err := do(t, h.activities.CutOver, in)
		require.True(t, fault.Has(err, fault.StorageUnavailable), "%v", err)
		require.NoError(t, h.s3.Start(t.Context()))
		h.revive(t, "INSERT INTO users VALUES ('c')")
		h.cutOver(t, &p)
		require.Equal(t, "a b c", h.users(t))
	})
	t.Run("nobody did", func(t *testing.T) {
		h, p, _ := behind(t)
		cut, _ := h.cutOver(t, &p)
		require.Nil(t, cut.Replayed)
		require.Equal(t, "a b", h.users(t))
	})
}

func TestAServerThatHangsIsFencedForWhenItAnswersAgain(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	p := h.prepare(t, "recover/1")
	h.exec(t, "INSERT INTO users VALUES ('b')")
	body, err := os.ReadFile(filepath.Join(h.DataDir, "postmaster.pid"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.Fields(string(body))[0])
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	fenced, err := do(t, h.activities.Fence, activities.FenceInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	require.NoError(t, errors.Join(err, syscall.Kill(pid, syscall.SIGCONT)))
	require.Equal(t, activities.LiveRunning, fenced.Live)
	require.True(t, fenced.Fenced, "%s", fenced.Note)
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), h.DSN)
		if err == nil {
			_ = conn.Close(t.Context())
		}
		return err != nil && strings.Contains(err.Error(), "pg_hba.conf")
	}, time.Minute, 20*time.Millisecond)

	ended := must(t, h.activities.TerminateConnections, activities.TerminateConnectionsInput{Ref: p.ref, Place: p.found.Place})
	require.Contains(t, ended.Note, "it was stopped")
	must(t, h.activities.SalvageWAL, activities.SalvageWALInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	p.replayed = must(t, h.activities.ReplayFinal, activities.ReplayInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	h.cutOver(t, &p)
	require.Equal(t, "a b", h.users(t))
}

func TestWritesThatCantBeBroughtOverStopTheSwap(t *testing.T) {
	t.Parallel()
	h, _, in := behind(t)
	h.revive(t, "INSERT INTO users VALUES ('c')", "CHECKPOINT")
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	segments, err := filepath.Glob(filepath.Join(h.DataDir, "pg_wal", "0000*"))
	require.NoError(t, err)
	for _, segment := range segments {
		require.NoError(t, os.Remove(segment))
	}
	inode, err := os.Stat(h.DataDir)
	require.NoError(t, err)
	for range 2 {
		_, err = do(t, h.activities.CutOver, in)
		require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
		require.ErrorContains(t, err, "the old server was started again")
		require.Contains(t, fault.HintOf(err), "move "+h.DataDir+" away")
	}
	now, err := os.Stat(h.DataDir)
	require.NoError(t, err)
	require.True(t, os.SameFile(inode, now), "nothing was renamed")

	// A person decides that it is lost.
	require.NoError(t, os.Rename(h.DataDir, h.DataDir+".given-up"))
	must(t, h.activities.CutOver, in)
	require.Equal(t, "a b", h.users(t))
}
