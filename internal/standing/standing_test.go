package standing_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/standing"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

var morning = time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)

func frende() system.System {
	return system.System{
		Name:      "frende",
		Stores:    []system.Store{{Name: "primary", Bucket: "one", Region: "a", Replica: "dr"}, {Name: "dr", Bucket: "two", Region: "b"}},
		Databases: []system.Database{{Name: "frende", Cluster: "main"}},
		Caches:    []system.Cache{{Name: "sessions"}},
		Files:     []system.FileSet{{Name: "uploads"}},
	}
}

// ground is a vault over two stores, and how often the ledger was asked.
type ground struct {
	primary, replica *faulty.Store
	vault            *vault.Vault
	asked            map[string]int
	now              time.Time
	looker           *standing.Looker
}

func newGround(t *testing.T) *ground {
	t.Helper()
	g := &ground{primary: faulty.New(t, mem.New("primary")), replica: faulty.New(t, mem.New("dr")), asked: map[string]int{}, now: morning.Add(time.Hour)}
	ring, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte(strings.Repeat("5a", 32)))}})
	require.NoError(t, err)
	g.vault, err = vault.New(vault.Config{System: "frende", Store: g.primary, Replica: g.replica, Keys: ring, Budget: vault.NewBudget(64 << 20)})
	require.NoError(t, err)
	g.looker = standing.New(standing.Config{
		Load:  func() (system.System, error) { return frende(), nil },
		Vault: func(context.Context, system.System, func(vault.Fallback)) (*vault.Vault, error) { return g.vault, nil },
		Proof: func(_ context.Context, _ system.System, key string) (string, error) {
			g.asked[key]++
			if strings.HasPrefix(key, "redis-backups/") {
				return "", nil
			}
			return "L1", nil
		},
		Now: func() time.Time { return g.now },
	})
	return g
}

func (g *ground) backUp(t *testing.T, to store.Store, folder, kind, component string, at time.Time) string {
	t.Helper()
	w, err := g.vault.WithStores(to, nil).Begin(t.Context(), vault.Intent{
		Folder: folder, Kind: kind, System: "frende", Component: component, RunID: folder + at.String(), Attempt: 1, At: at,
	})
	require.NoError(t, err)
	_, err = w.Commit(t.Context(), vault.Facts{"of": json.RawMessage(`{}`)})
	require.NoError(t, err)
	return w.Key()
}

func put(t *testing.T, s store.Store, key string) time.Time {
	t.Helper()
	info, err := s.Put(t.Context(), key, []byte("wal"), store.PutOptions{})
	require.NoError(t, err)
	return info.Modified
}

func TestEachStoreShowsWhatItHoldsAlone(t *testing.T) {
	g := newGround(t)
	g.backUp(t, g.primary, "database-backups", "base", "frende", morning.AddDate(0, 0, -1))
	base := g.backUp(t, g.primary, "database-backups", "base", "frende", morning)
	g.backUp(t, g.replica, "database-backups", "base", "frende", morning.AddDate(0, 0, -1))
	rdb := g.backUp(t, g.primary, "redis-backups", "rdb", "sessions", morning.Add(15*time.Minute))
	put(t, g.replica, "wal/main/7300000000000000001/00000001/000000010000000000000004")
	put(t, g.primary, "wal/main/7300000000000000001/00000001/000000010000000000000004")
	put(t, g.primary, "wal/main/7300000000000000001/00000001/000000010000000000000005")
	newest := put(t, g.primary, "wal/main/7300000000000000001/00000002/000000020000000000000005")
	put(t, g.primary, "wal/main/7300000000000000001/00000003/00000003.history") // a timeline that has begun and holds nothing yet

	seen, err := g.looker.Look(t.Context())
	require.NoError(t, err)
	require.Len(t, seen.Stores, 2)
	primary, dr := seen.Stores[0], seen.Stores[1]
	require.NoError(t, primary.Err)
	require.NoError(t, dr.Err)
	components := frende().Components()
	require.Equal(t, []standing.Held{
		{Component: components[0], Key: base, At: morning, Proof: "L1", Proved: true, Point: newest},
		{Component: components[1], Key: rdb, At: morning.Add(15 * time.Minute), Proved: true, Point: morning.Add(15 * time.Minute)},
		{Component: components[2]},
	}, primary.Held)
	require.Equal(t, morning.AddDate(0, 0, -1), dr.Held[0].At)
	require.True(t, dr.Held[0].Point.Before(newest), "what the replica has of the WAL is its own")
	require.Empty(t, dr.Held[1].Key)

	newest = put(t, g.primary, "wal/main/7300000000000000001/00000002/000000020000000000000006")
	seen, err = g.looker.Look(t.Context())
	require.NoError(t, err)
	require.Equal(t, newest, seen.Stores[0].Held[0].Point)
	require.Equal(t, map[string]int{base: 1, dr.Held[0].Key: 1, rdb: 2}, g.asked, "only what is not proven is asked again")
	g.now = g.now.Add(11 * time.Minute)
	_, err = g.looker.Look(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, g.asked[base], "a level may have risen")
}

func TestADatabaseWithoutWALHasNoRecoveryPoint(t *testing.T) {
	g := newGround(t)
	g.backUp(t, g.primary, "database-backups", "base", "frende", morning)
	seen, err := g.looker.Look(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, seen.Stores[0].Held[0].Key)
	require.Zero(t, seen.Stores[0].Held[0].Point)
}

func TestAStoreThatIsDownShowsNothingAndKeepsTheOtherFromNothing(t *testing.T) {
	g := newGround(t)
	g.backUp(t, g.primary, "redis-backups", "rdb", "sessions", morning)
	g.backUp(t, g.replica, "redis-backups", "rdb", "sessions", morning)
	up := g.primary.Down("", fault.New(fault.StorageUnavailable, "list", "one", errors.New("connection refused")))
	seen, err := g.looker.Look(t.Context())
	require.NoError(t, err)
	require.True(t, fault.Has(seen.Stores[0].Err, fault.StorageUnavailable), "%v", seen.Stores[0].Err)
	require.Nil(t, seen.Stores[0].Held)
	require.NoError(t, seen.Stores[1].Err)
	require.Equal(t, morning, seen.Stores[1].Held[1].At)
	require.False(t, seen.Stores[1].Held[1].Proved, "the ledger lies in the primary store")
	require.Empty(t, g.asked)
	up()
	seen, err = g.looker.Look(t.Context())
	require.NoError(t, err)
	require.NoError(t, seen.Stores[0].Err)
	require.Equal(t, morning, seen.Stores[0].Held[1].At)
}
