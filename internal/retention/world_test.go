package retention

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/vault/replicate"
	"github.com/frende/lifeboat/internal/wal"
)

const (
	day     = 24 * time.Hour
	keep    = 8  // days of retention
	lived   = 10 // days that most worlds have lived: the backups of two of them go, a fifth
	segment = int64(16 << 20)
	cluster = "7300000000000000001"
)

// start is the first day of every world.
var start = time.Date(2024, 1, 1, 2, 0, 0, 0, time.UTC)

// world is a system with two stores, and a clock that is moved by hand.
type world struct {
	t                *testing.T
	now              time.Time // of the stores
	skew             time.Duration
	primary, replica *faulty.Store
	ring             *keys.Ring
	system           system.System
	vault            *vault.Vault
	records          *ledger.Ledger
	next             uint64 // number of the next WAL segment
	timeline         uint32
	cluster          string
	reading          string
	run              int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: start, next: 1, timeline: 1, cluster: cluster}
	clock := func() time.Time { return w.now }
	w.primary, w.replica = faulty.New(t, mem.NewAt("near", clock)), faulty.New(t, mem.NewAt("far", clock))
	var err error
	w.ring, err = keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte(strings.Repeat("00", 32)))}})
	require.NoError(t, err)
	w.system = system.System{
		Name: "frende", Backup: system.Backup{Retention: system.Duration(keep * day)},
		Stores:    []system.Store{{Name: "primary", Replica: "dr"}, {Name: "dr"}},
		Databases: []system.Database{{Name: "frende", Cluster: "frende"}},
		Files:     []system.FileSet{{Name: "uploads"}},
	}
	w.open()
	return w
}

// open opens the stores anew, as a process does that has just begun.
func (w *world) open() {
	w.t.Helper()
	var err error
	w.vault, err = vault.New(vault.Config{
		System: "frende", Store: w.primary, Replica: w.replica, Keys: w.ring, Budget: vault.NewBudget(8 << 20),
		ChunkSize: 2 << 10, FrameSize: 1 << 10, Parallel: 2, Now: w.host,
	})
	require.NoError(w.t, err)
	w.records, err = ledger.New(ledger.Config{Store: w.primary, Writer: "host", Keys: w.ring, Now: w.host})
	require.NoError(w.t, err)
}

// host is the host's clock.
func (w *world) host() time.Time { return w.now.Add(w.skew) }

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// backup makes a finished backup of a component now, and gives its key.
func (w *world) backup(folder, component, kind string, facts vault.Facts) string {
	w.t.Helper()
	w.run++
	writer, err := w.vault.Begin(w.t.Context(), vault.Intent{
		Folder: folder, Kind: kind, System: "frende", Component: component, RunID: fmt.Sprint("backup/", w.run), Attempt: 1, At: w.host(),
	})
	require.NoError(w.t, err)
	stream, err := writer.Create(w.t.Context(), "content")
	require.NoError(w.t, err)
	_, err = stream.Write(bytes.Repeat([]byte{byte(w.run), byte(w.run >> 8), 7}, 1500))
	require.NoError(w.t, err)
	require.NoError(w.t, stream.Close())
	_, err = writer.Commit(w.t.Context(), facts)
	require.NoError(w.t, err)
	require.NoError(w.t, writer.Close())
	return writer.Key()
}

// base makes a base backup, for which three segments of WAL are written.
func (w *world) base() string {
	w.t.Helper()
	from := w.next
	w.wal(3)
	facts, err := json.Marshal(map[string]any{
		"system_id": w.cluster, "timeline": w.timeline, "start_lsn": postgres.LSN(from * uint64(segment)), "stop_lsn": postgres.LSN((from + 2) * uint64(segment)),
		"segment_size": segment, "started": w.host(), "finished": w.host(),
	})
	require.NoError(w.t, err)
	return w.backup("database-backups", "frende", "base", vault.Facts{"postgres": facts})
}

// tree makes a backup of the files.
func (w *world) tree() string {
	w.t.Helper()
	return w.backup("file-backups", "uploads", "tree", nil)
}

// wal archives segments.
func (w *world) wal(count int) {
	w.t.Helper()
	for range count {
		key := w.segmentKey(w.next)
		_, err := w.primary.Put(w.t.Context(), key, []byte(key), store.PutOptions{IfNoneMatch: true})
		require.NoError(w.t, err)
		w.next++
	}
}

func (w *world) segmentKey(number uint64) string {
	name := postgres.Segment{Timeline: w.timeline, Number: number}.Name(segment)
	return "wal/frende/" + w.cluster + "/" + name[:8] + "/" + name
}

// prove puts a proof on the ledger.
func (w *world) prove(key, level string) {
	w.t.Helper()
	w.append(kindProof, key, map[string]string{"level": level})
}

func (w *world) append(kind, subject string, body any) ledger.Entry {
	w.t.Helper()
	entry, err := w.records.Append(w.t.Context(), ledger.Record{Kind: kind, Subject: subject, Body: body})
	require.NoError(w.t, err)
	return entry
}

// replicated brings the replica up to date.
func (w *world) replicated() {
	w.t.Helper()
	_, err := replicate.Run(w.t.Context(), replicate.Config{From: w.primary, To: w.replica, Memory: vault.NewBudget(1 << 20), Now: w.host})
	require.NoError(w.t, err)
}

// days lives through days: each day a proven base backup and tree, and WAL.
func (w *world) days(count int) (bases, trees []string) {
	w.t.Helper()
	for range count {
		w.wal(2)
		bases, trees = append(bases, w.base()), append(trees, w.tree())
		w.prove(bases[len(bases)-1], "L3")
		w.prove(trees[len(trees)-1], "L2")
		w.replicated()
		w.pass(day)
	}
	w.pass(time.Hour)
	return bases, trees
}

func (w *world) config() Config {
	return Config{
		System: w.system, Vault: w.vault, Ledger: w.records, Now: w.host, By: "test",
		Clock:   func(context.Context, store.Store) (time.Duration, error) { return w.now.Sub(w.host()), nil },
		Reading: func(context.Context) (string, error) { return w.reading, nil },
	}
}

func (w *world) retention() *Retention {
	w.t.Helper()
	r, err := New(w.config())
	require.NoError(w.t, err)
	return r
}

func (w *world) plan() *Plan {
	w.t.Helper()
	p, err := w.retention().Plan(w.t.Context())
	require.NoError(w.t, err)
	return p
}

// apply plans and carries out, and gives all that was removed and all that was kept.
func (w *world) apply() (removed, kept []Entry) {
	w.t.Helper()
	p := w.plan()
	kept = append(kept, p.Kept...)
	for _, store := range []string{"primary", "dr"} {
		done, err := w.retention().CarryOut(w.t.Context(), p, store)
		require.NoError(w.t, err)
		removed, kept = append(removed, done.Removed...), append(kept, done.Kept...)
	}
	return removed, kept
}

// of gives the first names of the entries of a store and kind.
func of(entries []Entry, store string, what What) []string {
	var names []string
	for _, e := range entries {
		if e.Store == store && e.What == what {
			names = append(names, e.First)
		}
	}
	return names
}

// reasoned finds why a backup is kept in a store.
func reasoned(t *testing.T, entries []Entry, store, key string) Entry {
	t.Helper()
	for _, e := range entries {
		if e.Store == store && (e.First == key || e.First < key && key <= e.Last && strings.HasPrefix(key, strings.SplitN(e.First, "/", 2)[0])) {
			return e
		}
	}
	require.Fail(t, "nothing is said of it", "%s in %s: %+v", key, store, entries)
	return Entry{}
}

// all lists a store.
func all(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	var names []string
	for info, err := range s.List(t.Context(), prefix, store.ListOptions{}) {
		require.NoError(t, err)
		names = append(names, info.Key)
	}
	return names
}

// sound fails unless everything that the rules keep could be recovered from, in a store.
func (w *world) sound(s store.Store) {
	w.t.Helper()
	alone := w.vault.WithStores(s, nil)
	taken, err := alone.Inventory(w.t.Context(), nil)
	require.NoError(w.t, err)
	archive, err := wal.New(wal.Config{Vault: alone, Cluster: "frende", Now: w.host})
	require.NoError(w.t, err)
	oldest := uint64(0)
	for i := range taken.Backups {
		item := &taken.Backups[i]
		if !item.Complete {
			continue
		}
		require.Empty(w.t, item.Lacks, item.Key)
		opened, err := alone.OpenWhole(w.t.Context(), item.Key)
		require.NoError(w.t, err)
		require.NoError(w.t, opened.Verify(w.t.Context(), nil))
		if b, ok := base(item); ok && b.SystemID == w.cluster && (oldest == 0 || uint64(b.StartLSN)/uint64(segment) < oldest) {
			oldest = uint64(b.StartLSN) / uint64(segment)
		}
	}
	if oldest == 0 {
		return
	}
	lines, err := archive.Tree(w.t.Context(), w.cluster, segment)
	require.NoError(w.t, err)
	ranges := lines[0].Ranges
	require.LessOrEqual(w.t, uint64(ranges[len(ranges)-1].Begin)/uint64(segment), oldest, "the WAL has no hole from there on")
}
