package replicate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
)

// plenty is a byte budget that never runs out.
type plenty struct{}

func (plenty) Acquire(context.Context, int64) error { return nil }
func (plenty) Release(int64)                        {}

// diary is a replica that notes what is put, and may be lost after some puts.
type diary struct {
	store.Store
	mu   sync.Mutex
	puts []string
	left int // puts until the region is lost; negative: never
}

func (d *diary) Put(ctx context.Context, key string, body []byte, o store.PutOptions) (store.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return store.Info{}, fault.Newf(fault.StorageUnavailable, "put object", key, "the region is lost")
	}
	d.left--
	d.puts = append(d.puts, key)
	return d.Store.Put(ctx, key, body, o)
}

// day is the one on which the tests' backups are made.
var day = time.Date(2024, 1, 15, 12, 0, 0, 0, time.UTC)

func put(t *testing.T, s store.Store, keys ...string) {
	t.Helper()
	for _, key := range keys {
		_, err := s.Put(t.Context(), key, []byte(key), store.PutOptions{})
		require.NoError(t, err)
	}
}

const (
	backup  = "database-backups/2024/01/15/frende_db_backup_20240115_020000.base/"
	archive = "wal/frende/7/00000001/"
)

func segment(n int) string { return fmt.Sprintf("%s0000000100000000%08X", archive, n) }

// filled is a source with a backup, its key, WAL and a ledger.
func filled(t *testing.T) store.Store {
	s := mem.New("primary")
	put(t, s, "format.json", "keys/k1/first", backup+"intent", backup+"chunk/1/000000", backup+"chunk/1/000001", backup+"manifest",
		segment(3), segment(4), "wal/frende/7/incarnation/00000001", "ledger/host-a/000000000001")
	return s
}

func config(from, to store.Store) Config {
	return Config{From: from, To: to, Memory: plenty{}, Parallel: 3, Now: func() time.Time { return day }}
}

// whole fails unless whatever is in the replica could be recovered from: a
// manifest has its chunks and its key, and WAL has no hole.
func whole(t *testing.T, s store.Store) {
	t.Helper()
	there := map[string]bool{}
	for info, err := range s.List(t.Context(), "", store.ListOptions{}) {
		require.NoError(t, err)
		there[info.Key] = true
	}
	if there[backup+"manifest"] {
		for _, needed := range []string{"keys/k1/first", backup + "chunk/1/000000", backup + "chunk/1/000001"} {
			require.True(t, there[needed], "the manifest is there and %s is not", needed)
		}
	}
	require.False(t, there[segment(4)] && !there[segment(3)], "WAL has a hole")
}

func TestTheReplicaIsWholeWheneverTheRegionIsLost(t *testing.T) {
	from := filled(t)
	for left := range 10 {
		to := &diary{Store: mem.New("replica"), left: left}
		_, err := Run(t.Context(), config(from, to))
		require.True(t, fault.Has(err, fault.StorageUnavailable), "after %d puts: %v", left, err)
		whole(t, to.Store)

		to.left = -1 // it comes back: the run goes on where it was
		result, err := Run(t.Context(), config(from, to))
		require.NoError(t, err)
		require.EqualValues(t, 10-left, result.Objects)
		require.EqualValues(t, left, result.Present)
		state, err := Look(t.Context(), config(from, to))
		require.NoError(t, err)
		require.Zero(t, state)
	}
}

func TestFollowingSeesWhatIsNewWithoutListingEverything(t *testing.T) {
	from, to := filled(t), &diary{Store: mem.New("replica"), left: -1}
	r := begin(config(from, to))
	require.NoError(t, r.whole(t.Context()))
	tail := newTail(r)
	require.NoError(t, tail.pass(t.Context()))
	require.Len(t, to.puts, 10, "nothing is new")

	second := "redis-backups/2024/01/15/sessions_redis_backup_20240115_113000.rdb/"
	put(t, from, "keys/k2/first", second+"intent", second+"chunk/1/000000", segment(5), "ledger/host-b/000000000001",
		"wal/frende/7/00000002/00000002.history")
	to.puts = nil
	require.NoError(t, tail.pass(t.Context()))
	require.Less(t, slices.Index(to.puts, "keys/k2/first"), slices.Index(to.puts, segment(5)), "WAL follows its key")
	require.ElementsMatch(t, []string{
		"keys/k2/first", second + "intent", second + "chunk/1/000000", segment(5), "ledger/host-b/000000000001",
		"wal/frende/7/00000002/00000002.history",
	}, to.puts)

	put(t, from, second+"manifest")
	for n := 6; n < 6+3*overlap; n++ {
		put(t, from, segment(n))
	}
	to.puts = nil
	require.NoError(t, tail.pass(t.Context()))
	require.Equal(t, second+"manifest", to.puts[len(to.puts)-1], "the manifest goes last")
	require.Len(t, to.puts, 1+3*overlap)
	require.True(t, strings.HasSuffix(to.puts[0], "00000006"), "WAL goes in its order")
	to.puts = nil
	require.NoError(t, tail.pass(t.Context()))
	require.Empty(t, to.puts)
}

func TestASmallBackupDoesNotWaitForALargeOne(t *testing.T) {
	from, to := filled(t), &diary{Store: mem.New("replica"), left: -1}
	r := begin(config(from, to))
	require.NoError(t, r.whole(t.Context()))
	tail := newTail(r)
	small := "redis-backups/2024/01/15/sessions_redis_backup_20240115_113000.rdb/"
	base, later := "database-backups/2024/01/15/frende_db_backup_20240115_030000.base/", "database-backups/2024/01/15/frende_db_backup_20240115_040000.base/"
	for n := range 9 {
		put(t, from, fmt.Sprintf("%schunk/1/%06d", base, n))
	}
	put(t, from, base+"manifest", later+"chunk/1/000000", later+"manifest", small+"chunk/1/000000", small+"manifest")
	to.puts = nil
	require.NoError(t, tail.pass(t.Context()))
	at := func(key string) int { return slices.Index(to.puts, key) }
	require.Equal(t, []string{small + "chunk/1/000000", small + "manifest"}, to.puts[:2])
	require.Less(t, at(base+"manifest"), at(later+"manifest"), "a later one may name objects of an earlier one")
	require.Less(t, at(base+"chunk/1/000008"), at(base+"manifest"))
	require.Len(t, to.puts, 14)
}

func TestFollowEndsAtItsTime(t *testing.T) {
	from, to := filled(t), mem.New("replica")
	c := config(from, to)
	now := time.Now().Add(time.Hour)
	until := now.Add(time.Minute)
	c.Now = func() time.Time { now = now.Add(time.Second); return now }
	c.Poll = time.Millisecond
	result, err := Follow(t.Context(), c, until)
	require.NoError(t, err)
	require.EqualValues(t, 10, result.Objects)
	require.Greater(t, result.Lag, 50*time.Minute, "by the times of the source")
}

func TestMixedStoresAreAConflictAndNothingIsOverwritten(t *testing.T) {
	from, to := filled(t), mem.New("replica")
	_, err := to.Put(t.Context(), segment(3), []byte("another cluster's"), store.PutOptions{})
	require.NoError(t, err)
	_, err = Run(t.Context(), config(from, to))
	require.True(t, fault.Has(err, fault.BackupConflict), "%v", err)
	require.ErrorContains(t, err, segment(3))
	require.NotEmpty(t, fault.HintOf(err))
	kept, err := store.ReadAll(t.Context(), to, segment(3), 1<<10)
	require.NoError(t, err)
	require.Equal(t, "another cluster's", string(kept))
	_, err = Look(t.Context(), config(from, to))
	require.True(t, fault.Has(err, fault.BackupConflict), "%v", err)
}

func TestLookNamesTheBackupsThatAreNotWhole(t *testing.T) {
	from, to := filled(t), mem.New("replica")
	put(t, to, "format.json", "keys/k1/first", backup+"intent", backup+"chunk/1/000000", backup+"manifest") // as a bucket does, in any order
	state, err := Look(t.Context(), config(from, to))
	require.NoError(t, err)
	require.Equal(t, []string{strings.TrimSuffix(backup, "/")}, state.Incomplete)
	require.EqualValues(t, 5, state.Missing)
	require.Positive(t, state.Bytes)
}

// A backup that began days ago is finished while the replica follows, and the next one is made of its objects.
func TestABackupThatIsFinishedDaysAfterItBeganIsCopiedBeforeWhatIsMadeOfIt(t *testing.T) {
	long := "database-backups/2024/01/12/frende_db_backup_20240112_020000.base/"
	from, to := filled(t), &diary{Store: mem.New("replica"), left: -1}
	removed := "database-backups/2024/01/02/frende_db_backup_20240102_020000.base/"
	put(t, from, long+"intent", long+"chunk/1/000000", removed+"intent", removed+"expired", removed+"chunk/1/000000")
	r := begin(config(from, to))
	require.NoError(t, r.whole(t.Context()))
	tail := newTail(r)
	require.NoError(t, tail.pass(t.Context()))

	put(t, from, long+"chunk/1/000001", long+"manifest")
	next := "database-backups/2024/01/15/frende_db_backup_20240115_110000.base/"
	put(t, from, next+"intent", next+"chunk/1/000000", next+"manifest") // it names long's chunk/1/000001
	to.puts = nil
	require.NoError(t, tail.pass(t.Context()))
	require.Contains(t, to.puts, long+"chunk/1/000001")
	require.Less(t, slices.Index(to.puts, long+"chunk/1/000001"), slices.Index(to.puts, next+"manifest"))
	require.Less(t, slices.Index(to.puts, long+"manifest"), slices.Index(to.puts, next+"manifest"))
	require.Empty(t, tail.late, "neither is looked at again, nor what a removal left")
}
