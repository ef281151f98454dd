package postgres_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestArchiveThatEndsInsideARecordOfSeveralSegmentsIsRecovered(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	h.exec(t, "INSERT INTO users VALUES ('b')",
		"SELECT pg_logical_emit_message(true, 'x', repeat('x', 70 * 1024 * 1024))", "INSERT INTO users VALUES ('c')")
	h.switched(t)
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(h.DataDir))

	// The disaster came while the record was being archived.
	segments, err := filepath.Glob(filepath.Join(h.s3.Dir, "backups", "wal", "frende", "*", "00000001", "00000001????????????????"))
	require.NoError(t, err)
	require.Greater(t, len(segments), 6)
	for _, segment := range segments[len(segments)-2:] {
		require.NoError(t, os.Remove(segment))
	}
	p := h.prepare(t, "recover/1")
	require.Greater(t, int64(p.replayed.Span.End-p.replayed.LSN), int64(32<<20), "the record began before the last segment")
	h.fence(t, &p)
	h.cutOver(t, &p)
	require.Equal(t, "a b", h.users(t))

	// What comes after it is not lost to the next recovery.
	h.exec(t, "INSERT INTO users VALUES ('d')")
	h.switched(t)
	_, err = h.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(h.DataDir))
	next := h.prepare(t, "recover/2")
	h.fence(t, &next)
	h.cutOver(t, &next)
	require.Equal(t, "a b d", h.users(t))
}
