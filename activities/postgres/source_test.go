package postgres_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// follow gives the database a standby, which backups are copied from.
func (h *house) follow(t *testing.T, o lab.StandbyOptions) *lab.Postgres {
	t.Helper()
	standby, err := h.lab.Standby(t.Context(), h.Postgres, o)
	require.NoError(t, err)
	h.copyFrom(standby, 30*time.Second)
	return standby
}

// copyFrom names the standby in the configuration.
func (h *house) copyFrom(standby *lab.Postgres, lag time.Duration) {
	h.system.Databases[0].Standby = &system.Standby{Connection: "env:STANDBY", Lag: system.Duration(lag)}
	h.deps.Secret = func(ref system.SecretRef) ([]byte, error) {
		if ref == "env:STANDBY" {
			return []byte(standby.DSN), nil
		}
		return []byte(h.DSN), nil
	}
	h.activities = activities.New(h.deps)
}

// at names a server as faults do.
func at(t *testing.T, server *lab.Postgres) string {
	t.Helper()
	address, err := url.Parse(server.DSN)
	require.NoError(t, err)
	return "postgresql at " + net.JoinHostPort(address.Hostname(), address.Port())
}

// tell runs statements on a server.
func tell(t *testing.T, ctx context.Context, server *lab.Postgres, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, server.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	for _, statement := range statements {
		_, err := conn.Exec(ctx, statement)
		require.NoError(t, err, statement)
	}
}

func TestABackupOfAStandbyIsRestoredAsThePrimaryWas(t *testing.T) {
	t.Parallel()
	h := build(t)
	space, err := h.lab.Folder("space", "primary")
	require.NoError(t, err)
	elsewhere, err := h.lab.Folder("space", "standby")
	require.NoError(t, err)
	h.exec(t, "ALTER SYSTEM SET work_mem = '5MB'", "CREATE TABLESPACE wide LOCATION '"+space+"'", "CREATE TABLE users (name text) TABLESPACE wide", "INSERT INTO users VALUES ('a-before')")
	standby := h.follow(t, lab.StandbyOptions{Settings: map[string]string{"work_mem": "7MB"}, Tablespaces: map[string]string{space: elsewhere}})
	tell(t, t.Context(), standby, "ALTER SYSTEM SET work_mem = '9MB'")
	h.exec(t, "INSERT INTO users VALUES ('b-streamed')")

	made := h.backup(t, "backup/1", time.Now())
	require.Equal(t, at(t, standby), made.Facts.Standby)
	require.Empty(t, made.Facts.NoStandby)
	require.Equal(t, h.DataDir, made.Facts.DataDir)
	require.Len(t, made.Facts.Tablespaces, 1)
	require.Equal(t, space, made.Facts.Tablespaces[0].Location, "where the primary has it")
	kept := must(t, h.activities.KeepReference, activities.KeepReferenceInput{Ref: h.ref("backup/1"), Key: made.Key})
	require.NotEmpty(t, kept.Segment)

	t.Run("it is proven to hold what the primary held", func(t *testing.T) {
		ref, found, replayed := h.replayed(t, h.scratch("verify/1"), "L3", "")
		label, err := os.ReadFile(filepath.Join(found.Place.Staging, "backup_label.old"))
		require.NoError(t, err)
		require.Contains(t, string(label), "BACKUP FROM: standby")
		verified := must(t, h.activities.Verify, activities.VerifyInput{Ref: ref, Place: found.Place, Facts: found.Facts, Against: found.Key})
		require.Equal(t, kept.Tables, verified.Compared)
		require.Positive(t, must(t, h.activities.CheckPages, activities.CheckPagesInput{Ref: ref, Place: found.Place, Facts: found.Facts}).Blocks)
		require.Positive(t, must(t, h.activities.Inspect, activities.InspectInput{Ref: ref, Place: found.Place, Facts: found.Facts, LSN: replayed.LSN, Key: found.Key}).Databases)
		h.discardScratch(t, ref)
	})

	h.exec(t, "INSERT INTO users VALUES ('c-after')")
	p := h.prepare(t, "recover/1")
	require.FileExists(t, filepath.Join(p.found.Place.Staging, "standby.signal"))
	h.exec(t, "INSERT INTO users VALUES ('d-during')")
	h.fence(t, &p)
	must(t, h.activities.Verify, activities.VerifyInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	h.cutOver(t, &p)
	require.Equal(t, "a-before b-streamed c-after d-during", h.users(t))
	require.Equal(t, "5MB", h.one(t, "SHOW work_mem"), "the settings are the primary's")
	require.Equal(t, "", h.one(t, "SHOW primary_conninfo"))
	require.Equal(t, space, h.one(t, "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'wide'"))
}

func TestWhateverIsWrongWithAStandbyCostsNoBackup(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	standby := h.follow(t, lab.StandbyOptions{})
	day := 0
	passedOver := func(why ...string) {
		t.Helper()
		day++
		made := h.backup(t, "backup/"+why[0], time.Date(2024, 1, day, 2, 0, 0, 0, time.UTC))
		require.Empty(t, made.Facts.Standby)
		for _, words := range why {
			require.Contains(t, made.Facts.NoStandby, words)
		}
		require.Contains(t, made.Facts.NoStandby, at(t, standby))
	}

	tell(t, t.Context(), standby, "SELECT pg_wal_replay_pause()")
	h.copyFrom(standby, time.Second)
	passedOver("it lags: within 1s", "its replay is paused")
	tell(t, t.Context(), standby, "SELECT pg_wal_replay_resume()")
	h.copyFrom(standby, 30*time.Second)

	h.exec(t, "ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()")
	require.Eventually(t, func() bool { return h.one(t, "SHOW full_page_writes") == "off" }, time.Minute, 20*time.Millisecond)
	passedOver("full_page_writes of " + at(t, h.Postgres) + " is off")
	h.exec(t, "ALTER SYSTEM RESET full_page_writes", "SELECT pg_reload_conf()")
	require.Eventually(t, func() bool { return h.one(t, "SHOW full_page_writes") == "on" }, time.Minute, 20*time.Millisecond)

	require.NoError(t, standby.Stop(t.Context()))
	passedOver("server can't be reached")
	require.NoError(t, standby.Start(t.Context()))
	tell(t, t.Context(), standby, "SELECT pg_promote()")
	passedOver("it is no standby: it was promoted")
	h.copyFrom(h.Postgres, time.Second)
	standby = h.Postgres
	passedOver("is the primary itself")
}

func TestABackupIsNotTakenOfAnotherClustersStandby(t *testing.T) {
	t.Parallel()
	h := build(t)
	other, err := h.lab.Postgres(t.Context(), lab.PostgresOptions{Name: "other"})
	require.NoError(t, err)
	standby, err := h.lab.Standby(t.Context(), other, lab.StandbyOptions{})
	require.NoError(t, err)
	h.copyFrom(standby, time.Second)
	_, err = do(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: h.ref("backup/1"), At: time.Now()})
	require.True(t, fault.Has(err, fault.ForeignCluster), "%v", err)
	require.ErrorContains(t, err, at(t, standby))
	_, err = do(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: h.ref("recover/1")})
	require.True(t, fault.Has(err, fault.BackupUnknown), "%v", err)
}

// meanwhile does something once, while the first chunk is put, and lets no chunk be put before it is done.
type meanwhile struct {
	store.Store
	once sync.Once
	do   func()
}

func (m *meanwhile) Put(ctx context.Context, key string, body []byte, o store.PutOptions) (store.Info, error) {
	if strings.Contains(key, "/chunk/") {
		m.once.Do(m.do)
	}
	return m.Store.Put(ctx, key, body, o)
}

func TestAStandbyThatIsPromotedWhileItIsCopiedEndsTheAttempt(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')",
		"CREATE TABLE wide AS SELECT g, repeat('x', 1000) FROM generate_series(1, 60000) g") // more than is on its way at once
	standby := h.follow(t, lab.StandbyOptions{})
	around := &meanwhile{do: func() { tell(t, t.Context(), standby, "SELECT pg_promote()") }}
	open := h.deps.Vault
	h.deps.Vault = func(ctx context.Context, s system.System, onFallback func(vault.Fallback)) (*vault.Vault, error) {
		opened, err := open(ctx, s, onFallback)
		if err != nil {
			return nil, err
		}
		around.Store = opened.Store()
		return opened.WithStores(around, nil), nil
	}
	h.activities = activities.New(h.deps)
	in := activities.BaseBackupInput{Ref: h.ref("backup/1"), At: time.Now()}
	_, err := do(t, h.activities.BaseBackup, in)
	require.True(t, fault.Has(err, fault.StandbyUnfit), "%v", err)
	require.True(t, fault.Retryable(err))
	require.ErrorContains(t, err, at(t, standby))
	require.ErrorContains(t, err, "promoted during online backup")

	made := must(t, h.activities.BaseBackup, in)
	require.Empty(t, made.Facts.Standby)
	require.Contains(t, made.Facts.NoStandby, "it was promoted")
	h.prepare(t, "recover/1")
}
