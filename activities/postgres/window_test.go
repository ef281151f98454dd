package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/wal"
	"github.com/frende/lifeboat/internal/window"
)

// window reads how far back the house's database can be recovered.
func (h *house) window(t *testing.T) (*window.Window, *wal.Archive) {
	t.Helper()
	opened, err := h.at.vault(t.Context(), nil)
	require.NoError(t, err)
	archive, err := wal.New(wal.Config{Vault: opened, Cluster: "frende"})
	require.NoError(t, err)
	w, err := window.Read(t.Context(), window.Config{Vault: opened, Archive: archive, Component: "frende", Now: time.Now})
	require.NoError(t, err)
	return w, archive
}

// named makes a restore point as lifeboat restore-point does.
func (h *house) named(t *testing.T, archive *wal.Archive, systemID, name string) wal.RestorePoint {
	t.Helper()
	login, err := postgres.NewLogin(h.DSN, postgres.LoginOptions{})
	require.NoError(t, err)
	server, err := postgres.Connect(t.Context(), login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	require.NoError(t, archive.CheckRestorePoint(t.Context(), systemID, name))
	made, err := server.CreateRestorePoint(t.Context(), name)
	require.NoError(t, err)
	point := wal.RestorePoint{Name: name, Timeline: made.Timeline, LSN: made.LSN, At: made.At}
	require.NoError(t, archive.KeepRestorePoint(t.Context(), systemID, point))
	return point
}

func TestWindowTellsWhatCanBeRecoveredToOnEachTimeline(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	first := h.backup(t, "backup/1", time.Now().Add(-time.Second))
	w, archive := h.window(t)
	h.add(t, "a")
	point := h.named(t, archive, w.SystemID, "before-migration")
	err := archive.CheckRestorePoint(t.Context(), w.SystemID, "before-migration")
	require.True(t, fault.Has(err, fault.ObjectExists), "%v", err)
	require.Contains(t, fault.HintOf(err), "lifeboat window database")
	err = archive.KeepRestorePoint(t.Context(), w.SystemID, point)
	require.True(t, fault.Has(err, fault.ObjectExists), "%v", err)
	h.add(t, "b")
	last := h.clock(t)
	h.switched(t)
	second := h.backup(t, "backup/2", time.Now())

	w, _ = h.window(t)
	require.Equal(t, uint32(1), w.Timeline)
	require.Len(t, w.Spans, 1)
	span := w.Spans[0]
	require.Equal(t, []string{first.Key, second.Key}, span.Backups)
	require.Equal(t, first.Facts.StopLSN, span.FromLSN)
	require.Equal(t, first.Facts.Finished, span.From)
	require.Empty(t, span.Missing)
	require.False(t, span.To.IsZero())
	require.WithinDuration(t, last, span.To, time.Minute)
	require.Equal(t, "before-migration", w.Points[0].Name)

	p, promoted := h.recoverTo(t, "recover/1", plan.Point{Name: "before-migration"})
	require.Equal(t, point.LSN, p.replayed.LSN)
	require.Equal(t, first.Key, p.found.Key)
	require.Equal(t, "a", h.users(t))
	require.Equal(t, uint32(2), promoted.Timeline)

	h.add(t, "c")
	before := h.clock(t)
	h.add(t, "d")
	h.switched(t)
	w, _ = h.window(t)
	require.Equal(t, uint32(2), w.Timeline)
	require.Len(t, w.Spans, 2)
	require.Equal(t, uint32(2), w.Spans[1].Timeline)
	require.Equal(t, point.LSN, w.Spans[1].FromLSN, "timeline 2 begins where the recovery stood")
	require.Equal(t, w.Timelines[1].Begun, w.Spans[1].From)
	require.False(t, w.Timelines[1].Bound, "the WAL tells when it was begun")
	require.True(t, w.Spans[1].To.After(before), "%s is not after %s", w.Spans[1].To, before)
	require.Equal(t, []string{first.Key}, w.Spans[1].Backups, "the second backup is of what was given up")
}
