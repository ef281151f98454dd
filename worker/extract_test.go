package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

func TestADroppedTableIsTakenOutOfTheBackupBesideALivingDatabase(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.lifeboat(t, "backup", "database").done(t)
	h.sql(t, "create table matches as select n as id, md5(n::text) as what from generate_series(1, 500) n")
	held := h.text(t, "select md5(string_agg(m::text, ',' order by id)) from matches m")
	at := h.text(t, `select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)
	h.sql(t, "drop table matches")
	h.sql(t, "insert into users values (500001, 'goes on')")
	h.archived(t)
	before := h.look(t)

	out := h.lab.Path("matches.sql")
	h.lifeboat(t, "extract", "table", "frende", "matches").ended(t, fault.InputInvalid, "--out frende.dump")
	h.lifeboat(t, "extract", "table", "frende", "matches", "--to", "2024-01-15T09:42:00Z", "--out", out).ended(t, fault.PointUnreachable, "2024-01-15")
	h.lifeboat(t, "extract", "table", "frende", "matches", "--to", "backup:"+h.key(t), "--out", out).ended(t, fault.NameUnknown, "matches", "public.users")
	require.NoFileExists(t, out)
	told := h.lifeboat(t, "extract", "table", "frende", "matches", "--to", at, "--out", out).done(t).stdout
	require.Contains(t, told, "public.matches  500 rows")
	require.Contains(t, told, "EXTRACTED frende of database/frende")
	require.Contains(t, told, "psql --set ON_ERROR_STOP=1")
	require.Equal(t, before, h.look(t), "production is as it was")
	require.Empty(t, h.strays(t))
	require.False(t, h.scratched(""), "nothing is left behind")
	h.lifeboat(t, "extract", "table", "frende", "matches", "--to", at, "--out", out).ended(t, fault.TargetRefused, out)

	psql := h.lab.Command(t.Context(), h.plan.BinDir+"/psql", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--single-transaction", "--dbname", h.dsn, "--file", out)
	h.run(t, psql).done(t)
	require.Equal(t, held, h.text(t, "select md5(string_agg(m::text, ',' order by id)) from matches m"))

	// One that is called off leaves no file, either.
	id := strings.TrimSpace(h.lifeboat(t, "extract", "database", "frende", "--out", h.lab.Path("all.dump"), "--detach").done(t).stdout)
	await(t, "the restore to have begun", func() bool { return h.scratched("data") })
	require.NoError(t, h.client.CancelWorkflow(t.Context(), id, ""))
	require.Error(t, h.client.GetWorkflow(t.Context(), id, "").Get(t.Context(), nil))
	require.False(t, h.scratched(""), "nothing is left behind")
	require.False(t, matches(h.lab.Path("all.dump*")))
	h.keepsSecrets(t)
}
