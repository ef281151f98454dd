package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/internal/vault"
)

// network is a real S3 server behind a network that can be made bad.
type network struct {
	*toxiproxy.Proxy
	server *lab.S3
	ring   *keys.Ring
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	server := lab.StartS3(t)
	server.NewBucket(t, primaryBucket)
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(api, "s3", "127.0.0.1:0", strings.TrimPrefix(server.Endpoint, "http://"))
	require.NoError(t, proxy.Start())
	t.Cleanup(proxy.Stop)
	ring, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte(strings.Repeat("00", 32)))}})
	require.NoError(t, err)
	return &network{Proxy: proxy, server: server, ring: ring}
}

// stall is how long a connection may be silent, and tries how often a call is
// made: the store's own settings, scaled down so that a minute becomes a second.
const (
	stall = 250 * time.Millisecond
	tries = 6
)

// vault is one over the network, or beside it.
func (n *network) vault(t *testing.T, endpoint string, wrap func(store.Store) store.Store) *vault.Vault {
	t.Helper()
	opened, err := s3.New(t.Context(), s3.Config{
		Name: "primary", Bucket: primaryBucket, Region: n.server.Region, Endpoint: endpoint, PathStyle: true,
		AccessKey: n.server.AccessKey, SecretKey: n.server.SecretKey, Stall: stall,
		Retry: s3.Retry{Attempts: tries, Backoff: 5 * time.Millisecond, Longest: 50 * time.Millisecond},
	})
	require.NoError(t, err)
	t.Cleanup(opened.Close)
	v, err := vault.New(vault.Config{
		System: "frende", Store: wrap(opened), Keys: n.ring, Budget: vault.NewBudget(16 << 20), ChunkSize: 32 << 10, FrameSize: 8 << 10, Parallel: 4,
	})
	require.NoError(t, err)
	return v
}

func asItIs(s store.Store) store.Store { return s }

// toxic adds what toxiproxy calls one, in both directions unless the kind has just one.
func (n *network) toxic(t *testing.T, kind string, toxicity float64, attributes map[string]int) {
	for _, stream := range []string{"upstream", "downstream"} {
		text, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes})
		if err == nil {
			_, err = n.Toxics.AddToxicJson(bytes.NewReader(text))
		}
		if err != nil {
			t.Error(err) // not require: this is not the test's own goroutine
		}
	}
}

// disturbance is a fault of the network, drawn at random: begin makes the
// network bad, and the network heals by itself after lasts, if that is set.
type disturbance struct {
	name  string
	begin func()
	lasts time.Duration
}

func (n *network) disturb(t *testing.T, kind int, random *rand.Rand) disturbance {
	up := func(most int) int { return 1 + random.IntN(most) }
	sometimes := []float64{0.3, 0.6, 1}[random.IntN(3)]
	brief := time.Duration(up(int(2*tries*stall/time.Millisecond))) * time.Millisecond
	switch kind {
	case 0:
		after := up(20)
		return disturbance{"reset", func() { n.toxic(t, "reset_peer", sometimes, map[string]int{"timeout": after}) }, brief}
	case 1:
		after := []int{0, up(100)}[random.IntN(2)] // 0: silent for good
		return disturbance{"timeout", func() { n.toxic(t, "timeout", sometimes, map[string]int{"timeout": after}) }, brief}
	case 2:
		late, jitter := up(100), up(20)
		return disturbance{"latency", func() { n.toxic(t, "latency", sometimes, map[string]int{"latency": late, "jitter": jitter}) }, 0}
	case 3:
		rate := 400 + up(2000) // KB/s, of each connection
		return disturbance{"low bandwidth", func() { n.toxic(t, "bandwidth", 1, map[string]int{"rate": rate}) }, 0}
	default:
		if random.IntN(2) == 0 {
			return disturbance{"partition, refused", n.Stop, brief}
		}
		return disturbance{"partition, silent", func() { n.toxic(t, "timeout", 1, map[string]int{"timeout": 0}) }, brief}
	}
}

// heal makes the network good again.
func (n *network) heal(t *testing.T) {
	n.Toxics.ResetToxics(context.WithoutCancel(t.Context()))
	if err := n.Start(); err != nil && err != toxiproxy.ErrProxyAlreadyStarted { //nolint:errorlint // toxiproxy returns just this value
		t.Error(err)
	}
}

// tripwire calls trip at one of the calls that pass.
type tripwire struct {
	store.Store
	mu   sync.Mutex
	left int
	trip func()
}

func (w *tripwire) step() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left--; w.left == 0 {
		w.trip()
	}
}

func (w *tripwire) Put(ctx context.Context, key string, body []byte, o store.PutOptions) (store.Info, error) {
	w.step()
	return w.Store.Put(ctx, key, body, o)
}

func (w *tripwire) Get(ctx context.Context, key string) (io.ReadCloser, store.Info, error) {
	w.step()
	return w.Store.Get(ctx, key)
}

func (w *tripwire) GetRange(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	w.step()
	return w.Store.GetRange(ctx, key, off, length)
}

// during does the work on a vault over the network, which is disturbed at the nth call.
func (n *network) during(t *testing.T, d disturbance, nth int, work func(v *vault.Vault) error) (disturbed bool, err error) {
	t.Helper()
	var heal *time.Timer
	wire := &tripwire{left: nth, trip: func() {
		disturbed = true
		d.begin()
		if d.lasts > 0 {
			heal = time.AfterFunc(d.lasts, func() { n.heal(t) })
		}
	}}
	err = work(n.vault(t, "http://"+n.Listen, func(s store.Store) store.Store { wire.Store = s; return wire }))
	wire.mu.Lock()
	defer wire.mu.Unlock()
	if heal == nil || heal.Stop() {
		n.heal(t)
	}
	return disturbed, err
}

// Row 5 of the reliability table, whole: a backup and its restore while the
// network resets, falls silent, is late, narrow or parted. Both succeed, or end
// as StorageUnavailable, and then succeed when they are done again; nothing that
// was read is ever anything but what was written.
func TestBackupAndRestoreOutlastABadNetworkOrSaySo(t *testing.T) {
	n := newNetwork(t)
	const kinds = 5
	disturbed, outlasted := 0, 0
	torture.Row(t, 5, 2*kinds, 60*kinds, func(t *testing.T, trial int, random *rand.Rand) {
		data := bytesOf(random, 50_000+random.IntN(350_000))
		direct := n.vault(t, n.server.Endpoint, asItIs)
		var made *vault.Manifest
		backUp := func(v *vault.Vault) (err error) {
			made, err = backUpAs(t.Context(), v, trial, data)
			return err
		}
		d := n.disturb(t, trial%kinds, random)
		hit, err := n.during(t, d, 1+random.IntN(8), backUp)
		if err != nil {
			require.True(t, fault.Has(err, fault.StorageUnavailable), "%s: %v", d.name, err)
			require.NotEmpty(t, fault.HintOf(err))
			require.NoError(t, backUp(direct), "done again after %s", d.name)
		} else if hit {
			outlasted++
		}
		whole, err := restore(t.Context(), direct, made.Key)
		require.NoError(t, err, d.name)
		require.True(t, bytes.Equal(data, whole), d.name)
		require.Equal(t, 1, manifests(t, direct, made.Key))

		var got []byte
		d = n.disturb(t, trial%kinds, random)
		again, err := n.during(t, d, 1+random.IntN(5), func(v *vault.Vault) (err error) {
			got, err = restore(t.Context(), v, made.Key)
			return err
		})
		if err != nil {
			require.True(t, fault.Has(err, fault.StorageUnavailable), "%s: %v", d.name, err)
			require.True(t, bytes.HasPrefix(data, got), "what was given before the error is what was written")
		} else {
			require.True(t, bytes.Equal(data, got), d.name)
		}
		if hit && again {
			disturbed++
		}
	})
	require.Positive(t, disturbed, "no network was bad in any trial")
	require.Positive(t, outlasted, "no backup outlasted anything")
}

// manifests counts them in the store, those of one backup.
func manifests(t *testing.T, v *vault.Vault, key string) int {
	t.Helper()
	count := 0
	for info, err := range v.Store().List(t.Context(), key+"/", store.ListOptions{}) {
		require.NoError(t, err)
		if strings.HasSuffix(info.Key, "/manifest") {
			count++
		}
	}
	return count
}

// Row 16 of the reliability table, whole: two writers of one backup on a real
// server. Two runs: one makes it, the other is told of the conflict. Two attempts
// of one run, of which one was given up for dead: whoever commits first has made
// it, for both. Nothing of the other is in it.
func TestTwoWritersOfOneBackupHaveOneWinnerAndMixNothing(t *testing.T) {
	n := newNetwork(t)
	torture.Row(t, 16, 10, 300, func(t *testing.T, trial int, random *rand.Rand) {
		oneRun := trial%2 == 1
		written := [2][]byte{bytesOf(random, 1+random.IntN(150_000)), bytesOf(random, 1+random.IntN(150_000))}
		var made [2]*vault.Manifest
		var outcome [2]error
		var group errgroup.Group
		for i := range 2 {
			v := n.vault(t, n.server.Endpoint, asItIs)
			run := fmt.Sprintf("backup/%d/%d", trial, i)
			if oneRun {
				run = fmt.Sprint("backup/", trial)
			}
			group.Go(func() error {
				made[i], outcome[i] = backUpOf(t.Context(), v, run, int32(i+1), trial, written[i])
				return nil
			})
		}
		require.NoError(t, group.Wait())
		winner := 0
		if outcome[0] != nil {
			winner = 1
		}
		require.NoError(t, outcome[winner])
		if oneRun {
			require.NoError(t, outcome[1-winner], "to its run, the backup is made")
			require.Equal(t, made[0].Attempt, made[1].Attempt)
			winner = 0
			if strings.HasPrefix(made[0].Attempt, "2-") {
				winner = 1
			}
		} else {
			require.True(t, fault.Has(outcome[1-winner], fault.BackupConflict), "%v", outcome[1-winner])
			require.ErrorContains(t, outcome[1-winner], fmt.Sprintf("backup/%d/%d", trial, winner))
		}
		direct := n.vault(t, n.server.Endpoint, asItIs)
		got, err := restore(t.Context(), direct, made[winner].Key)
		require.NoError(t, err)
		require.True(t, bytes.Equal(written[winner], got))
		require.Equal(t, 1, manifests(t, direct, made[winner].Key))
		for _, object := range made[winner].Objects {
			require.Contains(t, object.Key, "/chunk/"+made[winner].Attempt+"/")
		}
	})
}
