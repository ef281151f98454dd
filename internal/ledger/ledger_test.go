package ledger_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
)

func ring(t *testing.T, fill string) *keys.Ring {
	t.Helper()
	r, err := keys.NewRing(keys.Config{Secrets: []keys.Secret{keys.NewSecret([]byte(strings.Repeat(fill, 64)))}})
	require.NoError(t, err)
	return r
}

func open(t *testing.T, s store.Store, change func(*ledger.Config)) *ledger.Ledger {
	t.Helper()
	c := ledger.Config{Store: s, Writer: "host-a", Keys: ring(t, "a")}
	if change != nil {
		change(&c)
	}
	l, err := ledger.New(c)
	require.NoError(t, err)
	return l
}

func object(writer string, n int) string { return fmt.Sprintf("ledger/%s/%012d", writer, n) }

// fill appends n records.
func fill(t *testing.T, l *ledger.Ledger, n int) {
	t.Helper()
	for i := range n {
		_, err := l.Append(t.Context(), ledger.Record{ID: fmt.Sprint("id-", i), Kind: "run", Subject: fmt.Sprint("recover/", i%3), Body: i})
		require.NoError(t, err)
	}
}

func collect(t *testing.T, l *ledger.Ledger, f ledger.Filter) []ledger.Entry {
	t.Helper()
	var all []ledger.Entry
	for e, err := range l.Read(t.Context(), f) {
		require.NoError(t, err)
		all = append(all, e)
	}
	return all
}

func raw(t *testing.T, s store.Store, key string) []byte {
	t.Helper()
	body, err := store.ReadAll(t.Context(), s, key, 1<<20)
	require.NoError(t, err)
	return body
}

func replace(t *testing.T, s store.Store, key string, body []byte) {
	t.Helper()
	_, err := s.Put(t.Context(), key, body, store.PutOptions{})
	require.NoError(t, err)
}

func TestRecordsComeBackInOrder(t *testing.T) {
	s := mem.New("memory")
	l := open(t, s, nil)
	fill(t, l, 40)
	all := collect(t, open(t, s, nil), ledger.Filter{})
	require.Len(t, all, 40)
	for i, e := range all {
		require.EqualValues(t, i+1, e.Sequence)
		var body int
		require.NoError(t, e.Decode(&body))
		require.Equal(t, i, body)
		if i > 0 {
			require.Equal(t, all[i-1].Hash, e.Previous)
		}
	}
	require.Len(t, collect(t, l, ledger.Filter{Subject: "recover/1"}), 13)
	require.Empty(t, collect(t, l, ledger.Filter{Kind: "proof"}))
	require.Empty(t, collect(t, l, ledger.Filter{Writer: "host-b"}))
	require.Len(t, collect(t, l, ledger.Filter{Since: all[30].Time}), 10)
	require.NoError(t, l.Verify(t.Context()))
}

func TestBodiesAreSealedAndSubjectsClear(t *testing.T) {
	s := mem.New("memory")
	_, err := open(t, s, nil).Append(t.Context(), ledger.Record{Kind: "run", Subject: "recover/frende", Body: map[string]string{"table": "salaries"}})
	require.NoError(t, err)
	stored := string(raw(t, s, object("host-a", 1)))
	require.Contains(t, stored, "recover/frende")
	require.NotContains(t, stored, "salaries")

	_, err = open(t, s, func(c *ledger.Config) { c.Keys = nil }).Find(t.Context(), "run", "recover/frende")
	require.Equal(t, fault.KeyUnavailable, fault.KindOf(err), "%v", err)
	_, err = open(t, s, func(c *ledger.Config) { c.Keys = ring(t, "b") }).Find(t.Context(), "run", "recover/frende")
	require.Contains(t, []fault.Kind{fault.KeyUnavailable, fault.KeyWrong}, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "ledger-host-a")
}

func TestSameIDIsOneRecord(t *testing.T) {
	s := mem.New("memory")
	record := ledger.Record{ID: "recover/frende/step-7", Kind: "run", Subject: "recover/frende", Body: "first"}
	first, err := open(t, s, nil).Append(t.Context(), record)
	require.NoError(t, err)
	fill(t, open(t, s, nil), 30)
	record.Body = "second"
	again, err := open(t, s, nil).Append(t.Context(), record) // another process
	require.NoError(t, err)
	require.Equal(t, first.Sequence, again.Sequence)
	require.Equal(t, first.Hash, again.Hash)
	require.JSONEq(t, `"first"`, string(again.Body))
	require.Len(t, collect(t, open(t, s, nil), ledger.Filter{}), 31)
}

func TestIDsAreForgottenAfterTheLookback(t *testing.T) {
	s, now := mem.New("memory"), time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)
	at := func(c *ledger.Config) { c.Now = func() time.Time { return now } }
	fill(t, open(t, s, at), 20)
	now = now.Add(ledger.DefaultLookback + time.Hour)
	fill(t, open(t, s, at), 20)
	require.Len(t, collect(t, open(t, s, at), ledger.Filter{}), 40)
	require.NoError(t, open(t, s, at).Verify(t.Context()))
}

func TestLostAcknowledgementIsOneRecord(t *testing.T) {
	s := faulty.New(t, mem.New("memory"))
	l := open(t, s, nil)
	fill(t, l, 1)
	lost := fault.New(fault.ObjectExists, "put", object("host-a", 2), nil) // what a store says whose first try had succeeded
	s.Queue(faulty.Fault{Op: faulty.Put, Key: object("host-a", 2), LostAck: lost})
	e, err := l.Append(t.Context(), ledger.Record{Kind: "run", Subject: "s", Body: 1})
	require.NoError(t, err)
	require.EqualValues(t, 2, e.Sequence)

	down := fault.New(fault.StorageUnavailable, "put", "x", nil)
	s.Queue(faulty.Fault{Op: faulty.Put, Key: object("host-a", 3), LostAck: down})
	record := ledger.Record{ID: "retried", Kind: "run", Subject: "s", Body: 1}
	_, err = l.Append(t.Context(), record)
	require.Equal(t, fault.StorageUnavailable, fault.KindOf(err))
	e, err = l.Append(t.Context(), record)
	require.NoError(t, err)
	require.EqualValues(t, 3, e.Sequence)
	require.Len(t, collect(t, l, ledger.Filter{}), 3)
}

func TestAppendersOfOneWriterShareNoNumber(t *testing.T) {
	s := mem.New("memory")
	var group errgroup.Group
	for range 6 {
		l := open(t, s, nil)
		group.Go(func() error {
			for i := range 8 {
				if _, err := l.Append(t.Context(), ledger.Record{Kind: "run", Subject: "race", Body: i}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Len(t, collect(t, open(t, s, nil), ledger.Filter{}), 48)
	require.NoError(t, open(t, s, nil).Verify(t.Context()))
}

func TestFindGivesTheNewestOfAnyWriter(t *testing.T) {
	s, now := mem.New("memory"), time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)
	for i, writer := range []string{"host-b", "host-a", "host-c", "host-a"} {
		l := open(t, s, func(c *ledger.Config) {
			c.Writer, c.Now = writer, func() time.Time { return now.Add(time.Duration(i) * time.Minute) }
		})
		_, err := l.Append(t.Context(), ledger.Record{Kind: "point", Subject: "recover/frende", Body: i})
		require.NoError(t, err)
	}
	found, err := open(t, s, nil).Find(t.Context(), "point", "recover/frende")
	require.NoError(t, err)
	require.Equal(t, "3", string(found.Body))
	_, err = open(t, s, nil).Find(t.Context(), "point", "recover/other")
	require.Equal(t, fault.RunUnknown, fault.KindOf(err))
}

func TestNewestRecordsOfAllWritersComeFirst(t *testing.T) {
	s, now := mem.New("memory"), time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)
	for i := range 50 { // more than one batch of each writer
		now = now.Add(time.Minute)
		l := open(t, s, func(c *ledger.Config) {
			c.Writer, c.Now = []string{"host-a", "host-b", "host-b"}[i%3], func() time.Time { return now }
		})
		_, err := l.Append(t.Context(), ledger.Record{Kind: []string{"run", "notice"}[i%2], Subject: fmt.Sprint(i), Body: i})
		require.NoError(t, err)
	}
	replace(t, s, object("host-a", 17), []byte("damaged")) // number 48, a run
	var told, damaged []string
	for e, err := range open(t, s, nil).Newest(t.Context(), ledger.Filter{Kind: "run"}) {
		if err != nil {
			require.True(t, fault.Has(err, fault.IntegrityError), "%v", err)
			damaged = append(damaged, err.Error())
			continue
		}
		if told = append(told, e.Subject); len(told) == 24 {
			break
		}
	}
	want := []string{}
	for i := 46; i >= 0; i -= 2 {
		want = append(want, fmt.Sprint(i))
	}
	require.Equal(t, want, told, "a damaged record hides no other")
	require.Len(t, damaged, 1)
	require.Contains(t, damaged[0], object("host-a", 17))
}

func TestVerifyNamesWhatWasChanged(t *testing.T) {
	for name, change := range map[string]struct {
		do    func(t *testing.T, s *mem.Store)
		names string
	}{
		"a byte of a body": {func(t *testing.T, s *mem.Store) {
			var envelope map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(raw(t, s, object("host-a", 7)), &envelope))
			record := []byte(envelope["record"])
			record[len(record)-10] ^= 1 // inside the sealed body
			envelope["record"] = record
			body, err := json.Marshal(envelope)
			require.NoError(t, err)
			replace(t, s, object("host-a", 7), body)
		}, object("host-a", 7)},
		"a subject": {func(t *testing.T, s *mem.Store) {
			body := strings.Replace(string(raw(t, s, object("host-a", 5))), "recover/1", "recover/2", 1)
			replace(t, s, object("host-a", 5), []byte(body))
		}, object("host-a", 5)},
		"a record replaced by another": {func(t *testing.T, s *mem.Store) {
			replace(t, s, object("host-a", 4), raw(t, s, object("host-a", 3)))
		}, object("host-a", 4)},
		"a record removed": {func(t *testing.T, s *mem.Store) {
			require.NoError(t, s.Delete(t.Context(), object("host-a", 6), ""))
		}, object("host-a", 6)},
		"the first removed": {func(t *testing.T, s *mem.Store) {
			require.NoError(t, s.Delete(t.Context(), object("host-a", 1), ""))
		}, object("host-a", 1)},
		"the end rewritten by someone with the writer's key": {func(t *testing.T, s *mem.Store) {
			require.NoError(t, s.Delete(t.Context(), object("host-a", 20), ""))
			_, err := open(t, s, nil).Append(t.Context(), ledger.Record{Kind: "run", Subject: "forged", Body: 0})
			require.NoError(t, err)
		}, object("host-a", 20)},
		"the end cut off": {func(t *testing.T, s *mem.Store) {
			require.NoError(t, s.Delete(t.Context(), object("host-a", 20), ""))
		}, object("host-a", 20)},
		"the whole chain removed": {func(t *testing.T, s *mem.Store) {
			for i := range 20 {
				require.NoError(t, s.Delete(t.Context(), object("host-a", i+1), ""))
			}
		}, object("host-a", 1)},
		"garbage": {func(t *testing.T, s *mem.Store) { replace(t, s, object("host-a", 9), []byte("{")) }, object("host-a", 9)},
	} {
		t.Run(name, func(t *testing.T) {
			s := mem.New("memory")
			l := open(t, s, nil)
			fill(t, l, 20)
			head, err := l.Head(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 20, head.Sequence)
			require.NoError(t, l.Verify(t.Context()))
			change.do(t, s)
			for _, err := range []error{l.Verify(t.Context()), open(t, s, nil).Verify(t.Context(), head)} {
				require.Equal(t, fault.IntegrityError, fault.KindOf(err), "%v", err)
				require.ErrorContains(t, err, change.names)
			}
		})
	}
}

func TestDamagedLedgerTakesNewRecords(t *testing.T) {
	s := mem.New("memory")
	fill(t, open(t, s, nil), 5)
	replace(t, s, object("host-a", 5), []byte("not a record"))
	require.NoError(t, s.Delete(t.Context(), object("host-a", 2), ""))
	l := open(t, s, nil)
	e, err := l.Append(t.Context(), ledger.Record{Kind: "run", Subject: "after", Body: 1})
	require.NoError(t, err)
	require.EqualValues(t, 6, e.Sequence)
	require.Equal(t, fault.IntegrityError, fault.KindOf(l.Verify(t.Context())))
	bad, good := 0, 0
	for _, err := range l.Read(t.Context(), ledger.Filter{}) {
		if err != nil {
			bad++
		} else {
			good++
		}
	}
	require.Equal(t, []int{1, 4}, []int{bad, good})
}

func TestUnreadableRecordsKeepNobodyFromTheOthers(t *testing.T) {
	s := mem.New("memory")
	l := open(t, s, nil)
	_, err := l.Append(t.Context(), ledger.Record{Kind: "backup", Subject: "database-backups/x", Body: "L1"})
	require.NoError(t, err)
	fill(t, l, 20)
	replace(t, s, object("host-a", 19), []byte("damaged"))
	replace(t, s, object("zzz", 1), []byte("planted"))
	found, err := open(t, s, nil).Find(t.Context(), "backup", "database-backups/x")
	require.NoError(t, err)
	require.Equal(t, `"L1"`, string(found.Body))
	require.Len(t, found.Unreadable, 2, "and none is kept quiet")
	require.ErrorContains(t, found.Unreadable[0], object("host-a", 19))
	require.ErrorContains(t, found.Unreadable[1], object("zzz", 1))

	found, err = open(t, s, nil).Find(t.Context(), "backup", "database-backups/y")
	require.Equal(t, fault.IntegrityError, fault.KindOf(err), "what can't be read may have been it: %v", err)
	require.Len(t, found.Unreadable, 2)

	// A store that fails is no damaged record: nothing is concluded from it.
	broken := faulty.New(t, s)
	broken.Queue(faulty.Fault{Op: faulty.Get, Key: object("host-a", 12), Err: fault.New(fault.StorageUnavailable, "get", object("host-a", 12), nil)})
	_, err = open(t, broken, nil).Find(t.Context(), "backup", "database-backups/x")
	require.Equal(t, fault.StorageUnavailable, fault.KindOf(err), "%v", err)
}

func TestUnsignedRecordIsNotBelieved(t *testing.T) {
	s := mem.New("memory")
	_, err := open(t, s, func(c *ledger.Config) { c.Keys = nil }).Append(t.Context(), ledger.Record{Kind: "run", Subject: "forged", Body: 1})
	require.NoError(t, err)
	_, err = open(t, s, nil).Find(t.Context(), "run", "forged")
	require.Equal(t, fault.IntegrityError, fault.KindOf(err), "%v", err)
}

func TestBadRecordsAndConfigurationsAreRefused(t *testing.T) {
	s := mem.New("memory")
	for _, c := range []ledger.Config{{Writer: "a"}, {Store: s}, {Store: s, Writer: "A/B"}} {
		_, err := ledger.New(c)
		require.Equal(t, fault.ConfigInvalid, fault.KindOf(err))
	}
	l := open(t, s, nil)
	for _, r := range []ledger.Record{{Subject: "no kind"}, {Kind: "run", Body: func() {}}, {Kind: "run", Body: strings.Repeat("x", 9<<20)}} {
		_, err := l.Append(t.Context(), r)
		require.Equal(t, fault.InputInvalid, fault.KindOf(err), "%v", err)
	}
	e, err := l.Append(t.Context(), ledger.Record{Kind: "run", Subject: "bad \xff text <&>", Body: "x"})
	require.NoError(t, err)
	found, err := open(t, s, nil).Find(t.Context(), "run", e.Subject)
	require.NoError(t, err)
	require.Equal(t, "bad ? text <&>", found.Subject)
}
