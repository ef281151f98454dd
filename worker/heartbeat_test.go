package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
)

// Nobody writes to the server, and its archive goes on: each segment holds a
// commit that is newer than the last one's.
func TestTheArchiveOfAnIdleServerGoesOn(t *testing.T) {
	l := lab.New(t)
	archive, err := l.Folder("archive")
	require.NoError(t, err)
	server, err := l.Postgres(t.Context(), lab.PostgresOptions{
		SegmentMiB: 1, ArchiveCommand: "cp %p " + archive + "/%f", Settings: map[string]string{"archive_timeout": "1s"},
	})
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), server.DSN)
	require.NoError(t, err)
	// After a clean start a server does not look at archive_timeout before its first checkpoint.
	_, err = conn.Exec(t.Context(), "CREATE ROLE plain LOGIN PASSWORD 'plain'; CHECKPOINT")
	require.NoError(t, err)
	var tables int
	const count = "SELECT count(*) FROM pg_class"
	require.NoError(t, conn.QueryRow(t.Context(), count).Scan(&tables))
	require.NoError(t, conn.Close(t.Context()))

	every := system.Duration(100 * time.Millisecond)
	configured := &system.System{Databases: []system.Database{{Name: "idle", Heartbeat: &every}, {Name: "off", Heartbeat: new(system.Duration)}}}
	var away atomic.Bool
	secret := func(system.SecretRef) ([]byte, error) {
		if away.Load() {
			return nil, fault.Newf(fault.SecretUnavailable, "read", "connection", "on purpose")
		}
		return []byte(strings.Replace(server.DSN, "postgres:"+server.Password, "plain:plain", 1)), nil
	}
	core, log := observer.New(zap.InfoLevel)
	wait := keepBeating(t.Context(), configured, secret, zap.New(core))
	defer wait()
	newest := func() (at time.Time) {
		entries, err := os.ReadDir(archive)
		require.NoError(t, err)
		for _, entry := range entries {
			body, err := os.ReadFile(filepath.Join(archive, entry.Name()))
			require.NoError(t, err)
			if m := postgres.ReadMoments(body, 0); m.Last.After(at) {
				at = m.Last
			}
		}
		return at
	}
	began := time.Now()
	require.Eventually(t, func() bool { return newest().After(began) }, time.Minute, 50*time.Millisecond)
	first := newest()
	require.Eventually(t, func() bool { return newest().After(first) }, time.Minute, 50*time.Millisecond)
	require.Zero(t, log.Len())

	away.Store(true)
	require.Eventually(t, func() bool { return log.Len() == 1 }, time.Minute, 10*time.Millisecond)
	away.Store(false)
	require.Eventually(t, func() bool { return log.FilterMessage("heartbeats again").Len() == 1 }, time.Minute, 10*time.Millisecond)
	require.Equal(t, 2, log.Len(), "a failure is told when it begins and when it is over")

	conn, err = pgx.Connect(t.Context(), server.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var now int
	require.NoError(t, conn.QueryRow(t.Context(), count).Scan(&now))
	require.Equal(t, tables, now, "nothing of the users' was touched")
}
