package retention

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/torture"
)

func TestACatalogThatCanNotBeWhollyReadRefusesEverything(t *testing.T) {
	w := newWorld(t)
	bases, trees := w.days(lived)
	down := fault.Newf(fault.StorageUnavailable, "get", "x", "down")
	for what, broken := range map[string]func() (mend func()){
		"a manifest of the primary can't be read": func() func() { return w.primary.Down(trees[5]+"/manifest", down) },
		"a manifest of the replica can't be read": func() func() { return w.replica.Down(bases[9]+"/manifest", down) },
		"a folder can't be listed":                func() func() { return w.primary.Down("redis-backups/", down) },
		"the replica's WAL can't be listed":       func() func() { return w.replica.Down("wal/", down) },
		"a record of the ledger can't be read":    func() func() { return w.primary.Down("ledger/host/000000000009", down) },
	} {
		mend := broken()
		_, err := w.retention().Plan(t.Context())
		require.Error(t, err, what)
		mend()
	}
	before := all(t, w.primary, "")
	p := w.plan()
	mend := w.replica.Down(trees[6]+"/manifest", down)
	_, err := w.retention().CarryOut(t.Context(), p, "primary")
	require.Error(t, err)
	mend()
	require.Equal(t, before, all(t, w.primary, ""), "nothing was touched")

	// A damaged one, and one of a format that is not known.
	damaged := bases[4] + "/manifest"
	body, err := store.ReadAll(t.Context(), w.primary, damaged, 1<<20)
	require.NoError(t, err)
	body[len(body)/2] ^= 1
	_, err = w.primary.Put(t.Context(), damaged, body, store.PutOptions{})
	require.NoError(t, err)
	_, err = w.retention().Plan(t.Context())
	require.True(t, fault.Has(err, fault.IntegrityError), "%v", err)
	require.ErrorContains(t, err, bases[4])
	info, err := w.primary.Head(t.Context(), damaged)
	require.NoError(t, err)
	require.NoError(t, w.primary.Delete(t.Context(), damaged, info.Version))
	_, err = w.primary.Put(t.Context(), "file-backups/2024/01/15/of-tomorrow/manifest", make([]byte, 300), store.PutOptions{})
	require.NoError(t, err)
	_, err = w.retention().Plan(t.Context())
	require.True(t, fault.Has(err, fault.FormatUnsupported), "%v", err)
	remove(t, w.primary, "file-backups/2024/01/15/of-tomorrow/manifest")
	_, err = w.retention().Plan(t.Context())
	require.NoError(t, err)
	remove(t, w.primary, "ledger/host/000000000012")
	_, err = w.retention().Plan(t.Context())
	require.True(t, fault.Has(err, fault.IntegrityError), "a record that is gone might have been a hold: %v", err)
}

func TestAClockThatDisagreesWithAStoresRefusesEverything(t *testing.T) {
	w := newWorld(t)
	w.days(lived)
	for _, skew := range []time.Duration{6 * time.Minute, -6 * time.Minute, 31 * day, -31 * day} {
		w.skew = skew
		_, err := w.retention().Plan(t.Context())
		require.True(t, fault.Has(err, fault.RetentionRefused), "%v", err)
		require.ErrorContains(t, err, "its clock differs by")
	}
	w.skew = 4 * time.Minute
	require.NotEmpty(t, w.plan().Going)
	config := w.config()
	config.Clock = nil
	r, err := New(config)
	require.NoError(t, err)
	_, err = r.Plan(t.Context())
	require.ErrorContains(t, err, "it does not tell its time")
}

func TestAWritersWrongClockMakesNothingOld(t *testing.T) {
	torture.Row(t, 14, 1, 24, func(t *testing.T, n int, random *rand.Rand) {
		w, days, kept := newWorld(t), 27, time.Duration(keep)
		if torture.Trials(t, 1, 24) > 1 {
			days, kept = 90, 30
		}
		w.system.Backup.Retention = system.Duration(kept * day)
		for today := range days {
			if random.IntN(3) == 0 {
				w.skew = time.Duration(random.Int64N(int64(62*day))) - 31*day
			}
			w.wal(1)
			for _, key := range []string{w.base(), w.tree()} {
				if random.IntN(4) > 0 {
					w.prove(key, "L3")
				}
			}
			w.replicated()
			w.skew = 0
			young, err := w.vault.WithStores(w.primary, nil).Inventory(t.Context(), nil)
			require.NoError(t, err)
			if today%3 == 2 {
				w.apply()
			}
			for _, s := range []store.Store{w.primary, w.replica} {
				left, err := w.vault.WithStores(s, nil).Inventory(t.Context(), nil)
				require.NoError(t, err)
				for i := range young.Backups {
					one := &young.Backups[i]
					if w.now.Sub(one.Newest) < kept*day {
						require.NotNil(t, left.Find(one.Key), "%s was stored on %s", one.Key, one.Newest)
					}
				}
			}
			w.pass(day)
		}
		w.sound(w.primary)
		w.sound(w.replica)
	})
}

func TestWhileSomebodyReadsNothingGoes(t *testing.T) {
	w := newWorld(t)
	bases, _ := w.days(lived)
	p := w.plan()
	before := all(t, w.primary, "")
	w.reading = "recover/frende"
	_, err := w.retention().CarryOut(t.Context(), p, "primary")
	require.True(t, fault.Has(err, fault.RetentionRefused), "%v", err)
	require.ErrorContains(t, err, "recover/frende runs")
	require.Equal(t, before, all(t, w.primary, ""))

	// It begins while manifests go: what it may have opened keeps its chunks.
	w.reading = ""
	hold := make(chan struct{})
	w.primary.Queue(faulty.Fault{Op: faulty.Delete, Key: bases[0] + "/manifest", Hold: hold})
	type result struct {
		outcome *Outcome
		err     error
	}
	ended := make(chan result)
	go func() {
		outcome, err := w.retention().CarryOut(t.Context(), p, "primary")
		ended <- result{outcome, err}
	}()
	require.Eventually(t, func() bool { return len(w.primary.Left()) == 0 }, time.Minute, time.Millisecond)
	opened, err := w.vault.WithStores(w.primary, nil).OpenWhole(t.Context(), bases[0])
	require.NoError(t, err)
	w.reading = "drill/frende/2024-Q1"
	close(hold)
	done := <-ended
	require.NoError(t, done.err)
	require.Empty(t, done.outcome.Removed)
	require.Len(t, done.outcome.Kept, 5, "all of the plan")
	require.Equal(t, Interrupted, done.outcome.Kept[0].Reason)
	require.Contains(t, done.outcome.Kept[0].Why, "drill/frende/2024-Q1 runs")
	b, err := opened.Open(t.Context(), "content")
	require.NoError(t, err)
	_, err = b.Read(make([]byte, 10))
	require.NoError(t, err, "it reads on")
	require.NoError(t, b.Close())
	w.reading = ""
	removed, _ := w.apply()
	require.Contains(t, of(removed, "primary", Remains), bases[0])
	require.Empty(t, all(t, w.primary, bases[0]))
	w.sound(w.primary)
}

func TestBackupsOfAComponentThatNobodyConfiguresStay(t *testing.T) {
	w := newWorld(t)
	_, trees := w.days(lived)
	w.system.Files = nil
	p := w.plan()
	require.Equal(t, Unconfigured, reasoned(t, p.Kept, "primary", trees[0]).Reason)
	require.Empty(t, slices.DeleteFunc(of(p.Going, "primary", Backup), func(key string) bool { return strings.HasPrefix(key, "database-backups/") }))
}

func TestOneStoreAloneIsNoReasonToDelete(t *testing.T) {
	w := newWorld(t)
	config := w.config()
	config.Vault = w.vault.WithStores(w.primary, nil)
	_, err := New(config)
	require.True(t, fault.Has(err, fault.RetentionRefused), "%v", err)
	config = w.config()
	config.System.From = "dr"
	_, err = New(config)
	require.True(t, fault.Has(err, fault.RetentionRefused), "%v", err)
	config = w.config()
	config.AtMost = 101
	_, err = New(config)
	require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
}
