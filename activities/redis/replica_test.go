package redis_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
)

// replicated makes the house's server a replica of a second one.
func (h *house) replicated(master *lab.Redis) {
	h.t.Helper()
	require.NoError(h.t, h.client().ConfigSet(h.t.Context(), "masterauth", master.Password).Err())
	require.NoError(h.t, h.client().ReplicaOf(h.t.Context(), "127.0.0.1", fmt.Sprint(master.Port)).Err())
	require.Eventually(h.t, func() bool {
		info, err := h.client().InfoMap(h.t.Context(), "replication").Result()
		return err == nil && info["Replication"]["master_link_status"] == "up"
	}, time.Minute, 20*time.Millisecond)
}

func TestACacheThatCopiesAMasterIsNotRecovered(t *testing.T) {
	h := newHouse(t, false)
	h.fill(300)
	_, err := h.backUp("backup/1")
	require.NoError(t, err)
	master := lab.StartRedis(t, lab.RedisOptions{Name: "master"})

	h.replicated(master)
	_, err = h.preflight("")
	require.True(t, fault.Has(err, fault.ServerSettings), "%v", err)
	require.ErrorContains(t, err, "it copies the master 127.0.0.1")
	require.NoError(t, h.client().ReplicaOf(t.Context(), "NO", "ONE").Err())

	found := h.prepared()
	config, err := os.ReadFile(h.redis.Config)
	require.NoError(t, err)
	extra := h.redis.Config + ".extra"
	require.NoError(t, os.WriteFile(extra, fmt.Appendf(nil, "slaveof 127.0.0.1 %d\n", master.Port), 0o644))
	require.NoError(t, os.WriteFile(h.redis.Config, append(config, "include "+extra+"\n"...), 0o644))
	_, err = h.preflight("")
	require.True(t, fault.Has(err, fault.ServerSettings), "%v", err)
	_, err = h.cutOver(found)
	require.True(t, fault.Has(err, fault.ServerSettings), "the configuration came back with it: %v", err)
	require.DirExists(t, found.Place.Staging, "nothing was swapped")

	// "replicaof no one" at the end, as CONFIG REWRITE may leave it, is none.
	require.NoError(t, os.WriteFile(extra, []byte("replicaof no one\n"), 0o644))
	swapped, err := h.cutOver(found)
	require.NoError(t, err)
	require.EqualValues(t, 300, swapped.Keys)
}

func TestAServerThatStartsAsAReplicaIsDetached(t *testing.T) {
	h := newHouse(t, false)
	h.fill(300)
	_, err := h.backUp("backup/1")
	require.NoError(t, err)
	found := h.prepared()
	// Its service names a master that no file does.
	gone, err := lab.FreePort()
	require.NoError(t, err)
	h.system.Services[0].Start = append(h.system.Services[0].Start, "--replicaof", "127.0.0.1", fmt.Sprint(gone))
	swapped, err := h.cutOver(found)
	require.NoError(t, err)
	require.EqualValues(t, 300, swapped.Keys)
	info, err := h.client().InfoMap(t.Context(), "replication").Result()
	require.NoError(t, err)
	require.Equal(t, "master", info["Replication"]["role"])
}

func TestAReplicaWithoutItsMasterIsNotBackedUp(t *testing.T) {
	h := newHouse(t, false)
	master := lab.StartRedis(t, lab.RedisOptions{Name: "master"})
	h.replicated(master)
	_, err := h.backUp("backup/1")
	require.NoError(t, err)
	_, err = master.Kill(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err = h.backUp("backup/2")
		return fault.Has(err, fault.ServerUnavailable)
	}, time.Minute, 50*time.Millisecond, "%v", err)
	require.ErrorContains(t, err, "its link to its master 127.0.0.1 is down")
}
