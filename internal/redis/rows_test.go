package redis_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/torture"
)

// Row 20 of the reliability table: the append-only file is rewritten while the
// server is captured, under every appendonly setting of source and target.
func TestCaptureDuringARewriteHoldsEveryKey(t *testing.T) {
	sources := map[bool]*lab.Redis{}
	for _, appendOnly := range []bool{false, true} {
		sources[appendOnly] = lab.StartRedis(t, lab.RedisOptions{AppendOnly: appendOnly, Settings: debuggable()})
	}
	torture.Row(t, 20, 4, 100, func(t *testing.T, n int, random *rand.Rand) {
		source, target := n%2 == 0, n/2%2 == 0
		r := sources[source]
		c := client(t, r.Address, r.Password, 0)
		require.NoError(t, c.FlushAll(t.Context()).Err())
		fill(t, r, 6*(1+random.IntN(200)))
		if source {
			rewrites(t, r)
		}
		captured, rdb := capture(t, connect(t, r))
		require.Zero(t, captured.Slack)
		want := digest(t, r.Address, r.Password)

		layout := captured.Layout
		layout.AppendOnly = target
		dir := prepare(t, rdb, layout)
		loaded, err := isolate(t, dir, layout).Loaded(t.Context())
		require.NoError(t, err)
		require.Equal(t, captured.Keys, loaded.Keys)
		live := startOn(t, dir, layout)
		require.Equal(t, want, digest(t, live.Address, live.Password))
	})
}

// rewrites begins a rewrite of the append-only file, after the one of the last trial.
func rewrites(t *testing.T, r *lab.Redis) {
	t.Helper()
	c := client(t, r.Address, r.Password, 0)
	require.Eventually(t, func() bool { return c.BgRewriteAOF(t.Context()).Err() == nil }, time.Minute, time.Millisecond)
}

// Row 2, for Redis: the server crashes while it saves. The fault is named, and
// the next capture of the server that came back holds every key.
func TestServerThatCrashesDuringItsSaveIsCapturedWhenItIsBack(t *testing.T) {
	r := lab.StartRedis(t, lab.RedisOptions{AppendOnly: true, Settings: map[string]string{"rdb-key-save-delay": "1000", "appendfsync": "always"}})
	torture.Row(t, 2, 1, 50, func(t *testing.T, n int, random *rand.Rand) {
		c := client(t, r.Address, r.Password, 0)
		require.NoError(t, c.FlushAll(t.Context()).Err())
		require.NoError(t, c.Set(t.Context(), "trial", n, 0).Err())
		fill(t, r, 120)
		server := connect(t, r)
		done := make(chan error, 1)
		go func() {
			_, err := server.CaptureRDB(t.Context(), &bytes.Buffer{}, nil)
			done <- err
		}()
		require.Eventually(t, func() bool {
			info, err := c.Info(t.Context(), "persistence").Result()
			return err == nil && bytes.Contains([]byte(info), []byte("rdb_bgsave_in_progress:1"))
		}, time.Minute, time.Millisecond)
		<-time.After(time.Duration(random.IntN(200)) * time.Millisecond)
		_, err := r.Kill(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, <-done, fault.ServerUnavailable.Err())

		require.NoError(t, r.Start(t.Context()))
		back := connect(t, r)
		_, err = back.WaitLoaded(t.Context())
		require.NoError(t, err)
		var rdb bytes.Buffer
		captured, err := back.CaptureRDB(t.Context(), &rdb, nil)
		require.NoError(t, err)
		require.EqualValues(t, 241, captured.Keys)
		keys, err := programs(t).Check(t.Context(), prepare(t, rdb.Bytes(), captured.Layout), captured.Layout)
		require.NoError(t, err)
		require.EqualValues(t, 241, keys, fmt.Sprint("trial ", n))
	})
}
