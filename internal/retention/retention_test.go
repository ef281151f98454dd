package retention

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/internal/vault"
)

func TestWhatIsOlderThanTheAnchorGoesFromBothStoresWithItsWAL(t *testing.T) {
	w := newWorld(t)
	bases, trees := w.days(lived) // backups of days 0 to 9; it is day 10: 8 days ago is day 2
	p := w.plan()
	require.Equal(t, slices.Concat(bases[:2], trees[:2]), of(p.Going, "primary", Backup))
	require.Equal(t, slices.Concat(bases[:2], trees[:2]), of(p.Going, "dr", Backup), "in the same run, after the primary's")
	anchor := reasoned(t, p.Kept, "primary", bases[2])
	require.Equal(t, Anchor, anchor.Reason)
	require.Equal(t, "points since 2024-01-03 need it: it is the newest before that is proven at L3 and whole", anchor.Why)
	young := reasoned(t, p.Kept, "primary", bases[3])
	require.Equal(t, Younger, young.Reason)
	require.EqualValues(t, 7, young.Count, "neighbours that are kept for one reason are one row")
	require.Equal(t, bases[9], young.Last)
	needed := reasoned(t, p.Kept, "primary", w.segmentKey(2*5+3))
	require.Equal(t, Needed, needed.Reason)
	require.Equal(t, "the base backup "+bases[2]+" needs it", needed.Why)

	removed, kept := w.apply()
	require.Len(t, removed, 2*(2+2+1))
	require.Equal(t, p.Kept, kept, "nothing that was planned stayed")
	for _, s := range []store.Store{w.primary, w.replica} {
		require.Empty(t, all(t, s, strings.TrimSuffix(bases[0], "/")))
		require.Len(t, all(t, s, "wal/frende/"+cluster+"/00000001/"), lived*5-(2*5+2), "WAL from the anchor's start on")
		require.Equal(t, w.segmentKey(2*5+3), all(t, s, "wal/frende/"+cluster+"/00000001/")[0])
		w.sound(s)
	}
	again := w.plan()
	require.Empty(t, again.Going, "applying it again removes nothing")
	w.replicated()
	require.Empty(t, w.plan().Going, "and nothing comes back")
}

func TestNothingGoesWithoutAnAnchorAFreshProofOrAnApproval(t *testing.T) {
	w := newWorld(t)
	var keys []string
	for range 12 {
		keys = append(keys, w.tree())
		w.pass(day)
	}
	w.replicated()
	why := func(key string) Entry { return reasoned(t, w.plan().Kept, "primary", key) }
	require.Equal(t, Unproven, why(keys[0]).Reason)
	require.Equal(t, "no backup of it was ever proven at L2: without a proof none may go", why(keys[0]).Why)

	w.prove(keys[11], "L1")
	require.Equal(t, Unproven, why(keys[0]).Reason, "that every byte can be read is not enough")
	w.prove(keys[11], "L2")
	require.Equal(t, Unproven, why(keys[0]).Reason)
	require.Contains(t, why(keys[0]).Why, "no backup that ended before 2024-01-05 is proven at L2")

	w.prove(keys[3], "L2")
	require.Equal(t, TooMuch, why(keys[0]).Reason)
	require.Equal(t, "3 of 12 backups would go, more than 20 % at once: see whether that is right, then: lifeboat retention run --at-most 25", why(keys[0]).Why)
	config := w.config()
	config.AtMost = 25
	r, err := New(config)
	require.NoError(t, err)
	approved, err := r.Plan(t.Context())
	require.NoError(t, err)
	require.Equal(t, keys[:3], of(approved.Going, "primary", Backup))

	w.pass(37 * time.Hour)
	require.Equal(t, ProofStale, why(keys[0]).Reason)
	require.Contains(t, why(keys[0]).Why, "the newest proof at L2 is of 2024-01-13T02:00:00Z, longer than 36h ago")
	require.Empty(t, w.plan().Going)
}

func TestTwoProvenBackupsAlwaysStayAndOneOfAFewMayGo(t *testing.T) {
	w := newWorld(t)
	var keys []string
	for range 3 {
		keys = append(keys, w.tree())
		w.prove(keys[len(keys)-1], "L2")
		w.pass(31 * day)
	}
	w.replicated()
	w.prove(keys[2], "L2")
	p := w.plan()
	require.Equal(t, keys[:1], of(p.Going, "primary", Backup), "the third of three is more than a fifth")
	require.Equal(t, LastProven, reasoned(t, p.Kept, "primary", keys[1]).Reason)
	require.Equal(t, Anchor, reasoned(t, p.Kept, "primary", keys[2]).Reason)

	w.pass(400 * day) // nobody makes backups any more
	w.prove(keys[2], "L2")
	w.apply()
	w.pass(400 * day)
	w.prove(keys[2], "L2")
	removed, _ := w.apply()
	require.Empty(t, removed, "the last two proven backups stay, whatever their age")
	w.sound(w.primary)
}

func TestAHeldBackupStaysWithItsWALUntilItIsReleased(t *testing.T) {
	w := newWorld(t)
	bases, _ := w.days(lived)
	first := w.append(KindHold, bases[1], HoldBody{Reason: "audit 2024", By: "ada"})
	second := w.append(KindHold, bases[1], HoldBody{Reason: "a lawsuit"})
	removed, kept := w.apply()
	require.NotContains(t, of(removed, "primary", Backup), bases[1])
	held := reasoned(t, kept, "dr", bases[1])
	require.Equal(t, Held, held.Reason)
	require.Equal(t, "held by ada since 2024-01-11: audit 2024 (and 1 more)", held.Why)
	require.Equal(t, "the base backup "+bases[1]+" needs it", reasoned(t, kept, "primary", w.segmentKey(8)).Why)
	require.Equal(t, w.segmentKey(8), all(t, w.primary, "wal/frende/"+cluster+"/")[0])

	id := func(sequence int64) string { return fmt.Sprintf("host/%d", sequence) }
	w.append(KindRelease, bases[1], ReleaseBody{Holds: []string{id(first.Sequence)}})
	require.Equal(t, Held, reasoned(t, w.plan().Kept, "primary", bases[1]).Reason, "the other hold is in force")
	w.append(KindRelease, bases[2], ReleaseBody{Holds: []string{id(second.Sequence)}})
	require.Equal(t, Held, reasoned(t, w.plan().Kept, "primary", bases[1]).Reason, "that was another backup's")
	w.append(KindRelease, bases[1], ReleaseBody{Holds: []string{id(second.Sequence)}})
	holds, err := Holds(t.Context(), w.records)
	require.NoError(t, err)
	require.Empty(t, holds)
	removed, _ = w.apply()
	require.Equal(t, []string{bases[1]}, of(removed, "primary", Backup))
	require.Equal(t, []string{w.segmentKey(8)}, of(removed, "primary", WAL))
}

func TestAHoldThatComesAfterThePlanIsHeeded(t *testing.T) {
	w := newWorld(t)
	bases, _ := w.days(lived)
	p := w.plan()
	w.append(KindHold, bases[0], HoldBody{Reason: "audit"})
	hold := make(chan struct{})
	w.primary.Queue(faulty.Fault{Op: faulty.Put, Key: bases[1] + "/expired", Hold: hold}) // marks are being put
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
	w.append(KindHold, bases[1], HoldBody{Reason: "just now"})
	close(hold)
	done := <-ended
	require.NoError(t, done.err)
	require.Equal(t, bases[:2], of(done.outcome.Kept, "primary", Backup))
	for _, key := range bases[:2] {
		marked, err := w.vault.Marked(t.Context(), key)
		require.NoError(t, err)
		require.False(t, marked)
		_, err = w.vault.WithStores(w.primary, nil).OpenWhole(t.Context(), key)
		require.NoError(t, err)
	}
	w.sound(w.primary)
}

func TestWhatTheReplicaDoesNotHoldStaysInThePrimary(t *testing.T) {
	w := newWorld(t)
	bases, trees := w.days(lived)
	lost := all(t, w.replica, trees[0]+"/chunk/")[0]
	remove(t, w.replica, lost)
	remove(t, w.replica, bases[1]+"/manifest")
	remove(t, w.replica, w.segmentKey(2))
	p := w.plan()
	require.Equal(t, "dr does not hold it whole: it lacks "+lost, reasoned(t, p.Kept, "primary", trees[0]).Why)
	require.Equal(t, ReplicaIncomplete, reasoned(t, p.Kept, "primary", bases[1]).Reason)
	require.Equal(t, "dr does not hold it", reasoned(t, p.Kept, "primary", bases[1]).Why)
	require.Equal(t, ReplicaIncomplete, reasoned(t, p.Kept, "primary", w.segmentKey(2)).Reason)
	require.Equal(t, InPrimary, reasoned(t, p.Kept, "dr", trees[0]).Reason)

	// An anchor that the replica lacks a part of is none: an older one is.
	remove(t, w.replica, all(t, w.replica, trees[2]+"/chunk/")[0])
	require.Equal(t, Anchor, reasoned(t, w.plan().Kept, "primary", trees[1]).Reason)
	removed, _ := w.apply()
	require.NotContains(t, of(removed, "primary", Backup), trees[1])
	require.NotContains(t, of(removed, "dr", Backup), trees[1])
	w.sound(w.primary)
}

func remove(t *testing.T, s store.Store, key string) {
	t.Helper()
	info, err := s.Head(t.Context(), key)
	require.NoError(t, err)
	require.NoError(t, s.Delete(t.Context(), key, info.Version))
}

func TestTheReplicaKeepsWhatItsLostPrimaryCanNoLongerVouchFor(t *testing.T) {
	w := newWorld(t)
	w.days(lived)
	for _, key := range all(t, w.primary, "") {
		if strings.Contains(key, "-backups/") || strings.HasPrefix(key, "wal/") {
			remove(t, w.primary, key)
		}
	}
	removed, _ := w.apply()
	require.Empty(t, removed, "a primary that was emptied is no reason to empty the replica")
}

// Row 14 of the reliability table: for 90 days (fewer, of a shorter retention, in a
// small trial) a writer's clock is wrong by any amount, and retention runs every third.
// held counts what a store holds of backups and WAL, by folder: the names of
// attempts are drawn anew in each world.
func held(t *testing.T, s store.Store) map[string]int {
	t.Helper()
	counted := map[string]int{}
	for _, key := range all(t, s, "") {
		if strings.Contains(key, "-backups/") {
			key = strings.Join(strings.Split(key, "/")[:5], "/")
		}
		if !strings.HasPrefix(key, "keys/") {
			counted[key]++
		}
	}
	return counted
}

var errKilled = errors.New("killed")

// Row 15: a run is cut off at any deletion, in either store; what is left is sound,
// and the next run ends the same as one that was never cut off.
func TestARunThatIsCutOffAnywhereIsFinishedByTheNext(t *testing.T) {
	expected := newWorld(t)
	expected.days(lived)
	expected.apply()
	killed := fault.New(fault.StorageUnavailable, "delete", "x", errKilled)
	torture.Row(t, 15, 6, 150, func(t *testing.T, n int, random *rand.Rand) {
		w := newWorld(t)
		w.days(lived)
		p := w.plan()
		where, names := []*faulty.Store{w.primary, w.replica}, []string{"primary", "dr"}
		struck := random.IntN(2)
		strike := faulty.Fault{Op: faulty.Delete, After: random.IntN(30)}
		if random.IntN(2) == 0 {
			strike.Err = killed
		} else {
			strike.LostAck = killed
		}
		where[struck].Queue(strike)
		for i, name := range names {
			_, err := w.retention().CarryOut(t.Context(), p, name)
			if i < struck {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, errKilled)
			break
		}
		w.sound(w.primary)
		w.sound(w.replica)
		w.open()
		if random.IntN(2) == 0 { // the same run goes on …
			for _, name := range names {
				done, err := w.retention().CarryOut(t.Context(), p, name)
				require.NoError(t, err)
				require.Empty(t, done.Kept)
				require.Len(t, done.Removed, 5, "with all that it removed before it was cut off")
			}
		} else { // … or the next one begins
			w.replicated()
			w.apply()
		}
		require.Equal(t, held(t, expected.primary), held(t, w.primary))
		require.Equal(t, held(t, expected.replica), held(t, w.replica))
		w.sound(w.primary)
		w.sound(w.replica)
	})
}

func TestADeletionThatIsDeniedIsTold(t *testing.T) {
	w := newWorld(t)
	bases, trees := w.days(lived)
	denied := fault.Newf(fault.StorageDenied, "delete", "x", "locked")
	w.primary.Queue(faulty.Fault{Op: faulty.Delete, Key: bases[0] + "/manifest", Err: denied}, faulty.Fault{Op: faulty.Delete, Key: trees[1] + "/chunk", Err: denied})
	up := w.primary.Down(w.segmentKey(1), denied)
	removed, kept := w.apply()
	require.Len(t, of(removed, "primary", Backup), 2)
	manifest := reasoned(t, slices.DeleteFunc(slices.Clone(kept), func(e Entry) bool { return e.Reason != Denied }), "primary", bases[0])
	require.Contains(t, manifest.Why, "primary refuses to delete it: an Object Lock, or the bucket's policy")
	require.Contains(t, reasoned(t, kept, "primary", trees[1]).Why, "without a manifest already")
	_, err := w.vault.WithStores(w.primary, nil).OpenWhole(t.Context(), bases[0])
	require.NoError(t, err)
	require.Contains(t, all(t, w.primary, "wal/"), w.segmentKey(4), "what it needs is there, too")
	up()
	w.apply()
	w.apply() // the replica's WAL follows the primary's
	require.Empty(t, all(t, w.primary, bases[0]))
	require.Empty(t, all(t, w.replica, bases[0]))
	require.NotContains(t, all(t, w.replica, "wal/"), w.segmentKey(1))
	w.sound(w.primary)
}

func TestEachTimelineOfTheseDaysHasItsAnchor(t *testing.T) {
	w := newWorld(t)
	old, _ := w.days(6)
	// A recovery to an earlier point: timeline 2 begins within what timeline 1 had written.
	left := w.next
	w.timeline, w.next = 2, left-10
	history := fmt.Sprintf("1\t%s\tno recovery target specified\n", postgres.LSN((left-10)*uint64(segment)+100))
	require.NoError(t, w.vault.PutSealed(t.Context(), "wal/frende/"+cluster+"/00000002/00000002.history", "wal-frende-20240121", []byte(history), vault.SealedOptions{}))
	w.next++
	fresh, _ := w.days(5) // it is day 11: points since day 3 are of either timeline
	p := w.plan()
	require.Equal(t, Anchor, reasoned(t, p.Kept, "primary", old[3]).Reason)
	require.NotContains(t, of(p.Going, "primary", Backup), fresh[0])

	more, _ := w.days(9) // day 20: timeline 1 was left longer ago than the retention
	p = w.plan()
	require.Equal(t, Anchor, reasoned(t, p.Kept, "primary", more[1]).Reason)
	require.Equal(t, TooMuch, reasoned(t, p.Kept, "primary", old[0]).Reason)
	config := w.config()
	config.AtMost = 100
	r, err := New(config)
	require.NoError(t, err)
	p, err = r.Plan(t.Context())
	require.NoError(t, err)
	require.Subset(t, of(p.Going, "primary", Backup), slices.Concat(old, fresh))
	for _, name := range []string{"primary", "dr"} {
		r, err := New(config)
		require.NoError(t, err)
		_, err = r.CarryOut(t.Context(), p, name)
		require.NoError(t, err)
	}
	require.Empty(t, slices.DeleteFunc(all(t, w.primary, "wal/frende/"+cluster+"/00000001/"), func(key string) bool { return strings.HasSuffix(key, ".history") }))
	require.Contains(t, all(t, w.primary, "wal/"), "wal/frende/"+cluster+"/00000002/00000002.history", "the way to a timeline stays")
}

func TestTheWALOfAClusterThatIsGoneGoesAfterTheRetention(t *testing.T) {
	w := newWorld(t)
	w.days(3)
	w.cluster, w.next = "7300000000000000002", 1
	w.days(9)
	former := "wal/frende/" + cluster + "/"
	config := w.config()
	config.AtMost = 100
	apply := func() {
		r, err := New(config)
		require.NoError(t, err)
		p, err := r.Plan(t.Context())
		require.NoError(t, err)
		for _, name := range []string{"primary", "dr"} {
			r, err := New(config)
			require.NoError(t, err)
			_, err = r.CarryOut(t.Context(), p, name)
			require.NoError(t, err)
		}
	}
	require.NotEmpty(t, all(t, w.primary, former))
	apply()
	require.Empty(t, all(t, w.primary, former))
	require.Empty(t, all(t, w.replica, former))
	w.sound(w.primary)
}
