package postgres_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/postgres"
)

func TestPagesWithWrongChecksumsAreNamedByFileAndBlock(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users SELECT repeat('x', 1000) FROM generate_series(1, 100)", "CHECKPOINT")
	conn, err := pgx.Connect(t.Context(), c.DSN)
	require.NoError(t, err)
	var path string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_relation_filepath('users')").Scan(&path))
	require.NoError(t, conn.Close(t.Context()))
	require.NoError(t, c.Stop(t.Context()))
	file, err := os.OpenFile(filepath.Join(c.DataDir, path), os.O_RDWR, 0)
	require.NoError(t, err)
	for block := range int64(8) { // it tells of the first five
		_, err = file.WriteAt([]byte("damage"), (block+2)*8192+4000)
		require.NoError(t, err)
	}
	require.NoError(t, file.Close())
	require.NoError(t, c.Start(t.Context()))

	result, _ := c.backup(t)
	require.Equal(t, 1, result.Damaged)
	require.Equal(t, []postgres.DamagedFile{{Path: path, Blocks: []int64{2, 3, 4, 5, 6}, Pages: 8}}, result.DamagedIn)
	require.Equal(t, path+" blocks 2, 3, 4, 5, 6 and 3 more", result.DamagedIn[0].String())
}
