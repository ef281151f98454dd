package vault

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/workflows/api"
)

func TestAClockThatIsWrongDeletesNothing(t *testing.T) {
	now := time.Date(2024, 1, 15, 9, 0, 0, 0, time.UTC)
	require.Empty(t, wrongClock(now.Add(-4*time.Minute), now))
	require.Contains(t, wrongClock(now.Add(-31*24*time.Hour), now), "differs by 31d from Temporal's")
	require.Contains(t, wrongClock(now.Add(6*time.Minute), now), "differs by 6m from Temporal's")
}

func TestASweepTellsWhatItRemovedAndKept(t *testing.T) {
	primary := mem.New("primary")
	ring, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"))}})
	require.NoError(t, err)
	open := func(ahead time.Duration) *vault.Vault {
		v, err := vault.New(vault.Config{
			System: "frende", Store: primary, Keys: ring, Budget: vault.NewBudget(64 << 20), Now: func() time.Time { return time.Now().Add(ahead) },
		})
		require.NoError(t, err)
		return v
	}
	for n, run := range []string{"dead@1", "alive@2"} {
		w, err := open(0).Begin(t.Context(), vault.Intent{Folder: "file-backups", Kind: "tree", System: "frende", Component: "uploads", RunID: run, At: time.Date(2024, 1, 15, n, 0, 0, 0, time.UTC)})
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	env.RegisterActivityWithOptions(New(Deps{
		Vault: func(context.Context, system.System, func(vault.Fallback)) (*vault.Vault, error) {
			return open(31 * time.Hour), nil
		},
		Running: func(_ context.Context, runID string) (bool, error) { return runID == "alive@2", nil },
	}), activity.RegisterOptions{Name: "vault."})
	value, err := env.ExecuteActivity("vault.Sweep", SweepInput{System: system.System{Name: "frende", Backup: system.Backup{Compression: "zstd"}}})
	require.NoError(t, err)
	var result SweepResult
	require.NoError(t, value.Get(&result))
	require.Len(t, result.Removed, 1)
	require.Equal(t, api.UnfinishedBackup, result.Removed[0].What)
	require.Equal(t, "file-backups/2024/01/15/uploads_file_backup_20240115_000000.tree", result.Removed[0].Subject)
	require.Contains(t, result.Removed[0].Why, "run dead@1 left it unfinished")
	require.Len(t, result.Kept, 1)
	require.Equal(t, "run alive@2 still works on it", result.Kept[0].Why)
}
