package cli

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
	reach "github.com/frende/lifeboat/internal/window"
)

// shopDatabase adds a database on a real server to the shop.
func (s shopStore) database(t *testing.T) *lab.Postgres {
	t.Helper()
	server := lab.StartPostgres(t, lab.PostgresOptions{})
	s.protects(t, server)
	return server
}

// transactions commits some, ends the segment, and puts it into the archive.
func (s shopStore) transactions(t *testing.T, server *lab.Postgres, archive *wal.Archive) (segment string, stop postgres.LSN) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	for range 3 {
		_, err = conn.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS shoes (size int); INSERT INTO shoes VALUES (42)")
		require.NoError(t, err)
	}
	var position string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_walfile_name(pg_current_wal_lsn()), pg_switch_wal()::text").Scan(&segment, &position))
	stop, err = postgres.ParseLSN(position)
	require.NoError(t, err)
	require.NoError(t, archive.Push(t.Context(), filepath.Join(server.DataDir, "pg_wal", segment), wal.PushOptions{DataDir: server.DataDir}))
	return segment, stop
}

func TestWindowAndRestorePointsAreTold(t *testing.T) {
	s := openShop(t)
	server := s.database(t)
	code, _, stderr := s.run(t, "window", "database")
	require.Equal(t, fault.ExitNotFound, code)
	require.Contains(t, stderr, "find window of database orders: no such backup: there is no complete base backup")

	archive, err := wal.New(wal.Config{Vault: s.vault, Cluster: "orders"})
	require.NoError(t, err)
	login, err := postgres.NewLogin(server.DSN, postgres.LoginOptions{})
	require.NoError(t, err)
	connected, err := postgres.Connect(t.Context(), login)
	require.NoError(t, err)
	facts := connected.Facts()
	connected.Close(t.Context())
	_, stop := s.transactions(t, server, archive)
	w, err := s.vault.Begin(t.Context(), vault.Intent{Folder: "database-backups", Kind: "base", System: "shop", Component: "orders", RunID: "backup/shop", Attempt: 1, At: noon})
	require.NoError(t, err)
	body, err := json.Marshal(reach.Base{
		SystemID: facts.SystemID, Timeline: 1, StartLSN: facts.LSN, StopLSN: stop, SegmentSize: facts.SegmentSize, Started: noon, Finished: noon.Add(time.Minute),
	})
	require.NoError(t, err)
	_, err = w.Commit(t.Context(), vault.Facts{"postgres": body})
	require.NoError(t, err)

	code, stdout, stderr := s.run(t, "restore-point", "before-sale")
	require.Zero(t, code, stderr)
	require.Regexp(t, `^restore point before-sale of orders: 0/[0-9A-F]+ on timeline 1, at 20`, stdout)
	code, _, stderr = s.run(t, "restore-point", "before-sale")
	require.Equal(t, fault.ExitRefused, code)
	require.Contains(t, stderr, "make restore point before-sale: object exists already: the name is taken")
	require.Contains(t, stderr, "HINT: choose another name")
	s.transactions(t, server, archive)
	lost, _ := s.transactions(t, server, archive)
	last, _ := s.transactions(t, server, archive)

	code, stdout, stderr = s.run(t, "window", "database", "orders")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "database orders, cluster "+facts.SystemID+", on timeline 1\n")
	require.Regexp(t, `RECOVER TO +2024-01-15T12:01:00.000000Z \(`+stop.String()+`\) to before 20.*Z \(0/[0-9A-F]+\) +from 1 backup\n`, stdout)
	require.Contains(t, stdout, w.Key())
	require.Contains(t, stdout, "name:before-sale")
	require.NotContains(t, stdout, "HOLE")

	key := "wal/orders/" + facts.SystemID + "/00000001/" + lost
	require.NoError(t, s.vault.Store().Delete(t.Context(), key, ""))
	code, stdout, stderr = s.run(t, "window", "database", "orders", "--json")
	require.Zero(t, code, stderr)
	var told reach.Window
	require.NoError(t, json.Unmarshal([]byte(stdout), &told))
	require.Len(t, told.Spans, 1)
	require.Equal(t, key, told.Spans[0].Missing)
	require.Len(t, told.Timelines[0].Ranges, 2)
	require.Equal(t, last, told.Timelines[0].Ranges[1].First)
	code, stdout, stderr = s.run(t, "window", "database", "orders")
	require.Zero(t, code, stderr)
	require.Regexp(t, `HOLE +`+lost+` is missing`, stdout)

	code, _, stderr = s.run(t, "window", "database", "books")
	require.Equal(t, fault.ExitNotFound, code)
	require.Contains(t, stderr, "HINT: configured are: orders")
}
