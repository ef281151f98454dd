package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// digest is of all rows of the tables that the test fills.
func (h *house) digest(t *testing.T) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var digest string
	require.NoError(t, conn.QueryRow(t.Context(), `
		SELECT sum(hashtextextended(r, 0))::text FROM (SELECT u::text FROM users u UNION ALL SELECT w::text FROM wide w) s(r)`).Scan(&digest))
	return digest
}

func TestABaseBackupSharesWhatHasNotChangedAndIsWholeByItself(t *testing.T) {
	t.Parallel()
	h := build(t)
	levels := map[string]string{}
	h.deps.Proof = func(_ context.Context, _ system.System, key string) (string, error) { return levels[key], nil }
	h.activities = activities.New(h.deps)
	space, err := h.lab.Folder("space", "live")
	require.NoError(t, err)
	const rows = "SELECT g::text || repeat(md5(random()::text || g), 20) FROM generate_series(1, 12000) g"
	h.exec(t, "CREATE TABLESPACE beside LOCATION '"+space+"'",
		"CREATE TABLE users (name text)", "INSERT INTO users "+rows,
		"CREATE TABLE wide (name text) TABLESPACE beside", "INSERT INTO wide "+rows)
	take := func(run string, full bool) activities.BaseBackupResult {
		at := time.Date(2024, 1, 15, 2, len(levels), 0, 0, time.UTC)
		taken := must(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: h.ref(run), At: at, Full: full})
		levels[taken.Key] = ""
		return taken
	}
	h.exec(t, "VACUUM (FREEZE) users, wide", "CHECKPOINT")
	first := take("backup/1", false)
	require.Zero(t, first.Shared)
	unproven := take("backup/2", false)
	require.Zero(t, unproven.Shared, "what is not proven is shared with nothing")
	levels[unproven.Key] = "L1"

	same := take("backup/3", false)
	require.Equal(t, unproven.Key, same.Base)
	require.Greater(t, same.Shared, int64(15<<20), "both tables")
	require.Less(t, same.Stored, first.Stored/4)
	levels[same.Key] = "L1"
	require.Zero(t, take("backup/4", true).Shared, "asked to store everything")

	h.exec(t, "DELETE FROM users WHERE ctid < '(200,0)'", "UPDATE wide SET name = upper(name) WHERE ctid BETWEEN '(500,0)' AND '(600,0)'",
		"INSERT INTO wide SELECT repeat(md5(random()::text), 20) FROM generate_series(1, 3000)")
	levels["database-backups/2024/01/15/frende_db_backup_20240115_020300.base"] = "L1"
	changed := take("backup/5", false)
	require.Positive(t, changed.Shared)
	require.Less(t, changed.Shared, same.Shared)
	want := h.digest(t)
	h.switched(t)

	_, err = h.Kill(t.Context())
	require.NoError(t, err)
	p := h.prepare(t, "recover/1")
	require.Equal(t, changed.Key, p.found.Key)
	h.fence(t, &p)
	h.cutOver(t, &p)
	require.Equal(t, want, h.digest(t))

	// What is wrong in a damaged one may lie in what it shares with those before it.
	levels[changed.Key] = "L1"
	opened, err := h.at.vault(t.Context(), nil)
	require.NoError(t, err)
	damaged, err := opened.Open(t.Context(), changed.Key)
	require.NoError(t, err)
	require.NoError(t, damaged.Judge(t.Context(), vault.Verdict{Level: "L1", Run: "verify/1", At: time.Now(), What: "a chunk"}))
	require.Zero(t, take("backup/6", false).Shared)
}
