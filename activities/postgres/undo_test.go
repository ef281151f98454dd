package postgres_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/wal"
)

// undoing is one undo of a recovery.
type undoing struct {
	ref   activities.Ref
	of    string
	found activities.UndoPreflightResult
}

func (h *house) undo(t *testing.T, of, run string) undoing {
	t.Helper()
	u := undoing{ref: h.ref(run), of: of}
	u.found = must(t, h.activities.UndoPreflight, activities.UndoPreflightInput{Ref: u.ref, Of: of})
	require.Equal(t, u.found, must(t, h.activities.UndoPreflight, activities.UndoPreflightInput{Ref: u.ref, Of: of}))
	return u
}

func (h *house) endRecovered(t *testing.T, u undoing) {
	t.Helper()
	must(t, h.activities.Fence, activities.FenceInput{Ref: u.ref, Place: u.found.Place, Facts: activities.Facts{SystemID: u.found.SystemID}})
	must(t, h.activities.TerminateConnections, activities.TerminateConnectionsInput{Ref: u.ref, Place: u.found.Place})
}

func (u undoing) cutOver() activities.UndoCutOverInput {
	return activities.UndoCutOverInput{
		Ref: u.ref, Of: u.of, Place: u.found.Place, SystemID: u.found.SystemID, SegmentSize: u.found.SegmentSize, Timeline: u.found.Timeline, LSN: u.found.LSN,
	}
}

func (h *house) putBack(t *testing.T, u undoing) (activities.UndoCutOverResult, activities.PromoteResult) {
	t.Helper()
	h.endRecovered(t, u)
	cut := must(t, h.activities.UndoCutOver, u.cutOver())
	require.Equal(t, cut, must(t, h.activities.UndoCutOver, u.cutOver()), "a second attempt finds it done")
	in := activities.PromoteInput{Ref: u.ref, Place: u.found.Place, Timeline: u.found.Timeline}
	promoted := must(t, h.activities.Promote, in)
	require.Equal(t, promoted.Timeline, must(t, h.activities.Promote, in).Timeline)
	require.NoDirExists(t, u.found.Place.Run)
	require.NoFileExists(t, h.DataDir+".lifeboat-lock")
	return cut, promoted
}

func (h *house) archive(t *testing.T) *wal.Archive {
	t.Helper()
	opened, err := h.at.vault(t.Context(), nil)
	require.NoError(t, err)
	archive, err := wal.New(wal.Config{Vault: opened, Cluster: "frende"})
	require.NoError(t, err)
	return archive
}

func TestAnUndoneRecoveryIsNotWhatTheNextOneFollows(t *testing.T) {
	t.Parallel()
	h := build(t)
	space, err := h.lab.Folder("space")
	require.NoError(t, err)
	h.exec(t, "CREATE TABLESPACE big LOCATION '"+space+"'", "CREATE TABLE users (name text) TABLESPACE big", "INSERT INTO users VALUES ('a-before')",
		"CREATE ROLE app LOGIN SUPERUSER PASSWORD 'app'")
	h.backup(t, "backup/1", time.Now())
	p := h.prepare(t, "recover/1")
	h.exec(t, "INSERT INTO users VALUES ('b-during')")
	h.fence(t, &p)
	cut, promoted := h.cutOver(t, &p)
	require.Equal(t, uint32(2), promoted.Timeline)
	h.exec(t, "INSERT INTO users VALUES ('c-recovered')")
	h.switched(t)
	left := h.backup(t, "backup/2", time.Now().Add(time.Second))
	require.Equal(t, uint32(2), left.Facts.Timeline)

	u := h.undo(t, "recover/1", "undo/1")
	require.Equal(t, activities.LiveRunning, u.found.Live)
	require.Equal(t, uint32(1), u.found.Timeline)
	undone, promoted := h.putBack(t, u)
	require.Len(t, undone.Kept, 2)
	require.Equal(t, uint32(3), promoted.Timeline, "newer than what was undone")
	require.Equal(t, "a-before b-during", h.users(t))
	for _, old := range cut.Old {
		require.NoDirExists(t, old)
	}
	conn, err := pgx.Connect(t.Context(), strings.Replace(h.DSN, "postgres:"+h.Password, "app:app", 1))
	require.NoError(t, err, "others may log in: the fence of the recovery is gone")
	require.NoError(t, conn.Close(t.Context()))

	// It archives again, and the recovered server may not.
	h.exec(t, "INSERT INTO users VALUES ('d-after')")
	h.switched(t)
	kept := target.Aside(h.DataDir, "undo/1")
	err = h.archive(t).Push(t.Context(), filepath.Join(kept, "pg_wal", "00000002.history"), wal.PushOptions{DataDir: kept})
	require.True(t, fault.Has(err, fault.WALHeld), "%v", err)

	_, err = h.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(h.DataDir))
	next := h.prepare(t, "recover/2")
	require.NotEqual(t, left.Key, next.found.Key, "that backup is of the timeline which was undone")
	require.Equal(t, uint32(3), next.replayed.Timeline)
	h.fence(t, &next)
	h.cutOver(t, &next)
	require.Equal(t, "a-before b-during d-after", h.users(t))
}

func TestAnOldServerThatWasKilledComesBack(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	h.exec(t, "INSERT INTO users VALUES ('b')")
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	p := h.prepare(t, "recover/1")
	h.fence(t, &p)
	h.cutOver(t, &p)
	h.exec(t, "INSERT INTO users VALUES ('c')")
	_, promoted := h.putBack(t, h.undo(t, "recover/1", "undo/1"))
	require.Equal(t, uint32(3), promoted.Timeline)
	require.Equal(t, "a b", h.users(t))
	h.exec(t, "INSERT INTO users VALUES ('d')")
	h.switched(t)

	// The undo is undone: what the recovered server held is served again.
	u := h.undo(t, "undo/1", "undo/2")
	require.Equal(t, uint32(2), u.found.Timeline)
	_, promoted = h.putBack(t, u)
	require.Equal(t, uint32(4), promoted.Timeline)
	require.Equal(t, "a b c", h.users(t))
	h.switched(t)
}

// The worker was killed between the two renames: the data directory is at neither place.
func TestAnUndoThatWasCutOffBetweenItsRenamesGoesOn(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	h.exec(t, "INSERT INTO users VALUES ('b')")
	p := h.prepare(t, "recover/1")
	h.fence(t, &p)
	h.cutOver(t, &p)
	h.exec(t, "INSERT INTO users VALUES ('c')")

	u := h.undo(t, "recover/1", "undo/1")
	h.endRecovered(t, u)
	cut := must(t, h.activities.UndoCutOver, u.cutOver())
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.Rename(u.found.Place.Live, u.found.Place.Staging))
	require.Equal(t, cut.Kept, must(t, h.activities.UndoCutOver, u.cutOver()).Kept)
	promoted := must(t, h.activities.Promote, activities.PromoteInput{Ref: u.ref, Place: u.found.Place, Timeline: u.found.Timeline})
	require.Equal(t, uint32(3), promoted.Timeline)
	require.Equal(t, "a b", h.users(t))
}

func TestAnUndoThatIsCalledOffLeavesTheRecoveredServer(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	p := h.prepare(t, "recover/1")
	h.fence(t, &p)
	cut, _ := h.cutOver(t, &p)
	before := h.beside(t)
	u := h.undo(t, "recover/1", "undo/1")
	h.endRecovered(t, u)
	running, err := h.Running()
	require.NoError(t, err)
	require.False(t, running)
	for range 2 {
		must(t, h.activities.Discard, activities.DiscardInput{Ref: u.ref, Place: u.found.Place})
		require.Equal(t, before, h.beside(t))
	}
	h.exec(t, "INSERT INTO users VALUES ('b')")
	require.Equal(t, "a b", h.users(t))
	require.DirExists(t, cut.Old[0])
}

func TestAnUndoIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	refused := func(why string) {
		t.Helper()
		before := h.beside(t)
		_, err := do(t, h.activities.UndoPreflight, activities.UndoPreflightInput{Ref: h.ref("undo/1"), Of: "recover/1"})
		require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
		require.ErrorContains(t, err, why)
		require.Equal(t, before, h.beside(t))
	}
	refused("nothing is kept of run recover/1")
	p := h.prepare(t, "recover/1")
	refused("nothing is kept of run recover/1")
	h.fence(t, &p)
	h.cutOver(t, &p)
	old := target.Aside(h.DataDir, "recover/1")

	hba := filepath.Join(old, "pg_hba.conf")
	require.NoError(t, os.Rename(hba+".lifeboat-original", hba+".elsewhere"))
	refused("its original is gone")
	require.NoError(t, os.Rename(hba+".elsewhere", hba+".lifeboat-original"))

	history := filepath.Join(h.DataDir, "pg_wal", "00000002.history")
	h.switched(t)
	require.NoError(t, os.Rename(history, history+".elsewhere"))
	archived := glob(t, h.s3.Dir, "backups/wal/frende/*/00000002/00000002.history")
	require.NoError(t, os.Rename(archived, archived+".elsewhere"))
	_, err := do(t, h.activities.UndoPreflight, activities.UndoPreflightInput{Ref: h.ref("undo/1"), Of: "recover/1"})
	require.Error(t, err, "nobody knows where timeline 2 was forked off")
	require.NoError(t, os.Rename(archived+".elsewhere", archived))
	require.NoError(t, os.Rename(history+".elsewhere", history))

	u := h.undo(t, "recover/1", "undo/1")
	must(t, h.activities.Discard, activities.DiscardInput{Ref: u.ref, Place: u.found.Place})
	require.NoError(t, target.Expire(t.Context(), h.DataDir, "recover/1"))
	refused("a clean-up has removed what it replaced")
}
