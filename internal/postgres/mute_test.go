package postgres_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
)

func TestAPromotionBeforeTheRecoveryPointIsTold(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "pg_wal"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pg_wal", "00000003.history"),
		[]byte("1\t0/3000000\tno recovery target specified\n\n2\t0/5000060\tno recovery target specified\n"), 0o600))
	require.NoError(t, postgres.CheckPromotedAt(dir, 2, 3, 0x5000060))
	err := postgres.CheckPromotedAt(dir, 2, 3, 0x5000061)
	require.True(t, fault.Has(err, fault.WALShort), "%v", err)
	require.ErrorContains(t, err, "promoted at 0/5000060, the recovery point is 0/5000061")
	require.NoError(t, postgres.CheckPromotedAt(dir, 3, 3, 0x6000000), "it is still on its timeline")
	require.Error(t, postgres.CheckPromotedAt(dir, 2, 4, 1), "without a history nothing is known")
}
