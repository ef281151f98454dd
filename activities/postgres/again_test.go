package postgres_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
)

// Under load a segment ends in the middle of a record, so the recovery's new
// timeline begins within a segment that the archive has whole. The second
// recovery must not stop before it.
func TestRecoveryRightAfterARecoveryKeepsWhatTheFirstBroughtBack(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	h.backup(t, "backup/1", time.Now())
	h.exec(t, "INSERT INTO users SELECT 'user ' || g FROM generate_series(1, 400000) g")
	folder := filepath.Join(h.s3.Dir, "backups", "wal", "frende", "*")
	archived := func(pattern string) func() bool {
		return func() bool {
			matches, err := filepath.Glob(filepath.Join(folder, pattern))
			return err == nil && len(matches) > 0
		}
	}
	require.Eventually(t, archived("00000001/000000010000000000000003"), time.Minute, 20*time.Millisecond, "a segment was filled")
	lost := func() {
		t.Helper()
		_, err := h.Kill(t.Context())
		require.NoError(t, err)
		require.NoError(t, os.RemoveAll(h.DataDir))
	}
	lost()
	first := h.prepare(t, "recover/1")
	h.fence(t, &first)
	h.cutOver(t, &first)

	// Nobody writes, and nobody switches.
	require.Eventually(t, archived("00000002/00000002????????????????"), time.Minute, 20*time.Millisecond)
	lost()
	second := h.prepare(t, "recover/2")
	require.Equal(t, uint32(2), second.replayed.Timeline)
	require.GreaterOrEqual(t, second.replayed.LSN, first.replayed.LSN)
	must(t, h.activities.Discard, activities.DiscardInput{Ref: second.ref, Place: second.found.Place})
}
