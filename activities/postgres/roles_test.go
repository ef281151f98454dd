package postgres_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
)

// as makes Lifeboat log in under another role.
func (h *house) as(t *testing.T, role, password string) {
	t.Helper()
	dsn, err := url.Parse(h.DSN)
	require.NoError(t, err)
	dsn.User = url.UserPassword(role, password)
	h.DSN = dsn.String()
}

func TestAClusterWhoseFirstSuperuserMayNotLogInIsRecovered(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'secret'", "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.as(t, "keeper", "secret")
	h.exec(t, "ALTER ROLE postgres NOLOGIN", "ALTER DATABASE template1 ALLOW_CONNECTIONS false")
	taken := h.backup(t, "backup/1", time.Now())
	require.Equal(t, "postgres", taken.Facts.Superuser)
	require.Equal(t, "keeper", taken.Facts.Login)
	h.exec(t, "INSERT INTO users VALUES ('b')")
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	p := h.prepare(t, "recover/1")
	h.fence(t, &p)
	verified := must(t, h.activities.Verify, activities.VerifyInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	require.Equal(t, []activities.TableCount{{Table: "users", Rows: 2}}, verified.Tables)
	in := activities.CutOverInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts, LSN: p.replayed.LSN, Timeline: p.replayed.Timeline}
	must(t, h.activities.CutOver, in)
	must(t, h.activities.Promote, activities.PromoteInput{Ref: p.ref, Place: p.found.Place, Timeline: p.replayed.Timeline})
	require.Equal(t, "a b", h.users(t))
}

func TestABackupThatNobodyCouldVerifyIsRefused(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE ROLE keeper LOGIN PASSWORD 'secret'", "GRANT postgres TO keeper", "ALTER ROLE keeper SET role = postgres",
		"ALTER ROLE postgres NOLOGIN")
	h.as(t, "keeper", "secret")
	_, err := do(t, h.activities.BackupPreflight, activities.BackupPreflightInput{Ref: h.ref("backup/1")})
	require.True(t, fault.Has(err, fault.ServerSettings), "%v", err)
	require.ErrorContains(t, err, "neither role postgres nor role keeper is a superuser that may log in")
	require.Contains(t, fault.HintOf(err), `ALTER ROLE "keeper" SUPERUSER LOGIN`)
}
