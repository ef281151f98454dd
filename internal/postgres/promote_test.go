package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
)

func TestTheOldServerIsNeverTakenForTheRestoredOne(t *testing.T) {
	c := startCluster(t)
	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	facts := server.Facts()
	refused := func(change func(*postgres.Restored), kind fault.Kind, told string) {
		t.Helper()
		restored := postgres.Restored{SystemID: facts.SystemID, DataDir: c.DataDir, Timeline: facts.Timeline}
		change(&restored)
		err := postgres.AwaitReplayed(t.Context(), c.login, restored, facts.LSN, time.Minute)
		require.True(t, fault.Has(err, kind), "%v", err)
		require.ErrorContains(t, err, told)
		_, err = postgres.Promote(t.Context(), c.login, restored)
		require.True(t, fault.Has(err, kind), "%v", err)
		require.ErrorContains(t, err, told)
	}
	refused(func(*postgres.Restored) {}, fault.WrongServer, "primary on timeline 1 and was never promoted")
	refused(func(r *postgres.Restored) { r.Timeline = 0; r.DataDir = t.TempDir() }, fault.WrongServer, "it runs in "+c.DataDir)
	refused(func(r *postgres.Restored) { r.SystemID = "1" }, fault.ForeignCluster, "expected is 1")

	// Nothing was changed on the way, not even tidied up: no segment was ended.
	again, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer again.Close(t.Context())
	require.Less(t, uint64(again.Facts().LSN-facts.LSN), uint64(1<<20))
}
