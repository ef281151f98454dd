package postgres_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
)

func TestMomentsOfASegmentAreThoseOfItsTransactions(t *testing.T) {
	server := lab.StartPostgres(t, lab.PostgresOptions{SegmentMiB: 1, Settings: map[string]string{"track_commit_timestamp": "on"}})
	conn, err := pgx.Connect(t.Context(), server.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	exec := func(statement string) {
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	exec("CREATE TABLE notes (body text)")
	exec("SELECT pg_switch_wal()")
	exec("INSERT INTO notes VALUES ('first')")
	for range 20 {
		exec("INSERT INTO notes SELECT md5(g::text) FROM generate_series(1, 100) g")
	}
	exec("INSERT INTO notes VALUES ('last')")
	var name string
	var first, last time.Time
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT pg_walfile_name(pg_current_wal_insert_lsn()),
		(SELECT pg_xact_commit_timestamp(xmin) FROM notes WHERE body = 'first'), (SELECT pg_xact_commit_timestamp(xmin) FROM notes WHERE body = 'last')`).Scan(&name, &first, &last))
	exec("SELECT pg_switch_wal()")
	segment, err := os.ReadFile(filepath.Join(server.DataDir, "pg_wal", name))
	require.NoError(t, err)
	whole := postgres.ReadMoments(segment, 0)
	require.Equal(t, first.UTC(), whole.First)
	require.Equal(t, last.UTC(), whole.Last)
	require.True(t, whole.Begun.IsZero())

	// What is damaged or cut off tells less, and nothing that was not there.
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		damaged := append([]byte(nil), segment...)
		for range 1 + random.IntN(8) {
			damaged[random.IntN(len(damaged))] ^= byte(1 + random.IntN(255))
		}
		found := postgres.ReadMoments(damaged[:random.IntN(len(damaged)+1)], 0)
		if found.Last.IsZero() {
			continue
		}
		require.False(t, found.First.Before(first), "%s", found.First)
		require.False(t, found.Last.After(last), "%s", found.Last)
	}
}
