package postgres_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
)

func TestThePreflightAsksForTheSpaceThatIsNeededInTheEnd(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	taken := h.backup(t, "backup/1", time.Now())
	require.Equal(t, int64(1<<30), taken.Facts.MaxWALSize)
	before := must(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: h.ref("recover/1")})
	require.Positive(t, before.Bytes)
	require.Greater(t, before.Need, before.Bytes+512<<20)

	// The database grows past its backup, and three segments are archived.
	h.exec(t, "CREATE TABLE big AS SELECT repeat(md5(n::text), 30) AS v FROM generate_series(1, 40000) AS n", "CHECKPOINT")
	h.switched(t)
	after := must(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: h.ref("recover/2")})
	require.Equal(t, before.Bytes, after.Bytes)
	require.NotEqual(t, before.Span.Last, after.Span.Last)
	first, err := postgres.ParseSegment(before.Span.Last, postgres.DefaultSegmentSize)
	require.NoError(t, err)
	last, err := postgres.ParseSegment(after.Span.Last, postgres.DefaultSegmentSize)
	require.NoError(t, err)
	wal := int64(last.Number-first.Number) * postgres.DefaultSegmentSize
	require.Greater(t, after.Need-before.Need, wal+30<<20, "the grown table is counted, too")
}

func TestAStagedServerIsEndedBeforeItFillsTheDisk(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	p := h.prepare(t, "recover/1")
	require.True(t, postgres.Running(p.found.Place.Staging))
	h.deps.Floor = 1 << 60
	short := activities.New(h.deps)
	_, err := do(t, short.Replay, activities.ReplayInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	require.True(t, fault.Has(err, fault.NoSpace), "%v", err)
	require.ErrorContains(t, err, "the staged server was stopped")
	require.False(t, postgres.Running(p.found.Place.Staging))
	require.Equal(t, "a", h.users(t), "production goes on")

	// There is room again: it goes on from where it was.
	must(t, h.activities.Replay, activities.ReplayInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	arguments, err := os.ReadFile(p.found.Place.Run + "/postgresql.conf")
	require.NoError(t, err)
	require.Contains(t, string(arguments), "max_wal_size=256MB")
	must(t, h.activities.Discard, activities.DiscardInput{Ref: p.ref, Place: p.found.Place})
	require.Empty(t, h.beside(t))
}
