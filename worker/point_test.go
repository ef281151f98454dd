package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

// archived ends the WAL segment and waits until it is in the store.
func (h *house) archived(t *testing.T) {
	t.Helper()
	segment := h.text(t, "select pg_walfile_name(pg_switch_wal())")
	await(t, segment+" to be archived", func() bool {
		return h.text(t, "select coalesce(last_archived_wal, '') from pg_stat_archiver") >= segment
	})
}

func TestATableThatWasDroppedIsBackAsItWas(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.lifeboat(t, "backup", "system").done(t)
	h.sql(t, "insert into users select n, 'kept' from generate_series(100001, 100010) n")
	before := h.text(t, "select count(*)::text || md5(string_agg(u::text, ',' order by u::text)) from users u")
	at := h.text(t, `select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)
	h.sql(t, "insert into users select n, 'after the moment' from generate_series(200001, 200005) n")
	h.lifeboat(t, "restore-point", "before-migration").done(t)
	named := h.text(t, "select count(*)::text from users")
	h.sql(t, "drop table users cascade")
	h.archived(t)
	require.Contains(t, h.lifeboat(t, "window", "database", "frende").done(t).stdout, "before-migration")

	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	h.lifeboat(t, "recover", "database", "frende", "--to", future, "--yes-destroy", "frende").ended(t, fault.InputInvalid, future, "it lies in the future")
	h.lifeboat(t, "recover", "database", "frende", "--to", "2024-01-15T09:42:00Z", "--yes-destroy", "frende").ended(t, fault.PointUnreachable, "2024-01-15")
	h.lifeboat(t, "recover", "database", "frende", "--to", "name:before-migration", "--yes-destroy", "frende").done(t)
	require.Equal(t, named, h.text(t, "select count(*)::text from users"), "all that was there when it was named")

	// Further back, on the timeline that the first recovery left behind.
	h.lifeboat(t, "recover", "database", "frende", "--to", at, "--yes-destroy", "frende").done(t)
	require.Equal(t, before, h.text(t, "select count(*)::text || md5(string_agg(u::text, ',' order by u::text)) from users u"), "exact to the commit")
	h.lifeboat(t, "watch", "recover/frende/database").done(t)
	h.sql(t, "insert into users values (300001, 'on the newest timeline')")
	h.archived(t)
	h.lifeboat(t, "recover", "database", "frende", "--yes-destroy", "frende").done(t)
	require.Equal(t, "1", h.text(t, "select count(*)::text from users where id > 200000"), "latest follows what came last, and nothing that was given up")
	h.keepsSecrets(t)
}
