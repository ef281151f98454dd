package postgres_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
)

// The old server has the same system identifier and answers at the same address.
func TestAServiceThatStartsTheOldDataIsNoRecovery(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	h.system.Databases[0].DataDir = filepath.Join(filepath.Dir(h.DataDir), "elsewhere")
	h.system.Databases[0].OSUser = h.User
	p := h.prepare(t, "recover/1")
	require.Equal(t, activities.LiveMissing, p.found.Live)
	h.fence(t, &p)

	in := activities.CutOverInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts, LSN: p.replayed.LSN, Timeline: p.replayed.Timeline}
	for range 2 { // a decisive step is tried again until a person has mended it
		_, err = do(t, h.activities.CutOver, in)
		require.True(t, fault.Has(err, fault.WrongServer), "%v", err)
		require.ErrorContains(t, err, "it runs in "+h.DataDir+", what was restored lies in "+p.found.Place.Live)
		running, err := h.Running()
		require.NoError(t, err)
		require.False(t, running, "old data is not left to be served")
	}
	require.NoError(t, h.Start(t.Context()))
	_, err = do(t, h.activities.Promote, activities.PromoteInput{Ref: p.ref, Place: p.found.Place, Timeline: p.replayed.Timeline})
	require.True(t, fault.Has(err, fault.WrongServer), "%v", err)
}
