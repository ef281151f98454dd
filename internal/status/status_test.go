package status_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/status"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/vault/replicate"
)

const (
	cluster = "7319874613240918273"
	segment = 1 << 20
)

// house is a system of four components over two stores in memory.
type house struct {
	t                *testing.T
	system           system.System
	primary, replica *shut
	now              time.Time
	ring             *keys.Ring
	running          func(context.Context, system.System) ([]status.Run, error)
}

// shut is a store that may be away, or swallow what it is asked.
type shut struct {
	store.Store
	mu    sync.Mutex
	away  bool
	hangs bool
}

func (s *shut) ask(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hangs {
		<-ctx.Done()
		return fault.New(fault.StorageUnavailable, "ask", s.Name(), ctx.Err())
	}
	if s.away {
		return fault.Newf(fault.StorageUnavailable, "ask", s.Name(), "connection refused")
	}
	return nil
}

func (s *shut) Get(ctx context.Context, key string) (io.ReadCloser, store.Info, error) {
	if err := s.ask(ctx); err != nil {
		return nil, store.Info{}, err
	}
	return s.Store.Get(ctx, key)
}

func (s *shut) GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := s.ask(ctx); err != nil {
		return nil, err
	}
	return s.Store.GetRange(ctx, key, offset, length)
}

func (s *shut) Head(ctx context.Context, key string) (store.Info, error) {
	if err := s.ask(ctx); err != nil {
		return store.Info{}, err
	}
	return s.Store.Head(ctx, key)
}

func (s *shut) List(ctx context.Context, prefix string, o store.ListOptions) iter.Seq2[store.Info, error] {
	if err := s.ask(ctx); err != nil {
		return func(yield func(store.Info, error) bool) { yield(store.Info{}, err) }
	}
	return s.Store.List(ctx, prefix, o)
}

func newHouse(t *testing.T) *house {
	t.Helper()
	ring, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte(strings.Repeat("ab", 32)))}})
	require.NoError(t, err)
	hour := system.Duration(time.Hour)
	return &house{
		t: t, ring: ring, now: time.Now().UTC().Truncate(time.Second),
		primary: &shut{Store: mem.New("primary")}, replica: &shut{Store: mem.New("dr")},
		running: func(context.Context, system.System) ([]status.Run, error) { return nil, nil },
		system: system.System{
			Name:           "frende",
			Stores:         []system.Store{{Name: "primary", Replica: "dr"}, {Name: "dr"}},
			Databases:      []system.Database{{Name: "frende", Cluster: "frende", RPO: hour}},
			Caches:         []system.Cache{{Name: "sessions", RPO: hour / 4}},
			Files:          []system.FileSet{{Name: "uploads", RPO: 24 * hour}},
			Configurations: []system.FileSet{{Name: "etc", RPO: hour}},
		},
	}
}

func (h *house) vault(_ context.Context, s system.System, _ func(vault.Fallback)) (*vault.Vault, error) {
	c := vault.Config{System: s.Name, Store: h.primary, Replica: h.replica, Keys: h.ring, Budget: vault.NewBudget(64 << 20), ChunkSize: 64 << 10}
	if s.From == "dr" {
		c.Store, c.Replica = h.replica, nil
	}
	return vault.New(c)
}

func (h *house) ledger(_ context.Context, s system.System, writer string) (*ledger.Ledger, error) {
	from := store.Store(h.primary)
	if s.From == "dr" {
		from = h.replica
	}
	return ledger.New(ledger.Config{Store: from, Writer: writer, Keys: h.ring})
}

func (h *house) record(kind, subject string, body any) {
	h.t.Helper()
	l, err := h.ledger(h.t.Context(), h.system, "host")
	require.NoError(h.t, err)
	_, err = l.Append(h.t.Context(), ledger.Record{Kind: kind, Subject: subject, Body: body})
	require.NoError(h.t, err)
}

// backUp makes a backup that began so long ago, and gives its key.
func (h *house) backUp(folder, kind, name string, ago time.Duration) string {
	h.t.Helper()
	v, err := h.vault(h.t.Context(), h.system, nil)
	require.NoError(h.t, err)
	w, err := v.Begin(h.t.Context(), vault.Intent{
		Folder: folder, Kind: kind, System: "frende", Component: name, RunID: fmt.Sprint("backup/", name, ago), Attempt: 1, At: h.now.Add(-ago),
	})
	require.NoError(h.t, err)
	defer func() { require.NoError(h.t, w.Close()) }()
	var facts vault.Facts
	if kind == "base" {
		facts = vault.Facts{"postgres": json.RawMessage(fmt.Sprintf(
			`{"system_id":%q,"timeline":1,"start_lsn":"0/100028","stop_lsn":"0/101000","segment_size":%d}`, cluster, segment))}
	}
	_, err = w.Commit(h.t.Context(), facts)
	require.NoError(h.t, err)
	return w.Key()
}

// archive puts segments of WAL into the primary store, each with a commit of now.
func (h *house) archive(numbers ...uint64) {
	h.t.Helper()
	for _, number := range numbers {
		h.archiveOf(number, h.now)
	}
}

func (h *house) archiveOf(number uint64, committed time.Time) {
	h.t.Helper()
	v, err := h.vault(h.t.Context(), h.system, nil)
	require.NoError(h.t, err)
	body, err := lab.Segment(cluster, 1, number, segment, committed)
	require.NoError(h.t, err)
	name := postgres.Segment{Timeline: 1, Number: number}.Name(segment)
	require.NoError(h.t, v.PutSealed(h.t.Context(), "wal/frende/"+cluster+"/00000001/"+name, "day", body, vault.SealedOptions{IfNoneMatch: true}))
}

func (h *house) replicate() {
	h.t.Helper()
	_, err := replicate.Run(h.t.Context(), replicate.Config{From: h.primary, To: h.replica, Memory: vault.NewBudget(64 << 20)})
	require.NoError(h.t, err)
}

// furnish makes all well.
func (h *house) furnish() {
	h.t.Helper()
	h.archive(1, 2)
	for _, key := range []string{
		h.backUp("database-backups", "base", "frende", 9*time.Hour),
		h.backUp("redis-backups", "rdb", "sessions", 10*time.Minute),
		h.backUp("file-backups", "tree", "uploads", 8*time.Hour),
		h.backUp("config-backups", "tree", "etc", 30*time.Minute),
	} {
		h.record("backup", key, map[string]string{"proof": "L1"})
	}
	h.record("run", "drill/frende/1", report.Run{ID: "drill/frende/1", Kind: "DrillSystem", Outcome: report.Succeeded, Finished: h.now.Add(-10 * 24 * time.Hour)})
	h.replicate()
}

func (h *house) look() status.Status {
	h.t.Helper()
	return status.Look(h.t.Context(), status.Deps{
		Vault: h.vault, Ledger: h.ledger, Running: h.running, Limit: 2 * time.Second, Now: func() time.Time { return h.now },
	}, h.system)
}

// texts are the problems of a kind.
func texts(s status.Status, kind status.ProblemKind) []string {
	found := []string{}
	for _, p := range s.Problems {
		if p.Kind == kind {
			found = append(found, p.Text)
		}
	}
	return found
}

func TestAHealthySystemIsWithinItsObjectives(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.running = func(context.Context, system.System) ([]status.Run, error) {
		return []status.Run{{ID: "backup/frende/cache", Kind: "BackupCache", Started: h.now}}, nil
	}
	s := h.look()
	require.Empty(t, s.Problems)
	require.Equal(t, "OK frende: every component within its objective in primary and dr", s.Answer)
	require.Empty(t, s.Behind)
	require.Len(t, s.Running, 1)
	require.Equal(t, "drill/frende/1", s.Drill.ID)
	database, cache := s.Components[0], s.Components[1]
	require.Equal(t, "database/frende", database.ID)
	require.Equal(t, system.Duration(9*time.Hour), database.Backup.Age)
	require.Equal(t, "L1", database.Proof)
	require.Zero(t, database.Bucket.RPO, "a commit of now is archived")
	require.Equal(t, database.Bucket.At, database.Replica.At, "the copy is as old as the original")
	require.False(t, database.Replica.Least)
	require.Equal(t, system.Duration(10*time.Minute), cache.Bucket.RPO)
	require.Equal(t, cache.Bucket.RPO, cache.Replica.RPO)
}

func TestWhatAgesBeyondItsObjectiveIsLate(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.now = h.now.Add(2 * time.Hour)
	s := h.look()
	require.Empty(t, texts(s, status.Wrong))
	require.Equal(t, []string{
		"database/frende: the newest commit in its archive is 2h old (objective 1h)",
		"cache/sessions: the newest backup is 2h10m old (objective 15m)",
		"configuration/etc: the newest backup is 2h30m old (objective 1h)",
	}, rounded(texts(s, status.Late)), "the replica, which is no worse, is not told again")
	require.Equal(t, "LATE frende: 3 overdue", s.Answer)
	require.Equal(t, "lifeboat backup cache sessions", s.Problems[1].Mend)
}

// rounded takes the second away that storing took.
func rounded(all []string) []string {
	for i := range all {
		all[i] = strings.Replace(all[i], "1h59m", "2h", 1)
	}
	return all
}

func TestAnUnchangedCacheStaysFresh(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.now = h.now.Add(30 * time.Minute)
	cache := h.look().Components[1]
	require.Equal(t, system.Duration(40*time.Minute), cache.Bucket.RPO)
	h.record("unchanged", cache.Backup.Key, map[string]any{"at": h.now.Add(-time.Minute)})
	s := h.look()
	require.Equal(t, system.Duration(time.Minute), s.Components[1].Bucket.RPO)
	require.Equal(t, system.Duration(time.Minute), s.Components[1].Replica.RPO, "it has the same backup")
	require.Equal(t, system.Duration(40*time.Minute), s.Components[1].Backup.Age)
}

func TestADatabaseIsAsNewAsTheNewestCommitThatEachStoreHolds(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.archiveOf(3, h.now.Add(20*time.Minute))
	h.replicate()
	h.archiveOf(4, h.now.Add(30*time.Minute)) // stored now: the archiver was behind
	h.now = h.now.Add(50 * time.Minute)
	database := h.look().Components[0]
	require.Equal(t, system.Duration(20*time.Minute), database.Bucket.RPO)
	require.Equal(t, system.Duration(30*time.Minute), database.Replica.RPO)
	require.False(t, database.Bucket.Least)

	for n := uint64(5); n <= 4+16; n++ {
		h.archiveOf(n, time.Time{}) // tells of no transaction at all
	}
	require.True(t, h.look().Components[0].Bucket.Least)
}

func TestLostWALIsWrongUntilANewerBaseBackup(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	before := h.look()
	require.Empty(t, texts(before, status.Wrong))
	h.record("archive", "database/frende", map[string]any{"at": before.Components[0].Backup.At.Add(-time.Minute), "lost": []string{"000000010000000000000001"}})
	h.record("archive", "database/frende", map[string]any{"at": h.now, "again": []string{"000000010000000000000009"}})
	require.Empty(t, texts(h.look(), status.Wrong), "the backup began afterwards")

	h.record("archive", "database/frende", map[string]any{"at": h.now, "lost": []string{"000000010000000000000007", "000000010000000000000008"}})
	s := h.look()
	require.Equal(t, []string{"database/frende: 2 WAL segments were lost, from 000000010000000000000007 on: a recovery goes no further"}, texts(s, status.Wrong))
	require.Equal(t, "lifeboat backup database frende", s.Problems[0].Mend)
}

func TestAComponentWithoutABackupIsWrong(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.system.Files = append(h.system.Files, system.FileSet{Name: "mail", RPO: system.Duration(time.Hour)})
	s := h.look()
	require.Equal(t, []string{"files/mail: there is no complete backup in primary"}, texts(s, status.Wrong))
	require.Equal(t, "lifeboat backup files mail", s.Problems[0].Mend)
	require.Equal(t, "WRONG frende: 1 wrong", s.Answer)
	require.Equal(t, status.None, s.Components[3].Replica.State)
}

func TestAGapInTheWALIsWrong(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.archive(5)
	s := h.look()
	require.Equal(t, status.Broken, s.Components[0].Bucket.State)
	require.Equal(t, status.Known, s.Components[0].Replica.State, "it ends before the gap")
	require.Len(t, texts(s, status.Wrong), 1)
	require.Contains(t, s.Problems[0].Text, "database/frende: a recovery from primary would fail: a WAL segment is missing from the archive")
}

func TestTheReplicaIsMeasuredByItself(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.now = h.now.Add(20 * time.Minute)
	key := h.backUp("redis-backups", "rdb", "sessions", time.Minute)
	h.record("backup", key, map[string]string{"proof": "L1"})
	s := h.look()
	require.Equal(t, []string{"cache/sessions"}, s.Behind)
	require.Equal(t, []string{"cache/sessions: the replica dr is 30m behind (objective 15m)"}, texts(s, status.Late))
	require.Equal(t, system.Duration(time.Minute), s.Components[1].Bucket.RPO)
	h.replicate()
	require.Empty(t, h.look().Problems)
}

func TestAHalfCopiedReplicaIsWrongAndCountsForWhatItHasWhole(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.now = h.now.Add(5 * time.Minute)
	whole := h.look().Components[1].Replica.Backup
	newer := h.backUp("redis-backups", "rdb", "sessions", time.Minute)
	h.record("backup", newer, map[string]string{"proof": "L1"})
	h.archive(3, 4, 5)
	h.replicate()
	var lost []string // as a bucket that replicates by itself copies in any order
	for info, err := range h.replica.List(t.Context(), "keys/", store.ListOptions{}) {
		require.NoError(t, err)
		if strings.Contains(info.Key, keyOf(t, h, newer)) {
			lost = append(lost, info.Key)
		}
	}
	require.NotEmpty(t, lost)
	hole := "wal/frende/" + cluster + "/00000001/" + postgres.Segment{Timeline: 1, Number: 3}.Name(segment)
	for _, key := range append(lost, hole) {
		require.NoError(t, h.replica.Delete(t.Context(), key, ""))
	}
	s := h.look()
	require.Equal(t, status.Known, s.Components[1].Replica.State)
	require.Equal(t, whole, s.Components[1].Replica.Backup)
	require.Equal(t, system.Duration(15*time.Minute), s.Components[1].Replica.RPO)
	require.Equal(t, newer, s.Components[1].Bucket.Backup)
	require.Equal(t, status.Known, s.Components[0].Replica.State)
	wrong := texts(s, status.Wrong)
	require.Len(t, wrong, 2)
	require.Equal(t, "database/frende: a recovery from the replica dr can't use all that is there: WAL ends before "+hole+", with 2 later segments", wrong[0])
	require.Contains(t, wrong[1], "cache/sessions: a recovery from the replica dr can't use all that is there: "+path.Base(newer)+" is not whole: no store that answers has keys/")
	h.replicate()
	require.Empty(t, h.look().Problems)
}

// keyOf is the data key of a backup.
func keyOf(t *testing.T, h *house, backup string) string {
	t.Helper()
	v, err := h.vault(t.Context(), h.system, nil)
	require.NoError(t, err)
	opened, err := v.Open(t.Context(), backup)
	require.NoError(t, err)
	return opened.Manifest().KeyID
}

func TestProofsAreTheHighestOnRecord(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	key := h.look().Components[0].Backup.Key
	h.record("proof", key, map[string]string{"level": "L4"})
	require.Equal(t, "L4", h.look().Components[0].Proof)

	h = newHouse(t)
	h.furnish()
	h.backUp("file-backups", "tree", "uploads", 3*time.Hour)
	h.replicate()
	s := h.look()
	require.Empty(t, s.Components[2].Proof)
	require.Equal(t, []string{"files/uploads: its newest backup was stored 3h ago, and is not proven"}, texts(s, status.Late))
}

func TestAReviewThatWasDueIsLate(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	today := h.now.Truncate(24 * time.Hour)
	h.system.Plan.NextReview = system.Date{Time: today}
	require.Empty(t, h.look().Problems, "there is the whole day for it")
	h.system.Plan.NextReview = system.Date{Time: today.AddDate(0, 0, -1)}
	require.Equal(t, []string{"the review of the plan was due on " + today.AddDate(0, 0, -1).Format(time.DateOnly)}, texts(h.look(), status.Late))
}

func TestDrillsAreDueEachQuarter(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	drill := func(id string, outcome report.Outcome, ago time.Duration) {
		h.record("run", id, report.Run{ID: id, Kind: "DrillSystem", Outcome: outcome, Finished: h.now.Add(-ago)})
	}
	drill("drill/frende/2", report.Failed, time.Hour)
	s := h.look()
	require.Equal(t, []string{"the last drill did not succeed, on " + h.now.Add(-time.Hour).Format(time.DateOnly)}, texts(s, status.Wrong))
	require.Equal(t, "lifeboat report drill/frende/2", s.Problems[0].Mend)
	require.Equal(t, h.now.Add(-10*24*time.Hour), s.Drill.Succeeded)

	drill("drill/frende/3", report.Succeeded, 107*24*time.Hour)
	require.Equal(t, []string{"the last drill was 107d ago, of at most 106d: a quarter, and two weeks to find a day for it"}, texts(h.look(), status.Late))

	empty := newHouse(t)
	require.Contains(t, texts(empty.look(), status.Late), "no drill has succeeded in the last 106d: a quarter, and two weeks to find a day for it")
}

func TestAnEarlierStatusSparesTheWayBackToTheDrills(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.record(status.Kind, "frende", status.Status{At: h.now.Add(24 * time.Hour), Drill: status.Drill{Asked: true, ID: "drill/told", Outcome: report.Succeeded, At: h.now, Succeeded: h.now}})
	drill := h.look().Drill
	require.Equal(t, "drill/frende/1", drill.ID, "what is met on the way is newer")

	h = newHouse(t)
	h.record(status.Kind, "frende", status.Status{At: h.now, Drill: status.Drill{Asked: true, ID: "drill/told", Outcome: report.Succeeded, At: h.now, Succeeded: h.now}})
	require.Equal(t, "drill/told", h.look().Drill.ID)
}

func TestALostPrimaryIsNamedAndTheRestIsTold(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.primary.away = true
	s := h.look()
	require.Equal(t, []string{"store primary can't be reached: connection refused"}, texts(s, status.Wrong))
	require.Empty(t, texts(s, status.Late))
	database := s.Components[0]
	require.Equal(t, status.Unreachable, database.Bucket.State)
	require.Equal(t, status.Known, database.Replica.State)
	require.Equal(t, h.now, database.Replica.At, "the WAL itself says how new it is")
	require.Equal(t, "dr", database.Backup.Store)
	require.Equal(t, "L1", database.Proof, "the ledger is in the replica, too")
	require.Equal(t, "drill/frende/1", s.Drill.ID)
	require.Equal(t, "dr", s.Ledger)
	h.now = h.now.Add(100 * 24 * time.Hour)
	for _, late := range texts(h.look(), status.Late) {
		require.NotContains(t, late, "drill", "the copy may lack the newest")
	}
}

func TestAWrongKeyIsSaidOnceWithWhatMendsIt(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.replicate()
	other, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte(strings.Repeat("cd", 32)))}})
	require.NoError(t, err)
	h.ring = other
	s := h.look()
	require.Equal(t, "WRONG frende: 1 wrong", s.Answer, "%v", s.Problems)
	require.Len(t, s.Problems, 1)
	require.Regexp(t, `^the key at hand does not open database/frende, cache/sessions, files/uploads, configuration/etc, the ledger: the key given is not the one it was sealed with`, s.Problems[0].Text)
	require.Equal(t, "check BACKUP_ENCRYPTION_KEY and keys in lifeboat.yaml, then: lifeboat doctor --only keys", s.Problems[0].Mend)
	require.Equal(t, fault.KeyWrong, s.Components[0].Bucket.Fault)
	require.False(t, s.Drill.Asked, "a record that can't be opened may be of a drill")
	require.False(t, s.Components[0].Asked)
}

func TestOneStoreAloneIsEnough(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.primary.away = true
	alone, err := h.system.Alone("dr")
	require.NoError(t, err)
	h.system = alone
	s := h.look()
	require.Empty(t, s.Problems)
	require.Equal(t, "OK frende: every component within its objective in dr", s.Answer)
	require.Nil(t, s.Components[0].Replica)
}

func TestEverythingAwayEndsWithinItsBound(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.primary.hangs, h.replica.hangs = true, true
	h.running = func(ctx context.Context, _ system.System) ([]status.Run, error) {
		select {} // not even its context ends it
	}
	began := time.Now()
	s := status.Look(t.Context(), status.Deps{Vault: h.vault, Ledger: h.ledger, Running: h.running, Limit: 300 * time.Millisecond}, h.system)
	require.Less(t, time.Since(began), time.Minute)
	var away []string
	for _, one := range s.Away {
		away = append(away, one.Source)
		require.Contains(t, one.Why, "no answer within 300ms")
	}
	require.ElementsMatch(t, []string{"store primary", "store dr", "ledger", "Temporal"}, away)
	require.Equal(t, "WRONG frende: 4 wrong", s.Answer, "%v", s.Problems)
	require.False(t, s.Drill.Asked)
}
