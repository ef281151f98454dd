package postgres_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/target"
)

func TestTablespaceMadeAfterTheBackupIsNeverReplayedIntoTheLivingOne(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	ref := h.ref("recover/1")
	found := must(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: ref})
	must(t, h.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})

	space, err := h.lab.Folder("space")
	require.NoError(t, err)
	h.exec(t, "CREATE TABLESPACE late LOCATION '"+space+"'", "ALTER TABLE users SET TABLESPACE late", "INSERT INTO users VALUES ('b')")
	h.switched(t)
	replay := activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts}
	_, err = do(t, h.activities.Replay, replay)
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.ErrorContains(t, err, space)
	must(t, h.activities.Discard, activities.DiscardInput{Ref: ref, Place: found.Place})
	_, err = do(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: h.ref("recover/2")})
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.Equal(t, "a b", h.users(t))

	// The server is lost, and an operator does what the hint says.
	_, err = h.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.Rename(space, space+".aside"))
	_, err = h.lab.Folder("space")
	require.NoError(t, err)
	p := h.prepare(t, "recover/3")
	h.fence(t, &p)
	h.cutOver(t, &p)
	require.Equal(t, "a b", h.users(t))
}

func TestARunThatEndedWithoutItsDiscardIsDiscardedWithItsTablespaces(t *testing.T) {
	t.Parallel()
	h := build(t)
	space, err := h.lab.Folder("space", "live")
	require.NoError(t, err)
	h.exec(t, "CREATE TABLESPACE wide LOCATION '"+space+"'", "CREATE TABLE users (name text) TABLESPACE wide", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	p := h.prepare(t, "recover/1")
	staged := target.Staging(space, "recover/1")
	require.DirExists(t, staged)

	discarded := must(t, h.activities.DiscardRun, activities.DiscardRunInput{Ref: p.ref})
	require.True(t, discarded.Removed)
	require.NoDirExists(t, staged)
	require.NoDirExists(t, p.found.Place.Socket, "the staged server was ended")
	require.Empty(t, h.beside(t))
	require.Equal(t, "a", h.users(t))
	discarded = must(t, h.activities.DiscardRun, activities.DiscardRunInput{Ref: p.ref})
	require.False(t, discarded.Removed)
}
