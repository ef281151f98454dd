package files_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// house is a system with one file set, in a store in memory.
type house struct {
	t       *testing.T
	system  system.System
	set     system.FileSet
	primary store.Store
	replica store.Store
	secret  string
}

func newHouse(t *testing.T) *house {
	root := filepath.Join(t.TempDir(), "srv", "uploads")
	h := &house{
		t: t, system: system.System{Name: "frende", Backup: system.Backup{Compression: "zstd"}},
		set: system.FileSet{Name: "uploads", Root: root}, primary: mem.New("primary"),
		secret: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	}
	h.write("a.jpg", "photos/b.jpg", "photos/deep/c.jpg", "notes.txt")
	for i := range 40 {
		h.writeBytes(fmt.Sprintf("many/%d.bin", i), fmt.Appendf(nil, "%040000d", i))
	}
	require.NoError(t, os.Symlink("a.jpg", filepath.Join(root, "latest")))
	return h
}

func (h *house) write(names ...string) {
	h.t.Helper()
	for _, name := range names {
		h.writeBytes(name, []byte(name))
	}
}

func (h *house) writeBytes(name string, content []byte) {
	h.t.Helper()
	full := filepath.Join(h.set.Root, name)
	require.NoError(h.t, os.MkdirAll(filepath.Dir(full), 0o755))
	require.NoError(h.t, os.WriteFile(full, content, 0o644))
}

// run runs one activity as a worker would.
func run[In, Out any](h *house, activity func(*files.Activities) func(context.Context, In) (Out, error), in In) (Out, error) {
	h.t.Helper()
	a := files.New(files.Deps{Vault: h.vault})
	var out Out
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	f := activity(a)
	var failed error
	step := func(ctx context.Context, in In) (Out, error) {
		out, err := f(ctx, in)
		failed = err
		return out, err
	}
	env.RegisterActivity(step)
	value, err := env.ExecuteActivity(step, in)
	if err != nil {
		return out, failed
	}
	require.NoError(h.t, value.Get(&out))
	return out, nil
}

func (h *house) vault(_ context.Context, s system.System, onFallback func(vault.Fallback)) (*vault.Vault, error) {
	ring, err := keys.NewRing(keys.Config{System: s.Name, Secrets: []keys.Secret{keys.NewSecret([]byte(h.secret))}})
	if err != nil {
		return nil, err
	}
	return vault.New(vault.Config{
		System: s.Name, Store: h.primary, Replica: h.replica, Keys: ring, Budget: vault.NewBudget(64 << 20),
		ChunkSize: 64 << 10, FrameSize: 16 << 10, Parallel: 2, OnFallback: onFallback,
	})
}

func (h *house) backUp(runID string, at time.Time) files.BackupResult {
	h.t.Helper()
	made, err := run(h, func(a *files.Activities) func(context.Context, files.BackupInput) (files.BackupResult, error) {
		return a.Backup
	},
		files.BackupInput{System: h.system, Set: h.set, Folder: files.FolderFiles, RunID: runID, By: "test", At: at})
	require.NoError(h.t, err)
	return made
}

func (h *house) preflight(key string) (files.RestorePreflightResult, error) {
	h.t.Helper()
	return run(h, func(a *files.Activities) func(context.Context, files.RestorePreflightInput) (files.RestorePreflightResult, error) {
		return a.RestorePreflight
	}, files.RestorePreflightInput{System: h.system, Set: h.set, Folder: files.FolderFiles, Key: key, RunID: "recover/frende/files/uploads"})
}

func (h *house) restore(found files.RestorePreflightResult) (files.RestoreResult, error) {
	h.t.Helper()
	return run(h, func(a *files.Activities) func(context.Context, files.RestoreInput) (files.RestoreResult, error) {
		return a.Restore
	},
		files.RestoreInput{System: h.system, Set: h.set, Key: found.Key, Place: found.Place})
}

func (h *house) verify(found files.RestorePreflightResult) (files.VerifyResult, error) {
	h.t.Helper()
	return run(h, func(a *files.Activities) func(context.Context, files.VerifyInput) (files.VerifyResult, error) {
		return a.Verify
	},
		files.VerifyInput{System: h.system, Set: h.set, Key: found.Key, Place: found.Place})
}

func (h *house) cutOver(found files.RestorePreflightResult) (files.CutOverResult, error) {
	h.t.Helper()
	return run(h, func(a *files.Activities) func(context.Context, files.CutOverInput) (files.CutOverResult, error) {
		return a.CutOver
	},
		files.CutOverInput{System: h.system, Set: h.set, Place: found.Place, RunID: found.Place.Run})
}

func (h *house) discard(found files.RestorePreflightResult) (files.DiscardResult, error) {
	h.t.Helper()
	return run(h, func(a *files.Activities) func(context.Context, files.DiscardInput) (files.DiscardResult, error) {
		return a.Discard
	},
		files.DiscardInput{Place: found.Place, RunID: found.Place.Run})
}

var at = time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)

// contents is every file below a directory, by path.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		path, err := filepath.Rel(root, name)
		require.NoError(t, err)
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		found[path] = string(content)
		return nil
	}))
	return found
}

func beside(t *testing.T, live string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(live))
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestADeletedFileSetComesBack(t *testing.T) {
	h := newHouse(t)
	want := contents(t, h.set.Root)
	made := h.backUp("backup/1", at)
	require.Equal(t, "file-backups/2024/01/15/uploads_file_backup_20240115_020000.tree", made.Key)
	require.EqualValues(t, 44, made.Facts.Files)
	require.NoError(t, os.RemoveAll(filepath.Dir(h.set.Root)), "the parent goes, too")

	found, err := h.preflight("")
	require.NoError(t, err)
	require.Equal(t, made.Key, found.Key)
	require.Equal(t, made.Facts, found.Facts)
	require.Positive(t, found.Free)
	restored, err := h.restore(found)
	require.NoError(t, err)
	require.EqualValues(t, 44, restored.Files)
	require.Zero(t, restored.Resumed)
	require.NoDirExists(t, h.set.Root, "nothing is in place before the cut-over")
	verified, err := h.verify(found)
	require.NoError(t, err)
	require.Equal(t, restored.Bytes, verified.Bytes)

	swapped, err := h.cutOver(found)
	require.NoError(t, err)
	require.Empty(t, swapped.Old)
	require.Equal(t, want, contents(t, h.set.Root))
	again, err := h.cutOver(found)
	require.NoError(t, err, "a cut-over that has happened is a success")
	require.Equal(t, swapped, again)
	require.Equal(t, want, contents(t, h.set.Root))
}

func TestTheOldDirectoryIsKeptAndWhatTheSetLeavesOutIsCarried(t *testing.T) {
	h := newHouse(t)
	h.set.Exclude = []string{"*.txt"}
	made := h.backUp("backup/1", at)
	h.write("later.jpg", "later.txt")

	found, err := h.preflight(made.Key)
	require.NoError(t, err)
	_, err = h.restore(found)
	require.NoError(t, err)
	_, err = h.verify(found)
	require.NoError(t, err)
	swapped, err := h.cutOver(found)
	require.NoError(t, err)
	require.Equal(t, found.Place.Aside, swapped.Old)
	require.EqualValues(t, 2, swapped.Carried)
	now := contents(t, h.set.Root)
	require.Equal(t, "notes.txt", now["notes.txt"])
	require.Equal(t, "later.txt", now["later.txt"])
	require.NotContains(t, now, "later.jpg")
	require.Contains(t, contents(t, swapped.Old), "later.jpg")
}

func TestABackupBelongsToOneRun(t *testing.T) {
	h := newHouse(t)
	made := h.backUp("backup/1", at)
	h.write("later.jpg")
	require.Equal(t, made, h.backUp("backup/1", at), "the same run again is the same backup")
	_, err := run(h, func(a *files.Activities) func(context.Context, files.BackupInput) (files.BackupResult, error) {
		return a.Backup
	},
		files.BackupInput{System: h.system, Set: h.set, Folder: files.FolderFiles, RunID: "backup/2", At: at})
	require.ErrorIs(t, err, fault.BackupConflict.Err())
}

func TestTheSameActivitiesServeConfigurationSets(t *testing.T) {
	h := newHouse(t)
	made, err := run(h, func(a *files.Activities) func(context.Context, files.BackupInput) (files.BackupResult, error) {
		return a.Backup
	},
		files.BackupInput{System: h.system, Set: h.set, Folder: files.FolderConfiguration, RunID: "backup/1", At: at})
	require.NoError(t, err)
	require.Equal(t, "config-backups/2024/01/15/uploads_config_backup_20240115_020000.tree", made.Key)
	_, err = h.preflight(made.Key)
	require.ErrorIs(t, err, fault.InputInvalid.Err(), "a configuration is not restored over files")
}

// breaking is a store whose reading of chunks ends after some.
type breaking struct {
	store.Store
	left atomic.Int64
}

func (b *breaking) Get(ctx context.Context, key string) (r io.ReadCloser, info store.Info, err error) {
	if err := b.spend(key); err != nil {
		return nil, store.Info{}, err
	}
	return b.Store.Get(ctx, key)
}

func (b *breaking) GetRange(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	if err := b.spend(key); err != nil {
		return nil, err
	}
	return b.Store.GetRange(ctx, key, off, length)
}

func (b *breaking) spend(key string) error {
	if filepath.Base(filepath.Dir(filepath.Dir(key))) == "chunk" && b.left.Add(-1) < 0 {
		return fault.Newf(fault.StorageDenied, "get", key, "access was withdrawn")
	}
	return nil
}

func TestARestoreGoesOnWhereItWasStopped(t *testing.T) {
	h := newHouse(t)
	want := contents(t, h.set.Root)
	h.backUp("backup/1", at)
	found, err := h.preflight("")
	require.NoError(t, err)

	whole := h.primary
	broken := &breaking{Store: whole}
	broken.left.Store(8)
	h.primary = broken
	_, err = h.restore(found)
	require.ErrorIs(t, err, fault.StorageDenied.Err())
	require.Equal(t, want, contents(t, h.set.Root), "the live directory is as it was")

	h.primary = whole
	restored, err := h.restore(found)
	require.NoError(t, err)
	require.Positive(t, restored.Resumed)
	require.Less(t, restored.Resumed, restored.Bytes)
	_, err = h.verify(found)
	require.NoError(t, err)

	restored, err = h.restore(found)
	require.NoError(t, err, "a restore that is done is a success")
	require.Equal(t, restored.Bytes, restored.Resumed)
}

func TestARestoreSaysWhatTheReplicaGave(t *testing.T) {
	h := newHouse(t)
	h.backUp("backup/1", at)
	replica := h.primary
	broken := &breaking{Store: h.primary}
	h.primary, h.replica = broken, replica
	found, err := h.preflight("")
	require.NoError(t, err)
	restored, err := h.restore(found)
	require.NoError(t, err)
	require.NotEmpty(t, restored.Fallbacks)
	require.Equal(t, string(fault.StorageDenied), restored.Fallbacks[0].Reason)
}

func TestDiscardLeavesNothingAndTheLiveDirectoryAsItWas(t *testing.T) {
	h := newHouse(t)
	want := contents(t, h.set.Root)
	h.backUp("backup/1", at)
	found, err := h.preflight("")
	require.NoError(t, err)
	_, err = h.restore(found)
	require.NoError(t, err)
	require.Len(t, beside(t, h.set.Root), 4) // live, staging, its journal, the lock
	discarded, err := h.discard(found)
	require.NoError(t, err)
	require.True(t, discarded.Removed)
	require.Equal(t, []string{"uploads"}, beside(t, h.set.Root))
	require.Equal(t, want, contents(t, h.set.Root))
	discarded, err = h.discard(found)
	require.NoError(t, err)
	require.False(t, discarded.Removed)

	// A clean-up does the same for a run that has ended without it, by the run's name.
	_, err = h.restore(found)
	require.NoError(t, err)
	discarded, err = run(h, func(a *files.Activities) func(context.Context, files.DiscardRunInput) (files.DiscardResult, error) {
		return a.DiscardRun
	}, files.DiscardRunInput{Set: h.set, RunID: found.Place.Run})
	require.NoError(t, err)
	require.True(t, discarded.Removed)
	require.Equal(t, []string{"uploads"}, beside(t, h.set.Root))
	require.Equal(t, want, contents(t, h.set.Root))
}

func TestAnotherRunIsKeptOut(t *testing.T) {
	h := newHouse(t)
	h.backUp("backup/1", at)
	found, err := h.preflight("")
	require.NoError(t, err)
	_, err = h.restore(found)
	require.NoError(t, err)
	other := found
	other.Place.Run, other.Place.Staging, other.Place.Journal = "another", found.Place.Staging+"2", found.Place.Journal+"2"
	_, err = h.restore(other)
	require.ErrorIs(t, err, fault.TargetBusy.Err())
	require.ErrorContains(t, err, "recover/frende/files/uploads")
}

func TestBadInputIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	h := newHouse(t)
	_, err := h.preflight("")
	require.ErrorIs(t, err, fault.BackupUnknown.Err())
	made := h.backUp("backup/1", at)
	_, err = h.preflight("file-backups/2024/01/15/uploads_file_backup_20240115_030000.tree")
	require.ErrorIs(t, err, fault.BackupUnknown.Err())

	good := h.secret
	h.secret = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff"
	_, err = h.preflight(made.Key)
	require.Error(t, err)
	require.Contains(t, []fault.Kind{fault.KeyUnavailable, fault.KeyWrong}, fault.KindOf(err))
	h.secret = good

	require.NoError(t, os.Rename(h.set.Root, h.set.Root+".real"))
	require.NoError(t, os.Symlink(h.set.Root+".real", h.set.Root))
	_, err = h.preflight(made.Key)
	require.ErrorIs(t, err, fault.TargetRefused.Err())
	require.Len(t, beside(t, h.set.Root), 2)
}

func TestAVerificationSeesADamagedStagingDirectory(t *testing.T) {
	h := newHouse(t)
	h.backUp("backup/1", at)
	found, err := h.preflight("")
	require.NoError(t, err)
	_, err = h.restore(found)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(found.Place.Staging, "notes.txt")))
	_, err = h.verify(found)
	require.ErrorIs(t, err, fault.VerificationFailed.Err())
}

func (h *house) undo(of, runID string) (files.UndoCutOverResult, error) {
	h.t.Helper()
	return run(h, func(a *files.Activities) func(context.Context, files.UndoCutOverInput) (files.UndoCutOverResult, error) {
		return a.UndoCutOver
	}, files.UndoCutOverInput{Set: h.set, Of: of, RunID: runID})
}

func TestWhatARecoveryReplacedComesBackWithWhatTheSetLeavesOut(t *testing.T) {
	h := newHouse(t)
	h.set.Exclude = []string{"*.txt"}
	made := h.backUp("backup/1", at)
	h.write("later.jpg", "later.txt")
	found, err := h.preflight(made.Key)
	require.NoError(t, err)
	_, err = h.restore(found)
	require.NoError(t, err)
	swapped, err := h.cutOver(found)
	require.NoError(t, err)
	h.write("since.jpg", "since.txt")

	_, err = h.undo("recover/other", "undo/1")
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.Contains(t, contents(t, h.set.Root), "since.jpg")

	undone, err := h.undo(found.Place.Run, "undo/1")
	require.NoError(t, err)
	require.EqualValues(t, 1, undone.Carried)
	require.NoDirExists(t, swapped.Old)
	now := contents(t, h.set.Root)
	require.Contains(t, now, "later.jpg", "as it was before the recovery")
	require.NotContains(t, now, "since.jpg")
	require.Contains(t, now, "since.txt", "no backup has it, so it is not lost")
	require.Contains(t, contents(t, undone.Kept), "since.jpg", "and neither is what was written since")
	again, err := h.undo(found.Place.Run, "undo/1")
	require.NoError(t, err)
	require.Equal(t, undone.Kept, again.Kept)
	require.Len(t, beside(t, h.set.Root), 3, "%v", beside(t, h.set.Root))
}
