package redis_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/redis"
)

func connect(t *testing.T, r *lab.Redis) *redis.Server {
	t.Helper()
	server, err := redis.Connect(t.Context(), redis.Config{Address: r.Address, Password: r.Password})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return server
}

func client(t *testing.T, address, password string, db int) *goredis.Client {
	t.Helper()
	network := "tcp"
	if filepath.IsAbs(address) {
		network = "unix"
	}
	c := goredis.NewClient(&goredis.Options{Network: network, Addr: address, Password: password, DB: db, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// fill writes keys of every type, in two databases, some of which expire.
func fill(t *testing.T, r *lab.Redis, count int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	for db := range 2 {
		pipe := client(t, r.Address, r.Password, db).Pipeline()
		for i := range count {
			key := fmt.Sprintf("key:%d", i)
			switch i % 6 {
			case 0:
				pipe.Set(t.Context(), key, random.Uint64(), 0)
			case 1:
				pipe.HSet(t.Context(), key, "a", i, "b", random.Uint64())
			case 2:
				pipe.RPush(t.Context(), key, i, "x", random.Uint64())
			case 3:
				pipe.SAdd(t.Context(), key, i, "y")
			case 4:
				pipe.ZAdd(t.Context(), key, goredis.Z{Score: float64(i), Member: "m"})
			case 5:
				pipe.Set(t.Context(), key, i, time.Hour)
			}
		}
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
	}
}

// digest is the order-independent digest of every key of a server.
func digest(t *testing.T, address, password string) string {
	t.Helper()
	found, err := client(t, address, password, 0).Do(t.Context(), "DEBUG", "DIGEST").Text()
	require.NoError(t, err)
	return found
}

func debuggable() map[string]string { return map[string]string{"enable-debug-command": "yes"} }

func capture(t *testing.T, server *redis.Server) (redis.Capture, []byte) {
	t.Helper()
	var rdb bytes.Buffer
	captured, err := server.CaptureRDB(t.Context(), &rdb, nil)
	require.NoError(t, err)
	require.Equal(t, captured.Bytes, int64(rdb.Len()))
	return captured, rdb.Bytes()
}

// prepare writes the RDB into a new data directory, as a restore does.
func prepare(t *testing.T, rdb []byte, layout redis.Layout) string {
	t.Helper()
	dir := filepath.Join(lab.Dir(t), "staging")
	account, err := lab.Ordinary()
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(dir, 0o700))
	from := layout
	from.AppendOnly = false
	require.NoError(t, os.WriteFile(filepath.Join(dir, from.RDB()), rdb, 0o600))
	require.NoError(t, account.Own(dir))
	require.NoError(t, redis.Arrange(dir, from, layout))
	return dir
}

func programs(t *testing.T) redis.Programs {
	t.Helper()
	found, err := redis.FindPrograms("")
	require.NoError(t, err)
	return found
}

func isolate(t *testing.T, dir string, layout redis.Layout) *redis.Isolated {
	t.Helper()
	account, err := lab.Ordinary()
	require.NoError(t, err)
	isolated, err := redis.StartIsolated(t.Context(), redis.IsolatedConfig{Server: programs(t).Server, Dir: dir, Layout: layout, User: account.Name})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, isolated.Stop()) })
	return isolated
}

func TestAnRDBPutBackHoldsEveryKeyWithEveryAppendonlySetting(t *testing.T) {
	for _, source := range []bool{false, true} {
		r := lab.StartRedis(t, lab.RedisOptions{AppendOnly: source, Settings: debuggable()})
		fill(t, r, 600)
		server := connect(t, r)
		captured, rdb := capture(t, server)
		require.Equal(t, source, captured.Layout.AppendOnly)
		require.EqualValues(t, 1200, captured.Keys)
		require.EqualValues(t, 200, captured.Expires)
		require.Zero(t, captured.Slack)
		want := digest(t, r.Address, r.Password)

		for _, target := range []bool{false, true} {
			t.Run(fmt.Sprintf("appendonly %v to %v", source, target), func(t *testing.T) {
				layout := captured.Layout
				layout.AppendOnly = target
				dir := prepare(t, rdb, layout)
				keys, err := programs(t).Check(t.Context(), dir, layout)
				require.NoError(t, err)
				require.EqualValues(t, 1200, keys)

				before := listing(t, dir)
				isolated := isolate(t, dir, layout)
				loaded, err := isolated.Loaded(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, 1200, loaded.Keys)
				require.Zero(t, loaded.Expired)
				require.NoError(t, isolated.Stop())
				require.Equal(t, before, listing(t, dir), "an isolated server leaves the prepared directory as it was")

				live := startOn(t, dir, layout)
				require.Equal(t, want, digest(t, live.Address, live.Password))
			})
		}
	}
}

// startOn starts an ordinary server on a prepared directory.
func startOn(t *testing.T, dir string, layout redis.Layout) *lab.Redis {
	t.Helper()
	settings := debuggable()
	settings["dir"] = dir
	return lab.StartRedis(t, lab.RedisOptions{AppendOnly: layout.AppendOnly, Settings: settings})
}

func listing(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		found = append(found, fmt.Sprintf("%s %v", name, info.Mode()))
		return err
	}))
	return found
}

func TestAnRDBAloneWithAppendonlyOnWouldStartEmpty(t *testing.T) {
	r := lab.StartRedis(t, lab.RedisOptions{})
	fill(t, r, 60)
	captured, rdb := capture(t, connect(t, r))
	dir := prepare(t, rdb, captured.Layout)
	wrong := captured.Layout
	wrong.AppendOnly = true
	live := startOn(t, dir, wrong)
	loaded, err := connect(t, live).WaitLoaded(t.Context())
	require.NoError(t, err)
	require.Zero(t, loaded.Keys, "if this fails, Redis has changed: Arrange may do less")
}

func TestArrangeChangesItsMindBothWays(t *testing.T) {
	r := lab.StartRedis(t, lab.RedisOptions{})
	fill(t, r, 60)
	captured, rdb := capture(t, connect(t, r))
	off := captured.Layout
	on := off
	on.AppendOnly = true
	dir := prepare(t, rdb, off)
	for range 2 {
		require.NoError(t, redis.Arrange(dir, off, on))
		require.NoError(t, redis.Arrange(dir, off, on), "again")
		_, err := programs(t).Check(t.Context(), dir, on)
		require.NoError(t, err)
		require.NoError(t, redis.Arrange(dir, on, off))
		require.NoError(t, redis.Arrange(dir, on, off), "again")
		_, err = programs(t).Check(t.Context(), dir, off)
		require.NoError(t, err)
	}
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 1)
}

func TestACaptureUnderLoadIsOfOneMomentInItsWindow(t *testing.T) {
	r := lab.StartRedis(t, lab.RedisOptions{})
	fill(t, r, 600)
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan int64)
	c := client(t, r.Address, r.Password, 0)
	go func() {
		var n int64
		for ctx.Err() == nil {
			if c.Set(ctx, fmt.Sprintf("new:%d", n), n, 0).Err() == nil {
				n++
			}
		}
		written <- n
	}()
	captured, rdb := capture(t, connect(t, r))
	cancel()
	require.Positive(t, <-written)
	require.False(t, captured.Forked.Before(captured.Started))
	require.False(t, captured.Done.Before(captured.Forked))
	dir := prepare(t, rdb, captured.Layout)
	keys, err := programs(t).Check(t.Context(), dir, captured.Layout)
	require.NoError(t, err)
	require.LessOrEqual(t, keys, captured.Keys)
	require.GreaterOrEqual(t, keys, captured.Keys-captured.Slack)
}

func TestASaveThatRunsAlreadyDoesNotCount(t *testing.T) {
	r := lab.StartRedis(t, lab.RedisOptions{Settings: map[string]string{"rdb-key-save-delay": "2000"}})
	fill(t, r, 120) // 240 keys at 2 ms: the save takes half a second
	c := client(t, r.Address, r.Password, 0)
	require.NoError(t, c.BgSave(t.Context()).Err())
	require.NoError(t, c.Set(t.Context(), "after the fork", 1, 0).Err())
	captured, rdb := capture(t, connect(t, r))
	require.EqualValues(t, 241, captured.Keys)
	dir := prepare(t, rdb, captured.Layout)
	keys, err := programs(t).Check(t.Context(), dir, captured.Layout)
	require.NoError(t, err)
	require.EqualValues(t, 241, keys)
}

func TestKeysThatRunOutBetweenBackupAndLoadAreCounted(t *testing.T) {
	r := lab.StartRedis(t, lab.RedisOptions{})
	c := client(t, r.Address, r.Password, 0)
	for i := range 10 {
		require.NoError(t, c.Set(t.Context(), fmt.Sprintf("stays:%d", i), i, 0).Err())
	}
	expires := time.Now().Add(300 * time.Millisecond)
	for i := range 5 {
		require.NoError(t, c.Set(t.Context(), fmt.Sprintf("goes:%d", i), i, 0).Err())
		require.NoError(t, c.PExpireAt(t.Context(), fmt.Sprintf("goes:%d", i), expires).Err())
	}
	captured, rdb := capture(t, connect(t, r))
	require.EqualValues(t, 15, captured.Keys)
	require.Eventually(t, func() bool { return time.Now().After(expires) }, time.Minute, 10*time.Millisecond)
	dir := prepare(t, rdb, captured.Layout)
	loaded, err := isolate(t, dir, captured.Layout).Loaded(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 10, loaded.Keys)
	require.EqualValues(t, 5, loaded.Expired)
}

func TestADamagedRDBIsNeverTakenForSound(t *testing.T) {
	r := lab.StartRedis(t, lab.RedisOptions{})
	fill(t, r, 60)
	captured, rdb := capture(t, connect(t, r))
	for name, damage := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"flipped": func(b []byte) []byte { b[len(b)/2] ^= 0x10; return b },
		"empty":   func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			for _, on := range []bool{false, true} {
				layout := captured.Layout
				layout.AppendOnly = on
				_, err := programs(t).Check(t.Context(), prepare(t, damage(bytes.Clone(rdb)), layout), layout)
				require.ErrorIs(t, err, fault.VerificationFailed.Err())
			}
		})
	}
}

func TestAWrongPasswordIsRefusedAndNotRepeated(t *testing.T) {
	r := lab.StartRedis(t, lab.RedisOptions{})
	_, err := redis.Connect(t.Context(), redis.Config{Address: r.Address, Password: "hunter2"})
	require.ErrorIs(t, err, fault.ServerRefused.Err())
	require.NotContains(t, err.Error(), "hunter2")
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", redis.Config{Address: "a", Password: "hunter2"}, redis.Config{Address: "a", Password: "hunter2"}, redis.Config{Address: "a", Password: "hunter2"}), "hunter2")
}

func TestAServerThatIsNotThereIsUnavailable(t *testing.T) {
	port, err := lab.FreePort()
	require.NoError(t, err)
	_, err = redis.Connect(t.Context(), redis.Config{Address: fmt.Sprintf("127.0.0.1:%d", port)})
	require.ErrorIs(t, err, fault.ServerUnavailable.Err())
	require.True(t, fault.Retryable(err))
}

func TestAServerKilledDuringItsSaveIsANamedFault(t *testing.T) {
	r := lab.StartRedis(t, lab.RedisOptions{Settings: map[string]string{"rdb-key-save-delay": "5000"}})
	fill(t, r, 600)
	server := connect(t, r)
	done := make(chan error, 1)
	go func() {
		_, err := server.CaptureRDB(t.Context(), &bytes.Buffer{}, nil)
		done <- err
	}()
	c := client(t, r.Address, r.Password, 0)
	require.Eventually(t, func() bool {
		info, err := c.Info(t.Context(), "persistence").Result()
		return err == nil && bytes.Contains([]byte(info), []byte("rdb_bgsave_in_progress:1"))
	}, time.Minute, 5*time.Millisecond)
	_, err := r.Kill(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, <-done, fault.ServerUnavailable.Err())
}

func TestPersistenceIsToldAsItIs(t *testing.T) {
	r := lab.StartRedis(t, lab.RedisOptions{AppendOnly: true})
	server, err := redis.Connect(t.Context(), redis.Config{Address: r.Address, Password: r.Password})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	p, err := server.Persistence(t.Context())
	require.NoError(t, err)
	require.True(t, p.AppendOnly && p.AppendOK && p.SaveOK)
	require.Equal(t, "everysec", p.AppendFsync)
	require.Equal(t, "900 1", p.Save)
	require.WithinDuration(t, time.Now(), p.LastSave, time.Minute)

	plain := lab.StartRedis(t, lab.RedisOptions{Settings: map[string]string{"save": `""`}})
	other, err := redis.Connect(t.Context(), redis.Config{Address: plain.Address, Password: plain.Password})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	p, err = other.Persistence(t.Context())
	require.NoError(t, err)
	require.False(t, p.AppendOnly)
	require.Empty(t, p.Save)
}
