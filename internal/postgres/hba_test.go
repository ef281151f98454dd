package postgres_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
)

// The directory of pg_hba.conf is the server account's. Whoever has that account
// must not choose what a worker that is root reads and replaces.

func TestFenceReplacesOnlyWhatIsTheServersOwn(t *testing.T) {
	if os.Geteuid() != 0 {
		return // another user's worker can do no more than that user
	}
	c := startCluster(t)
	hba := filepath.Join(c.DataDir, "pg_hba.conf")
	journal := filepath.Join(filepath.Dir(c.DataDir), "fence.json")
	original, err := os.ReadFile(hba)
	require.NoError(t, err)
	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())

	elsewhere := t.TempDir()
	require.NoError(t, os.Chmod(elsewhere, 0o755))
	for _, name := range []string{"passwd", "pg_hba.conf"} {
		t.Run("root's "+name+" elsewhere", func(t *testing.T) {
			victim := filepath.Join(elsewhere, name)
			require.NoError(t, os.WriteFile(victim, original, 0o644))
			require.NoError(t, os.Remove(hba))
			require.NoError(t, os.Symlink(victim, hba))
			err := postgres.RaiseFence(t.Context(), server, journal)
			require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
			require.ErrorContains(t, err, victim)
			kept, err := os.ReadFile(victim)
			require.NoError(t, err)
			require.Equal(t, string(original), string(kept))
			require.NoFileExists(t, victim+".lifeboat-original")
			require.NoFileExists(t, journal)
		})
	}
	t.Run("no plain file", func(t *testing.T) {
		require.NoError(t, os.Remove(hba))
		require.NoError(t, os.Mkdir(hba, 0o755))
		err := postgres.RaiseFence(t.Context(), server, journal)
		require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	})
	t.Run("root's in its place is the server's", func(t *testing.T) {
		require.NoError(t, os.RemoveAll(hba))
		require.NoError(t, os.WriteFile(hba, original, 0o644))
		require.NoError(t, postgres.RaiseFence(t.Context(), server, journal))
		lowered, err := postgres.LowerFence(t.Context(), journal)
		require.NoError(t, err)
		require.True(t, lowered)
		restored, err := os.ReadFile(hba)
		require.NoError(t, err)
		require.Equal(t, string(original), string(restored))
	})
}

func TestFencePutsNothingBackThatIsNotTheOriginal(t *testing.T) {
	c := startCluster(t)
	hba := filepath.Join(c.DataDir, "pg_hba.conf")
	aside := hba + ".lifeboat-original"
	journal := filepath.Join(filepath.Dir(c.DataDir), "fence.json")
	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	require.NoError(t, postgres.RaiseFence(t.Context(), server, journal))
	require.NoError(t, os.Rename(aside, aside+".kept"))
	secret := filepath.Join(t.TempDir(), "shadow")
	require.NoError(t, os.WriteFile(secret, []byte("root:secret"), 0o600))

	plants := map[string]func() error{"link": func() error { return os.Symlink(secret, aside) }}
	if os.Geteuid() == 0 {
		plants["root's"] = func() error { return os.WriteFile(aside, []byte("root:secret"), 0o600) }
	}
	for name, plant := range plants {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, plant())
			_, err := postgres.LowerFence(t.Context(), journal)
			require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
			body, err := os.ReadFile(hba)
			require.NoError(t, err)
			require.NotContains(t, string(body), "root:secret")
			require.FileExists(t, journal)
			require.NoError(t, os.Remove(aside))
		})
	}
	require.NoError(t, os.Rename(aside+".kept", aside))
	lowered, err := postgres.LowerFence(t.Context(), journal)
	require.NoError(t, err)
	require.True(t, lowered)
}
