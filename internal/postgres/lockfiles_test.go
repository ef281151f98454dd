package postgres_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/postgres"
)

func TestAServerThatWasKilledBeforeItWroteItsLocksStartsAgain(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
	result, dir := c.backup(t)
	last, lsn := c.archived(t)
	r := c.restore(t, result, dir)
	require.NoError(t, postgres.Stage(postgres.StageConfig{DataDir: r.dir, Owner: c.owner, Tablespaces: r.links}))
	config, _ := c.instance(t, r, result, last)
	require.NoError(t, os.MkdirAll(config.SocketDir, 0o700))
	for _, path := range []string{filepath.Join(r.dir, "postmaster.pid"), filepath.Join(config.SocketDir, ".s.PGSQL.5432.lock")} {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, c.lab.Account.Own(path))
	}
	i, err := postgres.StartInstance(t.Context(), config)
	require.NoError(t, err)
	defer i.Close(t.Context())
	_, err = i.WaitReplayed(t.Context(), lsn, nil)
	require.NoError(t, err)
	require.Zero(t, i.Restarts())
	require.Equal(t, int64(1), count(t, i, "t"))
}
