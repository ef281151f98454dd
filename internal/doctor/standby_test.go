package doctor_test

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/doctor"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/system"
)

func TestAStandbyThatCantBeCopiedIsFound(t *testing.T) {
	const id = "postgresql/orders/standby"
	standby, err := shared.lab.Standby(t.Context(), shared.postgres, lab.StandbyOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, standby.Stop(context.Background())) })
	path := shared.lab.Path("home", "standby-dsn")
	named := func(dsn string) func(*system.System) {
		require.NoError(t, os.WriteFile(path, []byte(dsn), 0o600))
		return func(s *system.System) {
			s.Databases = slices.Clone(s.Databases)
			s.Databases[0].Standby = &system.Standby{Connection: shared.ref("standby-dsn"), Lag: system.Duration(time.Minute)}
		}
	}
	require.Equal(t, doctor.OK, shared.examine(t, named(standby.DSN), doctor.PostgreSQL).found(t, id).Status)
	require.NotContains(t, shared.examine(t, nil, doctor.PostgreSQL).ids(""), id)

	on := func(statement string) {
		conn, err := pgx.Connect(t.Context(), standby.DSN)
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), statement)
		require.NoError(t, err)
		require.NoError(t, conn.Close(t.Context()))
	}
	on("SELECT pg_wal_replay_pause()")
	_, err = shared.sql(t.Context(), t).Exec(t.Context(), "SELECT pg_logical_emit_message(true, 'lifeboat', 'behind')")
	require.NoError(t, err)
	paused, err := pgx.Connect(t.Context(), standby.DSN)
	require.NoError(t, err)
	defer func() { require.NoError(t, paused.Close(context.Background())) }()
	require.Eventually(t, func() bool { // it was sent what it does not replay
		var behind bool
		err := paused.QueryRow(t.Context(), "SELECT pg_get_wal_replay_pause_state() = 'paused' AND pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()").Scan(&behind)
		return err == nil && behind
	}, time.Minute, 10*time.Millisecond)
	shared.examine(t, named(standby.DSN), doctor.PostgreSQL).is(t, id, doctor.Warning, "its replay is paused", "pg_stat_replication")
	on("SELECT pg_wal_replay_resume()")

	shared.examine(t, named(shared.postgres.DSN), doctor.PostgreSQL).is(t, id, doctor.Warning, "it is no standby", "find out who promoted it")

	other, err := shared.lab.Postgres(t.Context(), lab.PostgresOptions{Name: "foreign"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Stop(context.Background())) })
	f := shared.examine(t, named(other.DSN), doctor.PostgreSQL).is(t, id, doctor.Problem, "belongs to another cluster", "")
	require.Contains(t, f.Why, "refused")

	require.NoError(t, standby.Stop(t.Context()))
	f = shared.examine(t, named(standby.DSN), doctor.PostgreSQL).is(t, id, doctor.Warning, "server can't be reached", "")
	require.NotContains(t, f.What, standby.Password)
	require.NoError(t, standby.Start(t.Context()))
}
