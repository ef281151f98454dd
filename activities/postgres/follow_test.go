package postgres_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
)

// copied makes a copy of the running server that can be a standby. What it
// begins with is archived: a standby does not keep that.
func (h *house) copied(t *testing.T) string {
	t.Helper()
	dir := h.DataDir + ".standby"
	output, err := h.lab.Command(t.Context(), filepath.Join(h.BinDir, "pg_basebackup"),
		"--dbname", h.DSN, "--pgdata", dir, "--wal-method", "stream", "--checkpoint", "fast", "--no-sync").CombinedOutput()
	require.NoError(t, err, string(output))
	require.NoError(t, h.lab.Write(filepath.Join(dir, "standby.signal"), nil, 0o600))
	h.switched(t)
	return dir
}

// failOver kills the primary and has the standby take its place, promoted.
func (h *house) failOver(t *testing.T, standby string) {
	t.Helper()
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	h.promoted(t, standby)
}

// promoted puts a standby where the primary was, and promotes it.
func (h *house) promoted(t *testing.T, standby string) {
	t.Helper()
	require.NoError(t, os.Rename(h.DataDir, h.DataDir+".lost"))
	require.NoError(t, os.Rename(standby, h.DataDir))
	require.NoError(t, h.Start(t.Context()))
	h.exec(t, "SELECT pg_promote()")
}

// stream brings WAL of the dead primary to the standby, as streaming did before.
func (h *house) stream(t *testing.T, standby string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(h.DataDir, "pg_wal", "0000*"))
	require.NoError(t, err)
	for _, segment := range segments {
		body, err := os.ReadFile(segment)
		require.NoError(t, err)
		require.NoError(t, h.lab.Write(filepath.Join(standby, "pg_wal", filepath.Base(segment)), body, 0o600))
	}
}

// switchedUnarchived ends the current segment of a server that may not archive.
func (h *house) switchedUnarchived(t *testing.T) { h.exec(t, "SELECT pg_switch_wal()") }

func TestCommitsOfAPromotedStandbyThatWasNeverArchivedAreBroughtOver(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	h.exec(t, "INSERT INTO users VALUES ('b')")
	h.switched(t)
	standby := h.copied(t)
	h.exec(t, "INSERT INTO users VALUES ('c-streamed')")
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	h.stream(t, standby)
	h.promoted(t, standby)
	for _, name := range []string{"d", "e", "f"} {
		h.exec(t, "INSERT INTO users VALUES ('"+name+"')")
		h.switchedUnarchived(t)
	}
	h.exec(t, "INSERT INTO users VALUES ('g-last')")
	_, err = h.Kill(t.Context())
	require.NoError(t, err)

	p := h.prepare(t, "recover/1")
	require.Equal(t, uint32(2), p.replayed.Timeline)
	_, _, salvaged := h.fence(t, &p)
	require.Contains(t, salvaged.Note, "timeline 2, which was never archived")
	require.Equal(t, uint32(2), p.replayed.Timeline)
	_, promoted := h.cutOver(t, &p)
	require.Equal(t, uint32(3), promoted.Timeline)
	require.Equal(t, "a b c-streamed d e f g-last", h.users(t))

	// The archive holds that way now: without any directory, the same backup leads there.
	h.exec(t, "INSERT INTO users VALUES ('h-after')")
	h.switched(t)
	_, err = h.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(h.DataDir))
	next := h.prepare(t, "recover/2")
	require.Equal(t, uint32(3), next.replayed.Timeline)
	h.fence(t, &next)
	h.cutOver(t, &next)
	require.Equal(t, "a b c-streamed d e f g-last h-after", h.users(t))
}

func TestRunningServerThatWasPromotedBehindTheArchiveIsFollowed(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	standby := h.copied(t)
	for range 3 { // the primary archived what the standby never got
		h.exec(t, "INSERT INTO users VALUES ('lost in the failover')")
		h.switched(t)
	}
	h.failOver(t, standby)
	h.exec(t, "INSERT INTO users VALUES ('b')")
	p := h.prepare(t, "recover/1")
	require.Equal(t, activities.LiveRunning, p.found.Live)
	h.exec(t, "INSERT INTO users VALUES ('c')")
	h.fence(t, &p)
	h.cutOver(t, &p)
	require.Equal(t, "a b c", h.users(t))
}

func TestFailoverAfterTheReplayBeganIsNamed(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	standby := h.copied(t)
	h.exec(t, "INSERT INTO users VALUES ('lost in the failover')")
	h.switched(t)
	p := h.prepare(t, "recover/1")
	h.failOver(t, standby)
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	must(t, h.activities.SalvageWAL, activities.SalvageWALInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	_, err = do(t, h.activities.ReplayFinal, activities.ReplayInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.ErrorContains(t, err, "the old server is on timeline 2")
	require.Contains(t, fault.HintOf(err), "start it again")
	must(t, h.activities.Discard, activities.DiscardInput{Ref: p.ref, Place: p.found.Place})
	again := h.prepare(t, "recover/2")
	h.fence(t, &again)
	h.cutOver(t, &again)
	require.Equal(t, "a", h.users(t))
}

func TestPromotedServersWALThatIsGoneEndsTheRecoveryBeforeTheSwap(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	h.failOver(t, h.copied(t))
	h.exec(t, "INSERT INTO users VALUES ('b')")
	h.switchedUnarchived(t)
	h.exec(t, "INSERT INTO users VALUES ('c')", "CHECKPOINT")
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	segments, err := filepath.Glob(filepath.Join(h.DataDir, "pg_wal", "00000002????????????????"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(segments[0]))
	ref := h.ref("recover/1")
	found := must(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: ref})
	must(t, h.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})
	_, err = do(t, h.activities.Replay, activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts})
	require.True(t, fault.Has(err, fault.WALGap), "%v", err)
	require.ErrorContains(t, err, filepath.Base(segments[0]))
	_, err = do(t, h.activities.SalvageWAL, activities.SalvageWALInput{Ref: ref, Place: found.Place, Facts: found.Facts})
	require.True(t, fault.Has(err, fault.WALGap), "%v", err)

	// A person gives up what came after the failover.
	require.NoError(t, os.Rename(h.DataDir, h.DataDir+".given-up"))
	replayed := must(t, h.activities.Replay, activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts})
	require.Equal(t, uint32(1), replayed.Timeline)
	must(t, h.activities.Discard, activities.DiscardInput{Ref: ref, Place: found.Place})
}

// A person puts the directory back that a recovery had replaced: it may not
// archive, and the archive goes on elsewhere.
func TestDirectoryThatWasReplacedAndPutBackIsNotGivenUpUnseen(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	p := h.prepare(t, "recover/1")
	h.fence(t, &p)
	cut, _ := h.cutOver(t, &p)
	h.switched(t)
	require.NoError(t, h.Stop(t.Context()))
	require.NoError(t, os.Rename(h.DataDir, h.DataDir+".recovered"))
	require.Len(t, cut.Old, 1)
	require.NoError(t, os.Rename(cut.Old[0], h.DataDir))

	// As it was replaced, it holds nothing that the archive lacks.
	ref := h.ref("recover/2")
	found := must(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: ref})
	must(t, h.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})
	in := activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts}
	must(t, h.activities.Replay, in)

	hba := filepath.Join(h.DataDir, "pg_hba.conf")
	if _, err := os.Stat(hba + ".lifeboat-original"); err == nil {
		require.NoError(t, os.Rename(hba+".lifeboat-original", hba))
	}
	require.NoError(t, h.Start(t.Context()))
	h.exec(t, "INSERT INTO users VALUES ('written since')")
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	for range 2 {
		_, err = do(t, h.activities.ReplayFinal, in)
		require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
		require.ErrorContains(t, err, "it is on timeline 1, which the archive left for timeline 2")
		require.Contains(t, fault.HintOf(err), "move "+h.DataDir+" away")
	}
	_, err = do(t, h.activities.SalvageWAL, activities.SalvageWALInput{Ref: ref, Place: found.Place, Facts: found.Facts})
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.DirExists(t, h.DataDir)
	must(t, h.activities.Discard, activities.DiscardInput{Ref: ref, Place: found.Place})
}
