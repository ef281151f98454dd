package hosts_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"github.com/frende/lifeboat/activities/hosts"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/workflows/api"
)

// house is a host with a database that has a tablespace, and a set of files.
type house struct {
	t      *testing.T
	dir    string
	system system.System
	now    time.Time
	ended  map[string]bool // by run; others are not known to Temporal
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, dir: t.TempDir(), now: time.Now(), ended: map[string]bool{}}
	h.system = system.System{
		Name: "frende", Backup: system.Backup{Compression: "zstd"}, Databases: []system.Database{{Name: "frende", DataDir: h.path("pg")}}, Files: []system.FileSet{{Name: "uploads", Root: h.path("uploads")}},
		Targets: []system.Target{{Name: "production", Kind: system.TargetProduction, Undo: system.Duration(7 * 24 * time.Hour)}},
	}
	for _, dir := range []string{"pg/pg_tblspc", "space", "uploads"} {
		require.NoError(t, os.MkdirAll(h.path(dir), 0o700))
	}
	require.NoError(t, os.Symlink(h.path("space"), h.path("pg/pg_tblspc/16400")))
	return h
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

// recovered swaps a directory as a recovery does.
func (h *house) recovered(dir, run string) (old string) {
	h.t.Helper()
	require.NoError(h.t, os.MkdirAll(target.Staging(h.path(dir), run), 0o700))
	swapped, err := target.Swap(h.t.Context(), target.SwapRequest{Current: h.path(dir), Run: run})
	require.NoError(h.t, err)
	return swapped.Old
}

// abandoned leaves a staging directory, with what lies beside it.
func (h *house) abandoned(dir, run string, beside ...string) string {
	h.t.Helper()
	staging := target.Staging(h.path(dir), run)
	for _, suffix := range append(beside, "") {
		require.NoError(h.t, os.MkdirAll(staging+suffix, 0o700))
	}
	return staging
}

func (h *house) environment() *testsuite.TestActivityEnvironment {
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	env.RegisterActivityWithOptions(hosts.New(hosts.Deps{
		Now: func() time.Time { return h.now },
		Ended: func(_ context.Context, _ system.System, _ system.Component, run string) (bool, string, error) {
			return h.ended[run], "Temporal does not know it", nil
		},
		RunEnded: func(_ context.Context, run string) (bool, string, error) {
			return h.ended[run], "verify/frende works", nil
		},
	}), activity.RegisterOptions{Name: "hosts."})
	return env
}

func (h *house) leftovers() hosts.LeftoversResult {
	h.t.Helper()
	value, err := h.environment().ExecuteActivity("hosts.Leftovers", hosts.LeftoversInput{System: h.system})
	require.NoError(h.t, err)
	var found hosts.LeftoversResult
	require.NoError(h.t, value.Get(&found))
	return found
}

func why(kept []api.Cleaned) map[string]string {
	all := map[string]string{}
	for _, one := range kept {
		all[one.Subject] = one.Why
	}
	return all
}

func TestOldDirectoriesGoWhenTheirUndoIsOver(t *testing.T) {
	h := newHouse(t)
	paths := []string{h.recovered("pg", "20240115T094122Z-ce35e8d2"), h.recovered("space", "20240115T094122Z-ce35e8d2"), h.recovered("uploads", "20240115T094122Z-ce35e8d2")}
	require.NoError(t, os.MkdirAll(h.path("pg/pg_tblspc"), 0o700)) // the one that was put in place
	require.NoError(t, os.Symlink(h.path("space"), h.path("pg/pg_tblspc/16400")))
	byHand := h.path("uploads.lifeboat-old-somebody")
	require.NoError(t, os.Mkdir(byHand, 0o700))

	h.now = time.Now().Add(7*24*time.Hour - time.Minute)
	found := h.leftovers()
	require.Empty(t, found.Old)
	require.Len(t, found.Kept, 4)
	for _, path := range paths {
		require.Contains(t, why(found.Kept)[path], "kept for undo until ")
	}
	require.Contains(t, why(found.Kept)[byHand], "no journal")

	h.now = time.Now().Add(7*24*time.Hour + time.Minute)
	found = h.leftovers()
	require.Len(t, found.Old, 3)
	for i, old := range found.Old {
		require.Equal(t, paths[i], old.Path)
		_, err := h.environment().ExecuteActivity("hosts.Expire", hosts.ExpireInput{Dir: old.Dir, Run: old.Run})
		require.NoError(t, err)
		require.NoDirExists(t, old.Path)
		require.DirExists(t, old.Dir)
	}
	found = h.leftovers()
	require.Empty(t, found.Old)
	require.Len(t, found.Kept, 1)
	require.DirExists(t, byHand)
}

func TestTheJournalOfARecoveryThatReplacedNothingGoes(t *testing.T) {
	h := newHouse(t)
	require.NoError(t, os.RemoveAll(h.path("uploads"))) // by the disaster
	require.Empty(t, h.recovered("uploads", "20240115T094122Z-ce35e8d2"))
	journal := h.path("uploads.lifeboat-swap-20240115T094122Z-ce35e8d2")
	require.FileExists(t, journal)
	require.Contains(t, why(h.leftovers().Kept)[journal], "kept for undo until ")

	h.now = time.Now().AddDate(0, 0, 8)
	found := h.leftovers()
	require.Len(t, found.Old, 1)
	require.Equal(t, api.RecoveryJournal, found.Old[0].What)
	require.Equal(t, journal, found.Old[0].Path)
	_, err := h.environment().ExecuteActivity("hosts.Expire", hosts.ExpireInput{Dir: found.Old[0].Dir, Run: found.Old[0].Run})
	require.NoError(t, err)
	require.NoFileExists(t, journal)
	require.DirExists(t, h.path("uploads"))
	require.Empty(t, h.leftovers())
}

func TestNothingIsTouchedWhereARecoveryHoldsTheLock(t *testing.T) {
	h := newHouse(t)
	old := h.recovered("uploads", "20240101T000000Z-aaaaaaaa")
	mine, other := h.abandoned("uploads", "20240115T094122Z-ce35e8d2", ".journal"), h.abandoned("uploads", "20240114T000000Z-bbbbbbbb")
	h.ended["20240115T094122Z-ce35e8d2"], h.ended["20240114T000000Z-bbbbbbbb"] = true, true
	h.now = time.Now().AddDate(1, 0, 0)
	held, err := target.Lock(t.Context(), h.path("uploads"), "20240115T094122Z-ce35e8d2")
	require.NoError(t, err)

	found := h.leftovers()
	require.Empty(t, found.Old)
	require.Empty(t, found.Staging, "whatever Temporal says, a process of the run works")
	for _, path := range []string{old, mine, other} {
		require.Contains(t, why(found.Kept)[path], "recovery 20240115T094122Z-ce35e8d2 holds ")
	}

	// The process is gone. The lock is still that run's; Temporal says that it has ended.
	require.NoError(t, held.Close())
	found = h.leftovers()
	require.Empty(t, found.Old)
	require.Equal(t, []hosts.Staging{{Component: h.system.Components()[1], Run: "20240115T094122Z-ce35e8d2", Path: mine}}, found.Staging)
	require.Contains(t, why(found.Kept)[other], "holds")
}

func TestAStagingDirectoryOfARunThatMayLiveIsKept(t *testing.T) {
	h := newHouse(t)
	living, dead := h.abandoned("pg", "20240115T094122Z-ce35e8d2", ".run"), h.abandoned("pg", "20240114T000000Z-bbbbbbbb", ".run")
	h.ended["20240114T000000Z-bbbbbbbb"] = true
	found := h.leftovers()
	require.Equal(t, []hosts.Staging{{Component: h.system.Components()[0], Run: "20240114T000000Z-bbbbbbbb", Path: dead}}, found.Staging)
	require.Equal(t, map[string]string{living: "Temporal does not know it"}, why(found.Kept))
}

func TestASwapThatIsNotFinishedIsNeverExpired(t *testing.T) {
	h := newHouse(t)
	old := h.recovered("uploads", "20240101T000000Z-aaaaaaaa")
	require.NoError(t, os.RemoveAll(h.path("uploads"))) // what was put in place is gone: the old one is all there is
	_, err := h.environment().ExecuteActivity("hosts.Expire", hosts.ExpireInput{Dir: h.path("uploads"), Run: "20240101T000000Z-aaaaaaaa"})
	require.ErrorContains(t, err, fault.TargetRefused.Definition().Summary+": the swap of run 20240101T000000Z-aaaaaaaa is not finished")
	require.DirExists(t, old)
}

func TestWhatAnEndedRunRestoredToLookAtIsListed(t *testing.T) {
	h := newHouse(t)
	h.ended["20240115T030000Z-0000ended"] = true
	ended, working := target.Scratch(h.path("pg"), "20240115T030000Z-0000ended"), target.Scratch(h.path("pg"), "20240116T030000Z-00working")
	for _, dir := range []string{ended, working} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "data"), 0o700))
	}
	found := h.leftovers()
	require.Len(t, found.Scratch, 1)
	require.Equal(t, ended, found.Scratch[0].Path)
	require.Equal(t, "20240115T030000Z-0000ended", found.Scratch[0].Run)
	require.Equal(t, map[string]string{working: "verify/frende works"}, why(found.Kept))
	require.NoError(t, target.DiscardScratch(t.Context(), ended))
	require.NoDirExists(t, ended)
	err := target.DiscardScratch(t.Context(), h.path("pg"))
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
}
