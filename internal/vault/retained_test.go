package vault_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/retention"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/vault/replicate"
)

// sharing is a set of files whose backups are made of parts of earlier ones.
type sharing struct {
	now              time.Time
	primary, replica *faulty.Store
	vault            *vault.Vault
	records          *ledger.Ledger
}

func newSharing(t *testing.T) *sharing {
	t.Helper()
	s := &sharing{now: time.Date(2024, 1, 1, 2, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return s.now }
	s.primary, s.replica = faulty.New(t, mem.NewAt("near", clock)), faulty.New(t, mem.NewAt("far", clock))
	ring, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte(strings.Repeat("00", 32)))}})
	require.NoError(t, err)
	s.vault, err = vault.New(vault.Config{
		System: "frende", Store: s.primary, Replica: s.replica, Keys: ring, Budget: vault.NewBudget(8 << 20), ChunkSize: 2 << 10, FrameSize: 1 << 10, Now: clock,
	})
	require.NoError(t, err)
	s.records, err = ledger.New(ledger.Config{Store: s.primary, Writer: "host", Keys: ring, Now: clock})
	require.NoError(t, err)
	return s
}

// backup makes the day's backup, which is proven and replicated, and lets the day
// pass. With an earlier one it is made of that one's object, too.
func (s *sharing) backup(t *testing.T, earlier *vault.Manifest, object int) *vault.Manifest {
	t.Helper()
	w, err := s.vault.Begin(t.Context(), vault.Intent{Folder: "file-backups", Kind: "tree", System: "frende", Component: "uploads", RunID: "backup/" + s.now.String(), Attempt: 1, At: s.now})
	require.NoError(t, err)
	stream, err := w.Create(t.Context(), "content")
	require.NoError(t, err)
	_, err = stream.Write(bytes.Repeat([]byte(s.now.Format(time.DateOnly)), 500))
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	var made *vault.Manifest
	if earlier == nil {
		made, err = w.Commit(t.Context(), nil)
	} else {
		made, err = vault.ShareFrames(t.Context(), w, earlier, object)
	}
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = s.records.Append(t.Context(), ledger.Record{Kind: "proof", Subject: made.Key, Body: map[string]string{"level": "L2"}})
	require.NoError(t, err)
	_, err = replicate.Run(t.Context(), replicate.Config{From: s.primary, To: s.replica, Memory: vault.NewBudget(1 << 20)})
	require.NoError(t, err)
	s.now = s.now.Add(24 * time.Hour)
	return made
}

func (s *sharing) retention(t *testing.T) *retention.Retention {
	t.Helper()
	r, err := retention.New(retention.Config{
		System: system.System{
			Name: "frende", Backup: system.Backup{Retention: system.Duration(30 * 24 * time.Hour)}, Files: []system.FileSet{{Name: "uploads"}},
			Stores: []system.Store{{Name: "primary", Replica: "dr"}, {Name: "dr"}},
		},
		Vault: s.vault, Ledger: s.records, Now: func() time.Time { return s.now }, AtMost: 100,
		Clock: func(context.Context, store.Store) (time.Duration, error) { return 0, nil },
	})
	require.NoError(t, err)
	return r
}

func (s *sharing) apply(t *testing.T) (removed, kept []retention.Entry) {
	t.Helper()
	p, err := s.retention(t).Plan(t.Context())
	require.NoError(t, err)
	kept = p.Kept
	for _, name := range []string{"primary", "dr"} {
		done, err := s.retention(t).CarryOut(t.Context(), p, name)
		require.NoError(t, err)
		removed = append(removed, done.Removed...)
		require.Empty(t, done.Kept)
	}
	return removed, kept
}

func under(t *testing.T, s store.Store, key string) []string {
	t.Helper()
	var names []string
	for info, err := range s.List(t.Context(), key+"/", store.ListOptions{}) {
		require.NoError(t, err)
		names = append(names, strings.TrimPrefix(info.Key, key+"/"))
	}
	return names
}

// reads restores a backup from one store alone.
func (s *sharing) reads(t *testing.T, from store.Store, m *vault.Manifest) {
	t.Helper()
	opened, err := s.vault.WithStores(from, nil).OpenWhole(t.Context(), m.Key)
	require.NoError(t, err)
	require.NoError(t, opened.Verify(t.Context(), nil))
	r, err := opened.Open(t.Context(), "content")
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, m.Bytes, n)
}

func TestAnObjectThatAKeptManifestNamesIsNeverRemoved(t *testing.T) {
	s := newSharing(t)
	first := s.backup(t, nil, 0)
	for range 9 {
		s.backup(t, nil, 0)
	}
	sharer := s.backup(t, first, 1) // day 10
	for range 27 {
		s.backup(t, nil, 0)
	}
	s.now = s.now.Add(time.Hour) // day 38: what ended before day 8 goes, but for the newest of those
	p, err := s.retention(t).Plan(t.Context())
	require.NoError(t, err)
	require.Equal(t, first.Key, p.Going[0].First)

	// Cut off right after the manifests went: a clean-up that comes between takes no chunk.
	s.primary.Queue(faulty.Fault{Op: faulty.Delete, Key: first.Key + "/chunk", Err: fault.Newf(fault.StorageUnavailable, "delete", "x", "killed")})
	_, err = s.retention(t).CarryOut(t.Context(), p, "primary")
	require.True(t, fault.Has(err, fault.StorageUnavailable), "%v", err)
	swept, err := s.vault.Sweep(t.Context(), vault.SweepOptions{})
	require.NoError(t, err)
	require.Empty(t, swept)
	for summary, err := range s.vault.WithStores(s.primary, nil).Backups(t.Context(), vault.Filter{}) {
		require.NoError(t, err)
		require.Equal(t, summary.At.Before(sharer.Started.Add(-2*24*time.Hour-time.Hour)), summary.Expired, summary.Key)
	}
	s.reads(t, s.primary, sharer)

	removed, kept := s.apply(t)
	require.Contains(t, told(removed), "primary remains "+first.Key)
	require.Contains(t, told(kept), "primary objects "+first.Key)
	shared := strings.TrimPrefix(first.Objects[1].Key, first.Key+"/")
	require.Equal(t, []string{shared, "expired", "intent"}, under(t, s.primary, first.Key))
	require.Equal(t, []string{shared, "intent"}, under(t, s.replica, first.Key))
	s.reads(t, s.primary, sharer)
	s.reads(t, s.replica, sharer)
	removed, kept = s.apply(t)
	require.Empty(t, removed, "what is needed is no news")
	require.Contains(t, told(kept), "primary objects "+first.Key)

	for range 5 {
		s.backup(t, nil, 0)
	}
	s.apply(t) // the backup that is made of it goes …
	s.apply(t) // … and then what it was made of, in the primary and, a run later, in the replica
	s.apply(t)
	require.Empty(t, under(t, s.primary, sharer.Key))
	require.Empty(t, under(t, s.primary, first.Key))
	require.Empty(t, under(t, s.replica, first.Key))
}

func told(entries []retention.Entry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Store+" "+string(e.What)+" "+e.First)
	}
	return all
}

func TestABackupThatIsMadeWhileOthersGoKeepsWhatItShares(t *testing.T) {
	s := newSharing(t)
	first := s.backup(t, nil, 0)
	for range 9 {
		s.backup(t, nil, 0)
	}
	base := s.backup(t, first, 1)
	for range 27 {
		s.backup(t, nil, 0)
	}
	s.now = s.now.Add(time.Hour)
	p, err := s.retention(t).Plan(t.Context())
	require.NoError(t, err)
	hold := make(chan struct{})
	s.primary.Queue(faulty.Fault{Op: faulty.Delete, Key: first.Key + "/manifest", Hold: hold})
	ended := make(chan error)
	go func() {
		_, err := s.retention(t).CarryOut(t.Context(), p, "primary")
		ended <- err
	}()
	require.Eventually(t, func() bool { return len(s.primary.Left()) == 0 }, time.Minute, time.Millisecond)
	w, err := s.vault.Begin(t.Context(), vault.Intent{Folder: "file-backups", Kind: "tree", System: "frende", Component: "uploads", RunID: "backup/now", Attempt: 1, At: s.now})
	require.NoError(t, err)
	stream, err := w.Create(t.Context(), "content")
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	made, err := vault.ShareFrames(t.Context(), w, first, 0) // no kept manifest named this one
	require.NoError(t, err)
	require.NoError(t, w.Close())
	close(hold)
	require.NoError(t, <-ended)
	s.reads(t, s.primary, made)
	s.reads(t, s.primary, base)
}
