package postgres_test

import (
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/torture"
)

// Row 2 of the reliability table, for PostgreSQL: the server crashes in the
// middle of its backup. The fault is named, there is no manifest, and the same
// backup is finished, once, when the server is back.
func TestServerThatCrashesDuringItsBackupIsBackedUpWhenItIsBack(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users SELECT md5(g::text) || md5((g + 1)::text) FROM generate_series(1, 200000) g")
	at := time.Now()
	torture.Row(t, 2, 2, 50, func(t *testing.T, n int, random *rand.Rand) {
		in := activities.BaseBackupInput{Ref: h.ref("backup/" + filepath.Base(t.Name())), At: at.Add(time.Duration(n) * time.Second)}
		folder := filepath.Join(h.s3.Dir, "backups", "database-backups", "*", "*", "*", "*_"+in.At.UTC().Format("20060102_150405")+".base")
		chunks := 1 + random.IntN(4)
		var crash sync.WaitGroup
		var crashed error
		crash.Go(func() {
			for found := 0; found < chunks && t.Context().Err() == nil; {
				matches, _ := filepath.Glob(filepath.Join(folder, "chunk", "*", "*")) // the pattern is well formed
				found = len(matches)
			}
			if random.IntN(2) == 0 {
				_, crashed = h.Kill(t.Context())
			} else {
				crashed = h.StopBy(t.Context(), lab.Immediate)
			}
		})
		_, err := do(t, h.activities.BaseBackup, in)
		crash.Wait()
		require.NoError(t, crashed)
		require.True(t, fault.Has(err, fault.ServerUnavailable), "%v", err)
		require.NotEmpty(t, fault.HintOf(err))
		require.True(t, fault.Retryable(err))
		manifests, err := filepath.Glob(filepath.Join(folder, "manifest*"))
		require.NoError(t, err)
		require.Empty(t, manifests)

		require.NoError(t, h.Start(t.Context()))
		must(t, h.activities.BaseBackup, in)
		manifests, err = filepath.Glob(filepath.Join(folder, "manifest*"))
		require.NoError(t, err)
		require.Len(t, manifests, 1)
	})
}
