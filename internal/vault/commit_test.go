package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
)

var errCrash = errors.New("killed")

// manifests counts the manifests in a store.
func manifests(t *testing.T, s store.Store) int {
	n := 0
	for info, err := range s.List(t.Context(), "database-backups/", store.ListOptions{}) {
		require.NoError(t, err)
		if strings.HasSuffix(info.Key, "/manifest") {
			n++
		}
	}
	return n
}

// attempt makes one attempt at the backup; after an error it leaves everything as it is.
func tryBackup(ctx context.Context, v *Vault, in Intent, data []byte) (*Manifest, error) {
	w, err := v.Begin(ctx, in)
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Close() }() // a killed process closes nothing either
	if m := w.Committed(); m != nil {
		return m, nil
	}
	s, err := w.Create(ctx, "base.tar")
	if err != nil {
		return nil, err
	}
	if _, err := s.Write(data); err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return w.Commit(ctx, nil)
}

// TestAnAttemptThatDiesAnywhereIsRepeatedToOneManifest is rows 1 and 7: the
// process dies at each call of the store, before or just after it took effect.
func TestAnAttemptThatDiesAnywhereIsRepeatedToOneManifest(t *testing.T) {
	data := content(1, 20_000)
	points := 0
	for after := 0; ; after++ {
		died := false
		for _, late := range []bool{false, true} {
			inner := mem.New("primary")
			v := small(t, func(c *Config) { c.Store, c.Parallel = inner, 1 })
			dying := &dyingStore{Store: inner, left: after, late: late}
			in := testIntent("zstd")
			_, err := tryBackup(t.Context(), v.WithStores(dying, nil), in, data)
			died = died || dying.dead
			if dying.dead && err != nil {
				points++
				if manifests(t, inner) == 0 {
					_, err = v.Open(t.Context(), in.Key())
					require.Contains(t, []fault.Kind{fault.BackupIncomplete, fault.BackupUnknown}, fault.KindOf(err), "%v", err)
				}
			}
			in.Attempt++
			m, err := tryBackup(t.Context(), v.WithStores(inner, nil), in, data)
			require.NoError(t, err, "after %d calls", after)
			require.Equal(t, 1, manifests(t, inner))
			got, err := readStream(t.Context(), open(t, v.WithStores(inner, nil), m.Key), "base.tar")
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got))
			require.Zero(t, v.cfg.Budget.Used())
		}
		if !died {
			break
		}
	}
	t.Logf("died at %d points", points)
	require.GreaterOrEqual(t, points, 20)
}

// dyingStore answers nothing any more after some calls; late: the call at which it dies still takes effect.
type dyingStore struct {
	store.Store
	left int
	late bool
	dead bool
}

func (s *dyingStore) Put(ctx context.Context, key string, body []byte, opts store.PutOptions) (store.Info, error) {
	if !s.dead && s.left > 0 {
		s.left--
		return s.Store.Put(ctx, key, body, opts)
	}
	if !s.dead && s.late {
		if info, err := s.Store.Put(ctx, key, body, opts); err != nil {
			return info, err
		}
	}
	s.dead = true
	return store.Info{}, fault.New(fault.StorageUnavailable, "put", key, errCrash)
}

func TestOneRunOwnsABackup(t *testing.T) {
	v := small(t, nil)
	in := testIntent("zstd")
	first, err := v.Begin(t.Context(), in)
	require.NoError(t, err)
	require.Nil(t, first.Committed())

	other := in
	other.RunID = "backup/frende/2"
	_, err = v.Begin(t.Context(), other)
	requireFault(t, err, fault.BackupConflict, "backup/frende/1")

	second, err := v.Begin(t.Context(), in) // the same run again, while the first attempt still writes
	require.NoError(t, err)
	writeStream(t, first, "s", content(1, 9_000))
	writeStream(t, second, "s", content(2, 9_000))
	m2, err := second.Commit(t.Context(), nil)
	require.NoError(t, err)
	m1, err := first.Commit(t.Context(), nil) // a zombie: it gets what the other one wrote
	require.NoError(t, err)
	require.Equal(t, m2.Attempt, m1.Attempt)
	require.Equal(t, 1, manifests(t, v.Store()))
	got, err := readStream(t.Context(), open(t, v, in.Key()), "s")
	require.NoError(t, err)
	require.True(t, bytes.Equal(content(2, 9_000), got))
	require.NoError(t, first.Close())
	require.NoError(t, second.Close())

	third, err := v.Begin(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, m2.Attempt, third.Committed().Attempt)
	_, err = third.Create(t.Context(), "late")
	requireFault(t, err, fault.InputInvalid, "finished")
	_, err = v.Begin(t.Context(), other)
	requireFault(t, err, fault.BackupConflict, "backup/frende/1")
}

func TestALostAcknowledgementOfTheManifestIsSuccess(t *testing.T) {
	s := faulty.New(t, mem.New("primary"))
	v := small(t, func(c *Config) { c.Store = s })
	s.Queue(faulty.Fault{Op: faulty.Put, Key: "/manifest", LostAck: fault.New(fault.ObjectExists, "put", "manifest", nil)},
		faulty.Fault{Op: faulty.Put, Key: "/intent", LostAck: fault.New(fault.ObjectExists, "put", "intent", nil)},
		faulty.Fault{Op: faulty.Put, Key: "/first", LostAck: fault.New(fault.ObjectExists, "put", "slot", nil)})
	data := content(1, 9_000)
	m, err := tryBackup(t.Context(), v, testIntent("zstd"), data)
	require.NoError(t, err)
	got, err := readStream(t.Context(), open(t, v, m.Key), "base.tar")
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
}

func TestAChunkThatCantBeStoredFailsTheStream(t *testing.T) {
	s := faulty.New(t, mem.New("primary"))
	v := small(t, func(c *Config) { c.Store = s })
	s.Queue(faulty.Fault{Op: faulty.Put, Key: "/chunk/", After: 3, Err: fault.New(fault.StorageUnavailable, "put", "chunk", errors.New("500"))})
	w, err := v.Begin(t.Context(), testIntent("zstd"))
	require.NoError(t, err)
	stream, err := w.Create(t.Context(), "s")
	require.NoError(t, err)
	_, writeErr := stream.Write(content(1, 100_000))
	closeErr := stream.Close()
	requireFault(t, errors.Join(writeErr, closeErr), fault.StorageUnavailable, "500")
	_, err = w.Commit(t.Context(), nil)
	requireFault(t, err, fault.StorageUnavailable, "500")
	require.NoError(t, w.Close())
	require.Zero(t, manifests(t, s))
	require.Zero(t, v.cfg.Budget.Used())
}

func TestAnUnclosedStreamCantBeCommittedAndCloseGivesItsMemoryBack(t *testing.T) {
	v := small(t, nil)
	w, err := v.Begin(t.Context(), testIntent("zstd"))
	require.NoError(t, err)
	s, err := w.Create(t.Context(), "s")
	require.NoError(t, err)
	_, err = s.Write(content(1, 9_001))
	require.NoError(t, err)
	_, err = w.Commit(t.Context(), nil)
	requireFault(t, err, fault.InputInvalid, "still open")
	_, err = w.Create(t.Context(), "s")
	requireFault(t, err, fault.InputInvalid, `"s" already`)
	require.NoError(t, w.Close())
	_, err = s.Write([]byte("late"))
	requireFault(t, err, fault.Aborted, "closed")
	requireFault(t, s.Close(), fault.Aborted, "closed")
	require.Zero(t, v.cfg.Budget.Used())
	require.Zero(t, manifests(t, v.Store()))
}

func TestBadIntentsAreRefused(t *testing.T) {
	v := small(t, nil)
	for name, change := range map[string]func(*Intent){
		"folder":    func(i *Intent) { i.Folder = "elsewhere" },
		"component": func(i *Intent) { i.Component = "../x" },
		"kind":      func(i *Intent) { i.Kind = "" },
		"system":    func(i *Intent) { i.System = "" },
		"run":       func(i *Intent) { i.RunID = "" },
		"time":      func(i *Intent) { i.At = time.Time{} },
		"codec":     func(i *Intent) { i.Codec = "lz4" },
	} {
		t.Run(name, func(t *testing.T) {
			in := testIntent("zstd")
			change(&in)
			_, err := v.Begin(t.Context(), in)
			require.Equal(t, fault.InputInvalid, fault.KindOf(err), "%v", err)
		})
	}
}

func TestAStoreOfAnotherSystemIsRefused(t *testing.T) {
	v := small(t, nil)
	m := backUp(t, v, testIntent("zstd"), nil)
	in := testIntent("zstd")
	in.System, in.At = "other", in.At.Add(time.Hour)
	_, err := v.Begin(t.Context(), in)
	requireFault(t, err, fault.ConfigInvalid, `"frende", not "other"`)
	other := small(t, func(c *Config) { c.Store, c.System = v.Store(), "other" })
	_, err = other.Open(t.Context(), m.Key)
	requireFault(t, err, fault.ConfigInvalid, `"frende", not "other"`)
	requireFault(t, other.PutSealed(t.Context(), single, "wal-1", nil, SealedOptions{}), fault.ConfigInvalid, `"frende", not "other"`)
	_, err = other.Latest(t.Context(), Filter{})
	requireFault(t, err, fault.ConfigInvalid, `"frende", not "other"`)
}

// TestBodiesThatBreakOffAreResumed is rows 4 and 6: a GET that ends early
// without an error, or a store that fails for a while.
func TestBodiesThatBreakOffAreResumed(t *testing.T) {
	s := faulty.New(t, mem.New("primary"))
	v := small(t, func(c *Config) { c.Store = s })
	data := content(4, 30_000)
	m := backUp(t, v, testIntent("none"), map[string][]byte{"s": data})
	b := open(t, v, m.Key)
	for cut := int64(0); cut < m.Objects[0].Length; cut += 61 {
		s.Queue(faulty.Fault{Op: faulty.Get, Key: m.Objects[0].Key, Cut: true, CutAt: cut})
		got, err := readStream(t.Context(), b, "s")
		require.NoError(t, err, "cut at %d", cut)
		require.True(t, bytes.Equal(data, got))
	}
	for range maxResumes + 1 {
		s.Queue(faulty.Fault{Op: faulty.Get, Key: m.Objects[0].Key, Cut: true, CutAt: 70})
	}
	_, err := readStream(t.Context(), b, "s")
	requireFault(t, err, fault.StorageUnavailable, m.Objects[0].Key)

	s.Queue(faulty.Fault{Op: faulty.Get, Key: "/manifest", Cut: true, CutAt: 300})
	require.Equal(t, m.RunID, open(t, v, m.Key).Manifest().RunID)
	require.NoError(t, v.PutSealed(t.Context(), single, "wal-1", data, SealedOptions{}))
	for _, cut := range []int64{0, 9, 100, 5_000} {
		s.Queue(faulty.Fault{Op: faulty.Get, Key: single, Cut: true, CutAt: cut})
		got, err := v.GetSealed(t.Context(), single)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
	}
	require.Zero(t, v.cfg.Budget.Used())
}

func TestAWriterSaysHowFarItIs(t *testing.T) {
	v := small(t, nil)
	w, err := v.Begin(t.Context(), testIntent("none"))
	require.NoError(t, err)
	writeStream(t, w, "s", content(1, 10_000))
	require.EqualValues(t, 10_000, w.Progress().In)
	m, err := w.Commit(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, m.Stored, w.Progress().Stored)
	require.Equal(t, "database-backups/2024/01/15/frende_db_backup_20240115_020000.base", w.Key())
	require.NoError(t, w.Close())
}

func TestALeaseIsRenewedWhileChunksAreWritten(t *testing.T) {
	clock := time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)
	v := small(t, func(c *Config) { c.Now = func() time.Time { return clock } })
	w, err := v.Begin(t.Context(), testIntent("none"))
	require.NoError(t, err)
	for i := range 3 {
		writeStream(t, w, fmt.Sprint(i), content(1, 9_000))
		clock = clock.Add(2 * time.Minute)
	}
	require.NoError(t, w.Close())
	var leases []string
	for info, err := range v.Store().List(t.Context(), w.Key()+"/lease/", store.ListOptions{}) {
		require.NoError(t, err)
		leases = append(leases, info.Key)
	}
	require.Len(t, leases, 3)
	require.Contains(t, leases[2], "/lease/20240115T020400Z-1-")
}

func TestAStreamEndsWithItsContext(t *testing.T) {
	v := small(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := v.Begin(ctx, testIntent("none"))
	require.NoError(t, err)
	s, err := w.Create(ctx, "s")
	require.NoError(t, err)
	cancel()
	_, err = io.Copy(s, bytes.NewReader(content(1, 100_000)))
	require.ErrorIs(t, errors.Join(err, s.Close()), context.Canceled)
	require.NoError(t, w.Close())
	require.Zero(t, v.cfg.Budget.Used())
}
