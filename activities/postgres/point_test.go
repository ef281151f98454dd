package postgres_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
)

// clock is the server's, between the commits before and those after.
func (h *house) clock(t *testing.T) time.Time {
	t.Helper()
	var at time.Time
	h.ask(t, "SELECT clock_timestamp()", &at)
	return at.UTC()
}

func (h *house) ask(t *testing.T, query string, into any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	require.NoError(t, conn.QueryRow(t.Context(), query).Scan(into))
}

// add commits rows, each in a transaction of its own.
func (h *house) add(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		h.exec(t, "INSERT INTO users VALUES ('"+name+"')")
	}
}

func (h *house) preflight(t *testing.T, run string, to plan.Point, key string) (activities.RestorePreflightResult, error) {
	t.Helper()
	return do(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: h.ref(run), To: to, Key: key})
}

// prepareTo restores beside the living server and replays to the point.
func (h *house) prepareTo(t *testing.T, run string, to plan.Point) prepared {
	t.Helper()
	p := prepared{ref: h.ref(run)}
	var err error
	p.found, err = h.preflight(t, run, to, "")
	require.NoError(t, err)
	p.ref.Goal = p.found.Goal
	must(t, h.activities.Restore, activities.RestoreInput{Ref: p.ref, Key: p.found.Key, Place: p.found.Place, Facts: p.found.Facts})
	p.replayed = must(t, h.activities.Replay, activities.ReplayInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	require.Equal(t, !to.Newest(), p.replayed.Reached)
	return p
}

// recoverTo carries a recovery out, and has the new timeline archived.
func (h *house) recoverTo(t *testing.T, run string, to plan.Point) (prepared, activities.PromoteResult) {
	t.Helper()
	p := h.prepareTo(t, run, to)
	stood := p.replayed.LSN
	h.fence(t, &p)
	if !to.Newest() {
		require.Equal(t, stood, p.replayed.LSN, "it stays at its goal")
	}
	p.verified = must(t, h.activities.Verify, activities.VerifyInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	_, promoted := h.cutOver(t, &p)
	h.switched(t)
	return p, promoted
}

func TestDatabaseIsRecoveredToATimeAndNothingAfterIt(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	h.add(t, "a")
	first := h.backup(t, "backup/1", time.Now().Add(-time.Second))
	h.add(t, "b", "c")
	at := h.clock(t)
	h.exec(t, "DROP TABLE users", "CREATE TABLE users (name text)") // the accident: its lock is in the WAL before its end
	h.add(t, "d")
	second := h.backup(t, "backup/2", time.Now())
	h.add(t, "e")
	h.switched(t)
	h.add(t, "f") // not archived yet

	p, promoted := h.recoverTo(t, "recover/1", plan.Point{Time: at})
	require.Equal(t, first.Key, p.found.Key, "the backup that ended before")
	require.Equal(t, uint32(1), p.replayed.Timeline)
	require.Equal(t, uint32(2), promoted.Timeline)
	require.NotNil(t, p.replayed.Committed)
	require.False(t, p.replayed.Committed.After(at))
	require.Equal(t, "a b c", h.users(t))
	require.Equal(t, []string{"users", "SELECT count(*) > 0 FROM users"}, p.verified.Locked)
	require.NotNil(t, promoted.Verified, "what the accident had locked is verified when its transaction is gone")
	require.Equal(t, []activities.TableCount{{Table: "users", Rows: 3}}, promoted.Verified.Tables)
	require.Len(t, promoted.Verified.Checks, 1)
	auto, err := os.ReadFile(filepath.Join(h.DataDir, "postgresql.auto.conf"))
	require.NoError(t, err)
	require.NotContains(t, string(auto), "recovery_target", "the recovery leaves no setting behind")

	// The newest backup is of what was given up: latest does not go back there.
	h.add(t, "g")
	h.switched(t)
	idle := h.clock(t)
	p, promoted = h.recoverTo(t, "recover/2", plan.Point{})
	require.NotNil(t, p.replayed.Committed)
	require.True(t, p.replayed.Committed.After(idle), "nobody wrote after that, and the recovery point is when the old server was ended")
	require.Equal(t, first.Key, p.found.Key)
	require.NotEqual(t, second.Key, p.found.Key)
	require.Equal(t, uint32(2), p.replayed.Timeline)
	require.Equal(t, uint32(3), promoted.Timeline)
	require.Equal(t, "a b c g", h.users(t))
}

func TestEveryTimeIsOnTheTimelineThatWasTheClustersThen(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	h.add(t, "a")
	h.backup(t, "backup/1", time.Now())
	h.add(t, "b")
	early := h.clock(t)
	h.add(t, "c")
	late := h.clock(t) // on timeline 1, after what the first recovery goes back to
	h.add(t, "d")
	h.switched(t)

	_, promoted := h.recoverTo(t, "recover/1", plan.Point{Time: early})
	require.Equal(t, uint32(2), promoted.Timeline)
	require.Equal(t, "a b", h.users(t))
	h.add(t, "x")
	between := h.clock(t) // on timeline 2
	h.add(t, "y")
	h.switched(t)

	// To a time before the first recovery, which had given it up.
	p, promoted := h.recoverTo(t, "recover/2", plan.Point{Time: late})
	require.Equal(t, uint32(1), p.replayed.Timeline)
	require.Equal(t, uint32(3), promoted.Timeline, "the number of the abandoned timeline is not used again")
	require.Equal(t, "a b c", h.users(t))
	h.add(t, "z")
	h.switched(t)

	p, promoted = h.recoverTo(t, "recover/3", plan.Point{Time: between})
	require.Equal(t, uint32(2), p.replayed.Timeline)
	require.Equal(t, uint32(4), promoted.Timeline)
	require.Equal(t, "a b x", h.users(t))

	p, _ = h.recoverTo(t, "recover/4", plan.Point{})
	require.Equal(t, uint32(4), p.replayed.Timeline, "the newest follows the last recovery, and no abandoned one")
	require.Equal(t, "a b x", h.users(t))
}

func TestDatabaseIsRecoveredToAPositionExactly(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	h.backup(t, "backup/1", time.Now())
	h.add(t, "a", "b")
	var lsn string
	h.ask(t, "SELECT pg_current_wal_insert_lsn()::text", &lsn)
	h.add(t, "c")
	h.switched(t)
	p, _ := h.recoverTo(t, "recover/1", plan.Point{LSN: lsn})
	require.Equal(t, lsn, p.replayed.LSN.String())
	require.Equal(t, "a b", h.users(t))
}

func TestRecoveryToAPointAfterAFailoverGoesByTheArchive(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	h.add(t, "a")
	h.backup(t, "backup/1", time.Now())
	standby := h.copied(t)
	h.add(t, "b")
	at := h.clock(t)
	h.add(t, "c")
	h.switched(t)
	h.failOver(t, standby)
	h.add(t, "after the failover")

	_, err := h.preflight(t, "recover/0", plan.Point{Time: h.clock(t)}, "")
	require.True(t, fault.Has(err, fault.PointUnreachable), "%v", err)
	require.ErrorContains(t, err, "tells of no transaction after")

	p, promoted := h.recoverTo(t, "recover/1", plan.Point{Time: at})
	require.Equal(t, uint32(1), p.replayed.Timeline)
	require.Equal(t, uint32(2), promoted.Timeline, "what the promoted standby wrote was never archived")
	require.Equal(t, "a b", h.users(t))
	h.add(t, "d")
	h.switched(t)
	h.recoverTo(t, "recover/2", plan.Point{})
	require.Equal(t, "a b d", h.users(t))
}

func TestPointOutsideOfTheWindowIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	before := h.clock(t)
	made := h.backup(t, "backup/1", time.Now())
	var moments []time.Time
	for range 4 {
		h.add(t, "a")
		moments = append(moments, h.clock(t))
		h.add(t, "b")
		h.switched(t)
	}
	refused := func(to plan.Point, key, says string) {
		t.Helper()
		_, err := h.preflight(t, "recover/1", to, key)
		require.True(t, fault.Has(err, fault.PointUnreachable), "%s: %v", to, err)
		require.ErrorContains(t, err, says)
		require.NotEmpty(t, fault.HintOf(err))
		require.Empty(t, h.beside(t))
	}
	refused(plan.Point{Time: time.Now().Add(time.Hour)}, "", "it lies in the future")
	refused(plan.Point{Time: before}, "", "no base backup ended before it")
	refused(plan.Point{Time: before}, made.Key, "does not lead there")
	refused(plan.Point{LSN: made.Facts.StartLSN.String()}, "", "no base backup ended before it")
	refused(plan.Point{Time: h.clock(t)}, "", "tells of no transaction after")
	refused(plan.Point{LSN: "FF/1"}, "", "tells of no transaction after")
	refused(plan.Point{Name: "before-migration"}, "", "no restore point of this name")
	_, err := h.preflight(t, "recover/1", plan.Point{Time: before}, "")
	require.Contains(t, fault.HintOf(err), "it can be recovered to: "+made.Facts.Finished.Format("2006-01-02T15:04:05.000000Z"))
	require.Contains(t, fault.HintOf(err), "on timeline 1")

	// A hole: what lies before it can still be reached, what lies behind can't.
	segments, err := filepath.Glob(filepath.Join(h.s3.Dir, "backups", "wal", "frende", "*", "00000001", "00000001????????????????"))
	require.NoError(t, err)
	gone := segments[len(segments)-2]
	require.NoError(t, os.Remove(gone))
	refused(plan.Point{Time: moments[2]}, "", filepath.Base(gone)+" is missing")
	refused(plan.Point{Time: moments[3]}, "", filepath.Base(gone)+" is missing")
	p := h.prepareTo(t, "recover/2", plan.Point{Time: moments[1]})
	must(t, h.activities.Discard, activities.DiscardInput{Ref: p.ref, Place: p.found.Place})
}

func TestWALThatEndsBeforeTheGoalIsNamedAndNothingIsPromoted(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	made := h.backup(t, "backup/1", time.Now())
	h.add(t, "a")
	h.exec(t, "SELECT pg_create_restore_point('by-hand')")
	h.add(t, "b")
	h.switched(t)
	replay := func(name string) (activities.Ref, activities.RestorePreflightResult, error) {
		t.Helper()
		found, err := h.preflight(t, "recover/"+name, plan.Point{Name: name}, made.Key)
		require.NoError(t, err)
		ref := h.ref("recover/" + name)
		ref.Goal = found.Goal
		must(t, h.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})
		_, err = do(t, h.activities.Replay, activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts})
		return ref, found, err
	}
	ref, found, err := replay("never-made")
	require.True(t, fault.Has(err, fault.WALShort), "%v", err)
	require.ErrorContains(t, err, "before the restore point never-made was reached")
	require.FileExists(t, filepath.Join(found.Place.Staging, "standby.signal"), "it was not promoted")
	must(t, h.activities.Discard, activities.DiscardInput{Ref: ref, Place: found.Place})

	// One that was made without lifeboat is found by the server, behind the backup that is named.
	ref, found, err = replay("by-hand")
	require.NoError(t, err)
	verified := must(t, h.activities.Verify, activities.VerifyInput{Ref: ref, Place: found.Place, Facts: found.Facts})
	require.Equal(t, int64(1), verified.Tables[0].Rows)
	must(t, h.activities.Discard, activities.DiscardInput{Ref: ref, Place: found.Place})
}

// A server that can answer nobody does not pause at its goal, but promotes itself.
func TestGoalAtWhichTheServerCanAnswerNobody(t *testing.T) {
	t.Parallel()
	t.Run("the transaction began after the backup: the restored server is promoted there and no further", func(t *testing.T) {
		h := build(t)
		h.exec(t, "CREATE TABLE users (name text)")
		h.add(t, "a")
		h.backup(t, "backup/1", time.Now())
		h.holdOpen(t)
		h.add(t, "b")
		h.exec(t, "CHECKPOINT")
		h.add(t, "c")
		at := h.clock(t)
		h.add(t, "d")
		h.switched(t)
		_, promoted := h.recoverTo(t, "recover/1", plan.Point{Time: at})
		require.Equal(t, uint32(2), promoted.Timeline)
		require.Equal(t, "a b c", h.users(t))
	})
	t.Run("it began before the backup: the point is refused, and the old server serves on", func(t *testing.T) {
		h := build(t)
		h.exec(t, "CREATE TABLE users (name text)")
		h.add(t, "a")
		h.holdOpen(t)
		h.backup(t, "backup/1", time.Now())
		h.add(t, "b")
		at := h.clock(t)
		h.add(t, "c")
		h.switched(t)
		ref := h.ref("recover/1")
		found, err := h.preflight(t, "recover/1", plan.Point{Time: at}, "")
		require.NoError(t, err)
		ref.Goal = found.Goal
		must(t, h.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})
		_, err = do(t, h.activities.Replay, activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts})
		require.True(t, fault.Has(err, fault.PointUnreachable), "%v", err)
		require.Contains(t, fault.HintOf(err), "more than 64 subtransactions")
		must(t, h.activities.Discard, activities.DiscardInput{Ref: ref, Place: found.Place})
		require.Equal(t, "a b c", h.users(t))
	})
}

// After a crash, the last WAL of the old timeline is archived only as the
// beginning of the new one.
func TestTimesAroundACrashAreReachedOrRefusedByName(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	h.add(t, "a")
	h.backup(t, "backup/1", time.Now())
	h.add(t, "b")
	h.switched(t)
	h.add(t, "c")
	within := h.clock(t)
	h.add(t, "d")
	after := h.clock(t)
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	h.recoverTo(t, "recover/1", plan.Point{})
	require.Equal(t, "a b c d", h.users(t))
	h.add(t, "e")
	h.switched(t)

	ref := h.ref("recover/2")
	found, err := h.preflight(t, "recover/2", plan.Point{Time: within}, "")
	require.NoError(t, err)
	require.Equal(t, uint32(2), found.Goal.Timeline)
	ref.Goal = found.Goal
	must(t, h.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})
	_, err = do(t, h.activities.Replay, activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts})
	require.True(t, fault.Has(err, fault.PointUnreachable), "%v", err)
	require.ErrorContains(t, err, "in the last WAL of the timeline before 2")
	must(t, h.activities.Discard, activities.DiscardInput{Ref: ref, Place: found.Place})

	p, promoted := h.recoverTo(t, "recover/3", plan.Point{Time: after})
	require.Equal(t, uint32(2), p.replayed.Timeline)
	require.Equal(t, uint32(3), promoted.Timeline)
	require.Equal(t, "a b c d", h.users(t))
}
