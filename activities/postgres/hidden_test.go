package postgres_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	state "github.com/frende/lifeboat/internal/service"
)

// hide makes the server's process what it is to a worker in another PID
// namespace: a number that is nobody's, or somebody else's.
func (h *house) hide(t *testing.T) (show func()) {
	t.Helper()
	path := filepath.Join(h.DataDir, "postmaster.pid")
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	_, rest, found := bytes.Cut(body, []byte("\n"))
	require.True(t, found)
	// In place: it is the server's file, and its owner stays.
	require.NoError(t, os.WriteFile(path, append([]byte("1\n"), rest...), 0o600))
	return func() {
		t.Helper()
		require.NoError(t, os.WriteFile(path, body, 0o600))
	}
}

func TestAServerWhoseProcessCanNotBeSeenIsRefusedBeforeItIsTouched(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	p := h.prepare(t, "recover/1")
	refused := func(err error) {
		t.Helper()
		require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
		require.ErrorContains(t, err, "the server answers, and no process of it in "+h.DataDir+" can be seen")
		require.Contains(t, fault.HintOf(err), "PID namespace")
	}
	show := h.hide(t)
	_, err := do(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: h.ref("recover/2")})
	refused(err)
	_, err = do(t, h.activities.Fence, activities.FenceInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	refused(err)
	_, err = do(t, h.activities.TerminateConnections, activities.TerminateConnectionsInput{Ref: p.ref, Place: p.found.Place})
	refused(err)
	show()
	require.Zero(t, h.service.stops)
	require.Equal(t, "a", h.users(t), "anybody may still log in")

	h.fence(t, &p)
	h.cutOver(t, &p)
	require.Equal(t, "a", h.users(t))
}

func TestAnAbortStartsWhatTheServiceSaidWasRunning(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	p := h.prepare(t, "recover/1")
	must(t, h.activities.Fence, activities.FenceInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	// It has just gone down, and its service is about to start it again.
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	h.service.says = state.Changing
	must(t, h.activities.TerminateConnections, activities.TerminateConnectionsInput{Ref: p.ref, Place: p.found.Place})
	undone := must(t, h.activities.Unfence, activities.UnfenceInput{Ref: p.ref, Place: p.found.Place})
	require.True(t, undone.Started)
	require.Equal(t, "a", h.users(t))
	must(t, h.activities.Discard, activities.DiscardInput{Ref: p.ref, Place: p.found.Place})
	require.Empty(t, h.beside(t))
}
