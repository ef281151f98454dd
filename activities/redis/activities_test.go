package redis_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// house is a system with one real Redis server, which it starts and stops as a
// service, and a store in memory.
type house struct {
	t      *testing.T
	redis  *lab.Redis
	system system.System
	cache  system.Cache
	store  store.Store
}

func newHouse(t *testing.T, appendOnly bool) *house {
	r := lab.StartRedis(t, lab.RedisOptions{AppendOnly: appendOnly, Settings: map[string]string{"enable-debug-command": "yes"}})
	h := &house{t: t, redis: r, store: mem.New("primary")}
	h.cache = system.Cache{Name: "sessions", Address: r.Address, Password: "env:REDIS_PASSWORD", DataDir: r.Dir, Config: r.Config, Service: "redis"}
	h.system = system.System{Name: "frende", Backup: system.Backup{Compression: "zstd"}, Caches: []system.Cache{h.cache}, Services: []system.Service{h.service()}}
	t.Cleanup(func() { h.stop() })
	return h
}

// service runs the server by its programs, as the account of the lab.
func (h *house) service() system.Service {
	account, err := lab.Ordinary()
	require.NoError(h.t, err)
	var as []string
	if os.Geteuid() == 0 {
		as = []string{"setpriv", fmt.Sprintf("--reuid=%d", account.UID), fmt.Sprintf("--regid=%d", account.GID), "--clear-groups"}
	}
	cli := fmt.Sprintf("redis-cli -p %d", h.redis.Port)
	return system.Service{
		Name: "redis", Role: system.RoleServer, Kind: system.ServiceCommand, Timeout: system.Duration(time.Minute),
		Start:  append(as, "redis-server", h.redis.Config, "--daemonize", "yes"),
		Stop:   []string{"sh", "-c", cli + " shutdown || true"},
		Status: []string{"sh", "-c", cli + " ping | grep -q PONG || exit 3"},
	}
}

func (h *house) environment() []string {
	return append(os.Environ(), "REDISCLI_AUTH="+h.redis.Password)
}

func (h *house) stop() {
	stop := exec.CommandContext(context.WithoutCancel(h.t.Context()), "sh", "-c", h.service().Stop[2])
	stop.Env = h.environment()
	require.NoError(h.t, stop.Run())
}

func (h *house) deps() redis.Deps {
	return redis.Deps{
		Vault: func(_ context.Context, s system.System, onFallback func(vault.Fallback)) (*vault.Vault, error) {
			ring, err := keys.NewRing(keys.Config{System: s.Name, Secrets: []keys.Secret{keys.NewSecret([]byte("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"))}})
			if err != nil {
				return nil, err
			}
			return vault.New(vault.Config{System: s.Name, Store: h.store, Keys: ring, Budget: vault.NewBudget(64 << 20), ChunkSize: 64 << 10, FrameSize: 16 << 10, OnFallback: onFallback})
		},
		Secret: func(ref system.SecretRef) ([]byte, error) {
			require.Equal(h.t, h.cache.Password, ref)
			return []byte(h.redis.Password), nil
		},
		Services: service.New(service.Config{Env: h.environment(), LogDir: h.t.TempDir()}),
	}
}

// run runs one activity as a worker would.
func run[In, Out any](h *house, activity func(*redis.Activities) func(context.Context, In) (Out, error), in In) (Out, error) {
	h.t.Helper()
	f := activity(redis.New(h.deps()))
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	var failed error
	step := func(ctx context.Context, in In) (Out, error) {
		out, err := f(ctx, in)
		failed = err
		return out, err
	}
	env.RegisterActivity(step)
	var out Out
	value, err := env.ExecuteActivity(step, in)
	if err != nil {
		return out, failed
	}
	require.NoError(h.t, value.Get(&out))
	return out, nil
}

func (h *house) client() *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: h.redis.Address, Password: h.redis.Password, Protocol: 2, DisableIdentity: true})
	h.t.Cleanup(func() { require.NoError(h.t, c.Close()) })
	return c
}

func (h *house) fill(count int) {
	h.t.Helper()
	pipe := h.client().Pipeline()
	for i := range count {
		pipe.Set(h.t.Context(), fmt.Sprintf("session:%d", i), fmt.Sprintf("%0200d", i), 0)
	}
	_, err := pipe.Exec(h.t.Context())
	require.NoError(h.t, err)
}

func (h *house) digest() string {
	h.t.Helper()
	found, err := h.client().Do(h.t.Context(), "DEBUG", "DIGEST").Text()
	require.NoError(h.t, err)
	return found
}

var at = time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)

func (h *house) backUp(runID string) (redis.BackupResult, error) {
	h.t.Helper()
	_, err := run(h, func(a *redis.Activities) func(context.Context, redis.BackupPreflightInput) (redis.BackupPreflightResult, error) {
		return a.BackupPreflight
	}, redis.BackupPreflightInput{System: h.system, Cache: h.cache})
	if err != nil {
		return redis.BackupResult{}, err
	}
	return run(h, func(a *redis.Activities) func(context.Context, redis.BackupInput) (redis.BackupResult, error) {
		return a.Backup
	},
		redis.BackupInput{System: h.system, Cache: h.cache, RunID: runID, By: "test", At: at})
}

func (h *house) preflight(key string) (redis.RestorePreflightResult, error) {
	h.t.Helper()
	return run(h, func(a *redis.Activities) func(context.Context, redis.RestorePreflightInput) (redis.RestorePreflightResult, error) {
		return a.RestorePreflight
	}, redis.RestorePreflightInput{System: h.system, Cache: h.cache, Key: key, RunID: "recover/frende/cache/sessions"})
}

func (h *house) restore(found redis.RestorePreflightResult) (redis.RestoreResult, error) {
	h.t.Helper()
	return run(h, func(a *redis.Activities) func(context.Context, redis.RestoreInput) (redis.RestoreResult, error) {
		return a.Restore
	},
		redis.RestoreInput{System: h.system, Cache: h.cache, Key: found.Key, Place: found.Place, Layout: found.Layout})
}

func (h *house) verify(found redis.RestorePreflightResult) (redis.VerifyResult, error) {
	h.t.Helper()
	return run(h, func(a *redis.Activities) func(context.Context, redis.VerifyInput) (redis.VerifyResult, error) {
		return a.Verify
	},
		redis.VerifyInput{System: h.system, Cache: h.cache, Place: found.Place, Layout: found.Layout, Facts: found.Facts})
}

func (h *house) cutOver(found redis.RestorePreflightResult) (redis.CutOverResult, error) {
	h.t.Helper()
	return run(h, func(a *redis.Activities) func(context.Context, redis.CutOverInput) (redis.CutOverResult, error) {
		return a.CutOver
	},
		redis.CutOverInput{System: h.system, Cache: h.cache, Place: found.Place, Layout: found.Layout, Facts: found.Facts, RunID: found.Place.Run})
}

func (h *house) discard(found redis.RestorePreflightResult) (redis.DiscardResult, error) {
	h.t.Helper()
	return run(h, func(a *redis.Activities) func(context.Context, redis.DiscardInput) (redis.DiscardResult, error) {
		return a.Discard
	},
		redis.DiscardInput{Place: found.Place, RunID: found.Place.Run})
}

// prepared restores and verifies.
func (h *house) prepared() redis.RestorePreflightResult {
	h.t.Helper()
	found, err := h.preflight("")
	require.NoError(h.t, err)
	restored, err := h.restore(found)
	require.NoError(h.t, err)
	require.Equal(h.t, found.Facts.Bytes, restored.Bytes)
	verified, err := h.verify(found)
	require.NoError(h.t, err)
	require.Equal(h.t, found.Facts.Keys, verified.Keys)
	return found
}

func TestALostServerComesBackWithEveryAppendonlySetting(t *testing.T) {
	for _, appendOnly := range []bool{false, true} {
		t.Run(fmt.Sprintf("appendonly %v", appendOnly), func(t *testing.T) {
			h := newHouse(t, appendOnly)
			h.fill(2000)
			want := h.digest()
			made, err := h.backUp("backup/1")
			require.NoError(t, err)
			require.Equal(t, "redis-backups/2024/01/15/sessions_redis_backup_20240115_020000.rdb", made.Key)
			require.EqualValues(t, 2000, made.Facts.Keys)
			require.Equal(t, appendOnly, made.Facts.Layout.AppendOnly)

			_, err = h.redis.Kill(t.Context())
			require.NoError(t, err)
			require.NoError(t, os.RemoveAll(h.redis.Dir))
			found := h.prepared()
			require.Equal(t, appendOnly, found.Layout.AppendOnly)
			require.NoDirExists(t, h.redis.Dir, "nothing is in place before the cut-over")
			swapped, err := h.cutOver(found)
			require.NoError(t, err)
			require.EqualValues(t, 2000, swapped.Keys)
			require.Empty(t, swapped.Old)
			require.Equal(t, want, h.digest())

			require.NoError(t, h.client().Set(t.Context(), "after", "the recovery", 0).Err())
			again, err := h.cutOver(found)
			require.NoError(t, err, "a cut-over that has happened is a success")
			require.Equal(t, swapped, again)
			require.NoError(t, h.client().Get(t.Context(), "after").Err(), "and does not stop the server again")
		})
	}
}

func TestARunningServerIsReplacedAndItsDirectoryKept(t *testing.T) {
	h := newHouse(t, true)
	h.fill(500)
	want := h.digest()
	_, err := h.backUp("backup/1")
	require.NoError(t, err)
	require.NoError(t, h.client().FlushAll(t.Context()).Err(), "someone's mistake")
	found := h.prepared()
	require.EqualValues(t, 0, h.client().DBSize(t.Context()).Val(), "the live server is not touched before the cut-over")
	swapped, err := h.cutOver(found)
	require.NoError(t, err)
	require.Equal(t, found.Place.Aside, swapped.Old)
	require.DirExists(t, swapped.Old)
	require.Equal(t, want, h.digest())
}

func TestAConfigurationThatComesBackLateIsFollowed(t *testing.T) {
	h := newHouse(t, true)
	h.fill(300)
	want := h.digest()
	_, err := h.backUp("backup/1")
	require.NoError(t, err)
	_, err = h.redis.Kill(t.Context())
	require.NoError(t, err)
	config, err := os.ReadFile(h.redis.Config)
	require.NoError(t, err)
	require.NoError(t, os.Remove(h.redis.Config))

	found := h.prepared()
	require.True(t, found.Layout.AppendOnly, "as the server said when it was backed up")
	off := append(config, "\nappendonly no\n"...)
	require.NoError(t, os.WriteFile(h.redis.Config, off, 0o644))
	swapped, err := h.cutOver(found)
	require.NoError(t, err)
	require.EqualValues(t, 300, swapped.Keys)
	require.Equal(t, want, h.digest())
}

func TestDiscardLeavesNothingAndTheServerRunning(t *testing.T) {
	h := newHouse(t, false)
	h.fill(100)
	_, err := h.backUp("backup/1")
	require.NoError(t, err)
	before := beside(t, h.redis.Dir)
	found := h.prepared()
	discarded, err := h.discard(found)
	require.NoError(t, err)
	require.True(t, discarded.Removed)
	require.Equal(t, before, beside(t, h.redis.Dir))
	discarded, err = h.discard(found)
	require.NoError(t, err)
	require.False(t, discarded.Removed)

	// A clean-up does the same for a run that has ended without it, by the run's name.
	found = h.prepared()
	discarded, err = run(h, func(a *redis.Activities) func(context.Context, redis.DiscardRunInput) (redis.DiscardResult, error) {
		return a.DiscardRun
	}, redis.DiscardRunInput{Cache: h.cache, RunID: found.Place.Run})
	require.NoError(t, err)
	require.True(t, discarded.Removed)
	require.Equal(t, before, beside(t, h.redis.Dir))
	require.EqualValues(t, 100, h.client().DBSize(t.Context()).Val())
}

func beside(t *testing.T, live string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(live))
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestAVerificationFailsOnADamagedRDB(t *testing.T) {
	h := newHouse(t, false)
	h.fill(100)
	_, err := h.backUp("backup/1")
	require.NoError(t, err)
	found := h.prepared()
	rdb := filepath.Join(found.Place.Staging, found.Layout.RDB())
	content, err := os.ReadFile(rdb)
	require.NoError(t, err)
	content[len(content)/2] ^= 1
	require.NoError(t, os.WriteFile(rdb, content, 0o600))
	_, err = h.verify(found)
	require.ErrorIs(t, err, fault.VerificationFailed.Err())
}

func TestAVerificationFailsWhenKeysAreMissing(t *testing.T) {
	h := newHouse(t, false)
	h.fill(100)
	_, err := h.backUp("backup/1")
	require.NoError(t, err)
	found := h.prepared()
	found.Facts.Keys += found.Facts.Slack + 1
	_, err = h.verify(found)
	require.ErrorIs(t, err, fault.VerificationFailed.Err())
}

func TestBadInputIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	h := newHouse(t, false)
	h.fill(10)
	_, err := h.preflight("")
	require.ErrorIs(t, err, fault.BackupUnknown.Err())
	made, err := h.backUp("backup/1")
	require.NoError(t, err)
	again, err := h.backUp("backup/1")
	require.NoError(t, err)
	require.Equal(t, made, again)
	_, err = h.backUp("backup/2")
	require.ErrorIs(t, err, fault.BackupConflict.Err())

	elsewhere := h.cache
	h.cache.DataDir = t.TempDir()
	_, err = h.preflight(made.Key)
	require.ErrorIs(t, err, fault.ServerSettings.Err(), "the configuration keeps its data elsewhere")
	_, err = h.backUp("backup/3")
	require.ErrorIs(t, err, fault.ServerSettings.Err())
	h.cache = elsewhere

	h.cache.Name = "other"
	_, err = h.preflight(made.Key)
	require.ErrorIs(t, err, fault.InputInvalid.Err())
}

func TestAServerStartedByHandKeepsTheCutOverFromHappening(t *testing.T) {
	h := newHouse(t, false)
	h.fill(10)
	_, err := h.backUp("backup/1")
	require.NoError(t, err)
	found := h.prepared()
	h.system.Services[0].Stop = []string{"true"}
	h.system.Services[0].Status = []string{"sh", "-c", "exit 3"} // the service says it is stopped, and somebody still serves
	_, err = h.cutOver(found)
	require.ErrorIs(t, err, fault.TargetRefused.Err())
	require.DirExists(t, found.Place.Staging)
	require.EqualValues(t, 10, h.client().DBSize(t.Context()).Val())
}

func (h *house) undo(of, runID string) (redis.UndoCutOverResult, error) {
	h.t.Helper()
	return run(h, func(a *redis.Activities) func(context.Context, redis.UndoCutOverInput) (redis.UndoCutOverResult, error) {
		return a.UndoCutOver
	}, redis.UndoCutOverInput{System: h.system, Cache: h.cache, Of: of, RunID: runID})
}

func TestWhatARecoveryReplacedIsServedAgain(t *testing.T) {
	h := newHouse(t, true)
	h.fill(500)
	_, err := h.backUp("backup/1")
	require.NoError(t, err)
	require.NoError(t, h.client().Set(t.Context(), "after", "the backup", 0).Err())
	before := h.digest()
	found := h.prepared()
	swapped, err := h.cutOver(found)
	require.NoError(t, err)
	require.NotEqual(t, before, h.digest())

	_, err = h.undo("recover/other", "undo/1")
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.EqualValues(t, 500, h.client().DBSize(t.Context()).Val(), "the recovered server goes on")

	undone, err := h.undo(found.Place.Run, "undo/1")
	require.NoError(t, err)
	require.EqualValues(t, 501, undone.Keys)
	require.DirExists(t, undone.Kept)
	require.NoDirExists(t, swapped.Old)
	require.Equal(t, before, h.digest())
	require.NoError(t, h.client().Set(t.Context(), "since", "the undo", 0).Err())
	again, err := h.undo(found.Place.Run, "undo/1")
	require.NoError(t, err, "an undo that has happened is a success")
	require.Equal(t, undone.Kept, again.Kept)
	require.NoError(t, h.client().Get(t.Context(), "since").Err(), "and does not stop the server again")
	require.NoFileExists(t, h.redis.Dir+".lifeboat-lock")
}
