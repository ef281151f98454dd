package postgres_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/workflows/api"
)

// segments lists what the archive holds of timeline 1.
func (h *house) segments(t *testing.T) []string {
	t.Helper()
	opened, err := s3.New(t.Context(), h.at.Store)
	require.NoError(t, err)
	var keys []string
	for info, err := range opened.List(t.Context(), "wal/frende/", store.ListOptions{}) {
		require.NoError(t, err)
		if len(filepath.Base(info.Key)) == 24 {
			keys = append(keys, info.Key)
		}
	}
	return keys
}

func (h *house) lose(t *testing.T, key string) {
	t.Helper()
	opened, err := s3.New(t.Context(), h.at.Store)
	require.NoError(t, err)
	info, err := opened.Head(t.Context(), key)
	require.NoError(t, err)
	require.NoError(t, opened.Delete(t.Context(), key, info.Version))
}

func TestArchiveIsHeldAgainstWhatTheServerBelieves(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	check := func(late time.Duration) api.ArchiveChecked {
		return must(t, h.activities.CheckArchive, activities.CheckArchiveInput{Ref: h.ref("check"), Late: late})
	}
	for range 3 {
		h.exec(t, "INSERT INTO users VALUES ('early')")
		h.switched(t)
	}
	must(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: h.ref("backup"), At: time.Now().UTC()})
	before := h.segments(t)
	for range 3 {
		h.exec(t, "INSERT INTO users VALUES ('late')")
		h.switched(t)
	}
	whole := h.segments(t)
	found := check(time.Minute)
	require.Equal(t, api.ArchiveChecked{Component: "database/frende", At: found.At, Newest: filepath.Base(whole[len(whole)-1])}, found)

	// What is lost of the time before the newest backup is of no use to a recovery from it.
	h.lose(t, before[0])
	require.Empty(t, check(time.Minute).Lost)

	// The server believes that it archived these and still has them: one in the middle, and the newest.
	h.lose(t, whole[len(whole)-1])
	h.lose(t, whole[len(whole)-3])
	found = check(time.Minute)
	require.Equal(t, []string{filepath.Base(whole[len(whole)-3]), filepath.Base(whole[len(whole)-1])}, found.Again)
	require.Empty(t, found.Lost)
	require.Len(t, h.segments(t), len(whole)-1)
	require.Empty(t, check(time.Minute).Again)

	// And this one, which it no longer has.
	h.lose(t, whole[len(whole)-2])
	h.exec(t, "CHECKPOINT", "INSERT INTO users VALUES ('later')")
	require.Eventually(t, func() bool {
		h.exec(t, "INSERT INTO users VALUES ('later')", "SELECT pg_switch_wal()", "CHECKPOINT")
		left, err := filepath.Glob(filepath.Join(h.DataDir, "pg_wal", filepath.Base(whole[len(whole)-2])))
		return err == nil && len(left) == 0
	}, time.Minute, time.Second)
	h.switched(t)
	require.Equal(t, []string{filepath.Base(whole[len(whole)-2])}, check(time.Minute).Lost)
	must(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: h.ref("backup again"), At: time.Now().UTC().Add(time.Second)})
	require.Empty(t, check(time.Minute).Lost, "a newer base backup needs none of it")
}

func TestArchiverThatFailsOrLiesIsFoundOut(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "ALTER SYSTEM SET archive_command = 'true'", "SELECT pg_reload_conf()", "INSERT INTO users VALUES ('early')")
	check := func(late time.Duration) api.ArchiveChecked {
		return must(t, h.activities.CheckArchive, activities.CheckArchiveInput{Ref: h.ref("check"), Late: late})
	}
	h.switched(t) // it believes that it archived
	found := check(time.Hour)
	require.NotEmpty(t, found.Again)
	require.Empty(t, found.Lost)
	require.Len(t, h.segments(t), len(found.Again))
	require.Empty(t, check(time.Hour).Again)

	h.exec(t, "ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()", "INSERT INTO users VALUES ('early')", "SELECT pg_switch_wal()")
	require.Eventually(t, func() bool { return len(check(time.Millisecond).Late) == 1 }, time.Minute, 20*time.Millisecond)
	require.Empty(t, check(time.Hour).Late)

	// A second region that has nothing yet, and one that is away.
	replica := faulty.New(t, mem.New("dr"))
	deps := h.deps
	deps.Vault = func(ctx context.Context, _ system.System, onFallback func(vault.Fallback)) (*vault.Vault, error) {
		opened, err := h.at.vault(ctx, onFallback)
		if err != nil {
			return nil, err
		}
		return opened.WithStores(opened.Store(), replica), nil
	}
	both := activities.New(deps)
	checked := must(t, both.CheckArchive, activities.CheckArchiveInput{Ref: h.ref("check"), Late: time.Hour})
	require.Equal(t, api.ReplicaChecked{Store: "dr", Lacks: len(h.segments(t))}, *checked.Replica)
	replica.Queue(faulty.Fault{Op: faulty.List, Key: "/00000001/", Err: fault.Newf(fault.StorageUnavailable, "list", "dr", "on purpose")})
	checked = must(t, both.CheckArchive, activities.CheckArchiveInput{Ref: h.ref("check"), Late: time.Hour})
	require.Contains(t, checked.Replica.Why, "on purpose")
	require.NotEmpty(t, checked.Newest, "the primary store is told all the same")

	h.system.Databases[0].DataDir = t.TempDir()
	_, err := do(t, h.activities.CheckArchive, activities.CheckArchiveInput{Ref: h.ref("check")})
	require.Equal(t, fault.ConfigInvalid, fault.KindOf(err))
}
