package vault

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
)

// locking is a bucket that locks what is put, and in which some of it is older.
type locking struct {
	store.Store
	store.Inspector
	lock  store.Lock
	fails error
	ages  map[string]time.Duration // by prefix
}

func (l *locking) ObjectLock(context.Context) (store.Lock, error) { return l.lock, l.fails }

func (l *locking) Head(ctx context.Context, key string) (store.Info, error) {
	info, err := l.Store.Head(ctx, key)
	for prefix, age := range l.ages {
		if strings.HasPrefix(key, prefix) {
			info.Modified = info.Modified.Add(-age)
		}
	}
	return info, err
}

func TestABackupIsNotMadeOfWhatIsSoonUnlocked(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		lock   store.Lock
		age    time.Duration
		fails  error
		shared bool
	}{
		"a lock that is young":                {lock: store.Lock{Enabled: true, Retention: 30 * day}, age: 14 * day, shared: true},
		"a lock of which half is over":        {lock: store.Lock{Enabled: true, Retention: 30 * day}, age: 16 * day},
		"no lock that comes by itself":        {lock: store.Lock{Enabled: true}, age: 300 * day, shared: true},
		"a server that has none":              {fails: fault.Newf(fault.Unsupported, "ask", "lock", "no such thing"), age: 300 * day, shared: true},
		"credentials that may not be told it": {fails: fault.Newf(fault.StorageDenied, "ask", "lock", "denied"), age: 300 * day, shared: true},
	} {
		t.Run(name, func(t *testing.T) {
			bucket := &locking{Store: mem.New("primary"), lock: c.lock, fails: c.fails, ages: map[string]time.Duration{}}
			v := small(t, func(config *Config) { config.Store = bucket })
			source := newCluster(7)
			first, starts, _ := source.next(t, v, 0, "", nil)
			bucket.ages[first.Key] = c.age
			second, starts, whole := source.next(t, v, 1, first.Key, starts)
			require.Equal(t, c.shared, second.Shared() > 0)
			b, err := v.OpenWhole(t.Context(), second.Key)
			require.NoError(t, err)
			requireStream(t, b, whole, source.source)
			if !c.shared {
				third, _, _ := source.next(t, v, 2, second.Key, starts)
				require.Positive(t, third.Shared(), "the next one shares again")
				require.Equal(t, second.Key, third.Base)
				for _, o := range third.Objects {
					require.False(t, strings.HasPrefix(o.Key, first.Key+"/"))
				}
			}
		})
	}
	bucket := &locking{Store: mem.New("primary"), fails: fault.New(fault.StorageUnavailable, "ask", "lock", errors.New("no route to host"))}
	v := small(t, func(config *Config) { config.Store = bucket })
	first, _, _ := newCluster(7).next(t, v, 0, "", nil)
	w, err := v.Begin(t.Context(), sharedIntent(1))
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	requireFault(t, w.Share(donorOf(t, v, first.Key)), fault.StorageUnavailable, "no route")
}
