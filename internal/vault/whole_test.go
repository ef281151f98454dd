package vault

import (
	"context"
	"errors"
	"io"
	"iter"
	"path"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
)

// copies is a primary store with three daily backups, and a replica with all of it.
type copies struct {
	primary, replica store.Store
	made             []*Manifest // newest last
}

func newCopies(t *testing.T) *copies {
	c := &copies{primary: mem.New("primary"), replica: mem.New("replica")}
	v := small(t, func(config *Config) { config.Store = c.primary })
	for i := range 3 {
		in := testIntent("zstd")
		in.At, in.RunID = in.At.AddDate(0, 0, i), in.RunID+string(rune('a'+i))
		c.made = append(c.made, backUp(t, v, in, map[string][]byte{"s": content(uint64(i), 20_000)}))
	}
	for _, key := range keysUnder(t, c.primary, "") {
		put(t, c.replica, key, raw(t, c.primary, key))
	}
	return c
}

// keysUnder lists a folder, or the whole store for "".
func keysUnder(t *testing.T, s store.Store, folder string) []string {
	t.Helper()
	var keys []string
	for info, err := range s.List(t.Context(), folder, store.ListOptions{}) {
		require.NoError(t, err)
		keys = append(keys, info.Key)
	}
	return keys
}

func (c *copies) lose(t *testing.T, from store.Store, keys ...string) {
	t.Helper()
	for _, key := range keys {
		require.NoError(t, from.Delete(t.Context(), key, ""))
	}
}

// alone is what is left when the primary's region is lost: nothing is cached.
func (c *copies) alone(t *testing.T) *Vault {
	return small(t, func(config *Config) { config.Store, config.Now = c.replica, noon })
}

func (c *copies) both(t *testing.T, primary store.Store) *Vault {
	return small(t, func(config *Config) { config.Store, config.Replica, config.Now = primary, c.replica, noon })
}

func noon() time.Time { return time.Date(2024, 1, 20, 12, 0, 0, 0, time.UTC) }

// gone is a store whose region is lost.
type gone struct{ store.Store }

func (g gone) away(key string) error {
	return fault.New(fault.StorageUnavailable, "read", key, errors.New("no route to host"))
}

func (g gone) Head(_ context.Context, key string) (store.Info, error) {
	return store.Info{}, g.away(key)
}

func (g gone) Get(_ context.Context, key string) (io.ReadCloser, store.Info, error) {
	return nil, store.Info{}, g.away(key)
}

func (g gone) GetRange(_ context.Context, key string, _, _ int64) (io.ReadCloser, error) {
	return nil, g.away(key)
}

func (g gone) List(_ context.Context, prefix string, _ store.ListOptions) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) { yield(store.Info{}, g.away(prefix)) }
}

// counted counts what is asked of a store.
type counted struct {
	store.Store
	lists map[string]int
}

func (c *counted) List(ctx context.Context, prefix string, o store.ListOptions) iter.Seq2[store.Info, error] {
	c.lists[prefix]++
	return c.Store.List(ctx, prefix, o)
}

func ofFrende() Filter { return Filter{Folder: "database-backups", Component: "frende"} }

func TestTheNewestWholeBackupIsTakenFromAReplicaThatIsHalfCopied(t *testing.T) {
	c := newCopies(t)
	opened, err := c.alone(t).OpenLatest(t.Context(), ofFrende())
	require.NoError(t, err)
	require.Equal(t, c.made[2].Key, opened.Manifest().Key)
	require.Empty(t, opened.Incomplete)

	// The bucket copied the manifest before two of the chunks, and yesterday's key never.
	lost := []string{c.made[2].Objects[1].Key, c.made[2].Objects[2].Key}
	c.lose(t, c.replica, lost...)
	keys := keysUnder(t, c.replica, "keys/"+c.made[1].KeyID+"/")
	require.NotEmpty(t, keys)
	c.lose(t, c.replica, keys...)
	opened, err = c.alone(t).OpenLatest(t.Context(), ofFrende())
	require.NoError(t, err)
	require.Equal(t, c.made[0].Key, opened.Manifest().Key)
	require.NoError(t, opened.Verify(t.Context(), nil), "and it really is whole")
	require.Equal(t, []Incomplete{
		{Backup: c.made[2].Key, Why: "no store that answers has " + lost[0] + ", nor 1 more of the 5 objects that it needs"},
		{Backup: c.made[1].Key, Why: "no store that answers has keys/" + c.made[1].KeyID + "/"},
	}, opened.Incomplete)

	// The same when the other region does not answer, which is told.
	opened, err = c.both(t, gone{c.primary}).OpenLatest(t.Context(), ofFrende())
	require.NoError(t, err)
	require.Equal(t, c.made[0].Key, opened.Manifest().Key)
	require.Len(t, opened.Incomplete, 2)
	for _, one := range opened.Incomplete {
		require.Contains(t, one.Why, "; no answer from primary")
	}

	// With both regions nothing is missing, whichever has it.
	c.lose(t, c.primary, c.made[2].Objects[0].Key)
	opened, err = c.both(t, c.primary).OpenLatest(t.Context(), ofFrende())
	require.NoError(t, err)
	require.Equal(t, c.made[2].Key, opened.Manifest().Key)
	require.Empty(t, opened.Incomplete)

	// One that is named is not replaced by another.
	_, err = c.alone(t).OpenWhole(t.Context(), c.made[2].Key+"/")
	requireFault(t, err, fault.BackupIncomplete, lost[0])
	require.Contains(t, err.Error(), "open backup "+c.made[2].Key)
	require.Contains(t, fault.HintOf(err), "lifeboat backups list")
	_, err = c.alone(t).OpenWhole(t.Context(), c.made[1].Key)
	requireFault(t, err, fault.BackupIncomplete, "keys/"+c.made[1].KeyID)

	// Where none is whole the newest is named, and nothing is taken.
	c.lose(t, c.replica, c.made[0].Objects[0].Key)
	_, err = c.alone(t).OpenLatest(t.Context(), ofFrende())
	requireFault(t, err, fault.BackupIncomplete, c.made[2].Key)
	require.Contains(t, fault.HintOf(err), "none of the 3 backups")

	// No store at all is no proof that anything is missing.
	nobody := small(t, func(config *Config) { config.Store, config.Replica = gone{c.primary}, gone{c.replica} })
	requireFault(t, nobody.hold(t.Context(), c.made[2].keysOf()), fault.StorageUnavailable, "chunk")
}

func TestWholenessIsFoundByOneListingAndNoDownload(t *testing.T) {
	c := newCopies(t)
	near, far := &counted{c.primary, map[string]int{}}, &counted{c.replica, map[string]int{}}
	v := small(t, func(config *Config) { config.Store, config.Replica = near, far })
	newest := c.made[2]
	_, err := v.OpenWhole(t.Context(), newest.Key)
	require.NoError(t, err)
	require.Equal(t, map[string]int{path.Dir(newest.Objects[0].Key) + "/": 1}, near.lists)
	require.Empty(t, far.lists, "the first store had everything")
}

func TestAManifestsTablesAreLookedForBeforeTheyAreRead(t *testing.T) {
	c := newCopies(t)
	v := small(t, func(config *Config) { config.Store, config.ChunkSize, config.FrameSize = c.replica, 16, 16 })
	in := testIntent("none")
	in.At = in.At.AddDate(0, 0, 4)
	big := backUp(t, v, in, map[string][]byte{"s": noise(1, 16*(maxInline+1))})
	tables := keysUnder(t, c.replica, big.Key+"/table/")
	require.NotEmpty(t, tables)
	opened, err := c.alone(t).OpenLatest(t.Context(), ofFrende())
	require.NoError(t, err)
	require.Equal(t, big.Key, opened.Manifest().Key)

	c.lose(t, c.replica, tables[0])
	opened, err = c.both(t, gone{c.primary}).OpenLatest(t.Context(), ofFrende())
	require.NoError(t, err)
	require.Equal(t, c.made[2].Key, opened.Manifest().Key)
	require.Len(t, opened.Incomplete, 1)
	require.Contains(t, opened.Incomplete[0].Why, tables[0])
}
