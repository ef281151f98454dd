package redis_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/internal/store"
)

func (h *house) unchanged() redis.UnchangedResult {
	h.t.Helper()
	found, err := run(h, func(a *redis.Activities) func(context.Context, redis.UnchangedInput) (redis.UnchangedResult, error) {
		return a.Unchanged
	}, redis.UnchangedInput{System: h.system, Cache: h.cache})
	require.NoError(h.t, err)
	return found
}

// fresh takes a backup behind the last one, and sees that nothing has changed since.
func (h *house) fresh(n int) string {
	h.t.Helper()
	made, err := run(h, func(a *redis.Activities) func(context.Context, redis.BackupInput) (redis.BackupResult, error) {
		return a.Backup
	}, redis.BackupInput{System: h.system, Cache: h.cache, RunID: fmt.Sprint("backup/", n), By: "test", At: at.Add(time.Duration(n) * time.Minute)})
	require.NoError(h.t, err)
	found := h.unchanged()
	require.Empty(h.t, found.Why)
	require.Equal(h.t, made.Key, found.Key)
	require.WithinDuration(h.t, time.Now(), found.At, time.Minute)
	return made.Key
}

// save has the server save as somebody else might, and waits for it.
func (h *house) save() {
	h.t.Helper()
	c := h.client()
	require.NoError(h.t, c.Do(h.t.Context(), "SAVE").Err())
}

func TestOnlyAServerThatStandsWhereItsBackupLeftItIsUnchanged(t *testing.T) {
	h := newHouse(t, false)
	h.fill(200)
	require.Equal(t, "there is no backup yet", h.unchanged().Why)
	n := 0
	for _, c := range []struct {
		name, why string
		change    func(c *goredis.Client)
	}{
		{"a write", "1 changes", func(c *goredis.Client) { require.NoError(t, c.Set(t.Context(), "k", 1, 0).Err()) }},
		{"a write and a save of somebody else, within the second of ours", "the server has saved since", func(c *goredis.Client) {
			require.NoError(t, c.Set(t.Context(), "k", 2, 0).Err())
			h.save()
		}},
		{"a save alone", "the server has saved since", func(*goredis.Client) { h.save() }},
		{"a deletion", "1 changes", func(c *goredis.Client) { require.NoError(t, c.Del(t.Context(), "k").Err()) }},
		{"an emptied server, within the second of our save", "", func(c *goredis.Client) { require.NoError(t, c.FlushAll(t.Context()).Err()) }},
		{"evictions", "keys were evicted", func(c *goredis.Client) {
			require.NoError(t, c.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-random").Err())
			require.NoError(t, c.ConfigSet(t.Context(), "maxmemory", "1").Err())
			require.Eventually(t, func() bool {
				_ = c.Set(t.Context(), "x", 1, 0).Err() // is refused, and evicts
				size, err := c.DBSize(t.Context()).Result()
				return err == nil && size == 0
			}, time.Minute, 20*time.Millisecond)
			require.NoError(t, c.ConfigSet(t.Context(), "maxmemory", "0").Err())
		}},
		{"a replica's data", "the server is a replica", func(c *goredis.Client) {
			require.NoError(t, c.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
		}},
		{"a failover", "the server has other data since a failover", func(c *goredis.Client) {
			require.NoError(t, c.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name != "a failover" { // it goes on from the replica
				n++
				h.fill(10)
				h.fresh(n)
			}
			c.change(h.client())
			why := h.unchanged().Why
			require.NotEmpty(t, why)
			require.Contains(t, why, c.why)
		})
	}

	// Keys that run out are no change: they run out in a restored server, too.
	require.NoError(t, h.client().Set(t.Context(), "short", 1, 100*time.Millisecond).Err())
	n++
	h.fresh(n)
	require.Eventually(t, func() bool {
		gone, err := h.client().Exists(t.Context(), "short").Result()
		return err == nil && gone == 0
	}, time.Minute, 20*time.Millisecond)
	require.Empty(t, h.unchanged().Why)

	// A restart, with the same data.
	h.stop()
	require.NoError(t, h.redis.Start(t.Context()))
	require.Equal(t, "the server was restarted", h.unchanged().Why)
}

func TestABackupThatCantBeReadIsAReasonToMakeOne(t *testing.T) {
	h := newHouse(t, true)
	h.fill(10)
	key := h.fresh(1)
	_, err := h.store.Put(t.Context(), key+"/manifest", make([]byte, 4000), store.PutOptions{})
	require.NoError(t, err)
	found := h.unchanged()
	require.Equal(t, key, found.Key)
	require.Contains(t, found.Why, "the newest backup can't be read: ")
}
