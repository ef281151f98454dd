package postgres_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
)

func TestOneStoreAloneBringsTheDatabaseBackAsFarAsAHoleInItsWAL(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	for _, name := range []string{"b", "c", "d"} {
		h.exec(t, "INSERT INTO users VALUES ('"+name+"')")
		h.switched(t)
	}
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(h.DataDir))
	segments, err := filepath.Glob(filepath.Join(h.s3.Dir, "backups", "wal", "frende", "*", "00000001", "0000????????????????????"))
	require.NoError(t, err)
	slices.Sort(segments)
	lost := segments[len(segments)-2] // with c; that with d is there, as a bucket copies in any order
	require.NoError(t, os.Remove(lost))

	_, err = do(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: h.ref("recover/1")})
	require.True(t, fault.Has(err, fault.WALGap), "%v", err)
	require.ErrorContains(t, err, filepath.Base(lost))
	require.ErrorContains(t, err, "the archive is unbroken to ")
	require.Contains(t, fault.HintOf(err), "--from STORE")

	h.system.From = "primary"
	p := h.prepare(t, "recover/2")
	require.Contains(t, p.found.Span.Hole, filepath.Base(lost)+" is in no store, and 1 later segments can't be used")
	require.Equal(t, p.found.Span, p.replayed.Span)
	h.fence(t, &p)
	h.cutOver(t, &p)
	require.Equal(t, "a b", h.users(t))
}
