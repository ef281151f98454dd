package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
)

// prepared is a recovery up to the point where production is touched.
type prepared struct {
	ref      activities.Ref
	found    activities.RestorePreflightResult
	replayed activities.ReplayResult
	verified activities.VerifyResult // by recoverTo
}

func (h *house) backup(t *testing.T, run string, at time.Time) activities.BaseBackupResult {
	t.Helper()
	ref := h.ref(run)
	must(t, h.activities.BackupPreflight, activities.BackupPreflightInput{Ref: ref})
	return must(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: ref, At: at})
}

func (h *house) prepare(t *testing.T, run string) prepared {
	t.Helper()
	p := prepared{ref: h.ref(run)}
	p.found = must(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: p.ref})
	restored := must(t, h.activities.Restore, activities.RestoreInput{Ref: p.ref, Key: p.found.Key, Place: p.found.Place, Facts: p.found.Facts})
	require.Equal(t, p.found.Bytes, restored.Bytes)
	files := must(t, h.activities.VerifyFiles, activities.VerifyFilesInput{Ref: p.ref, Place: p.found.Place})
	require.Greater(t, files.Files, int64(500))
	p.replayed = must(t, h.activities.Replay, activities.ReplayInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	again := must(t, h.activities.VerifyFiles, activities.VerifyFilesInput{Ref: p.ref, Place: p.found.Place})
	require.Equal(t, files, again, "what was verified before the replay is still known")
	return p
}

func (h *house) fence(t *testing.T, p *prepared) (activities.FenceResult, activities.TerminateConnectionsResult, activities.SalvageWALResult) {
	t.Helper()
	fenced := must(t, h.activities.Fence, activities.FenceInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	ended := must(t, h.activities.TerminateConnections, activities.TerminateConnectionsInput{Ref: p.ref, Place: p.found.Place})
	salvaged := must(t, h.activities.SalvageWAL, activities.SalvageWALInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	p.replayed = must(t, h.activities.ReplayFinal, activities.ReplayInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	return fenced, ended, salvaged
}

func (h *house) cutOver(t *testing.T, p *prepared) (activities.CutOverResult, activities.PromoteResult) {
	t.Helper()
	in := activities.CutOverInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts, LSN: p.replayed.LSN, Timeline: p.replayed.Timeline}
	cut := must(t, h.activities.CutOver, in)
	require.Equal(t, cut, must(t, h.activities.CutOver, in), "a second attempt finds it done")
	promoted := must(t, h.activities.Promote, activities.PromoteInput{Ref: p.ref, Place: p.found.Place, Timeline: p.replayed.Timeline})
	again := must(t, h.activities.Promote, activities.PromoteInput{Ref: p.ref, Place: p.found.Place, Timeline: p.replayed.Timeline})
	require.Equal(t, promoted.Timeline, again.Timeline)
	return cut, promoted
}

func TestLivingServerIsReplacedWithoutLosingACommit(t *testing.T) {
	t.Parallel()
	h := build(t)
	space, err := h.lab.Folder("space")
	require.NoError(t, err)
	h.exec(t, "CREATE TABLESPACE big LOCATION '"+space+"'", "CREATE TABLE users (name text) TABLESPACE big", "INSERT INTO users VALUES ('a-before')",
		"CREATE UNLOGGED TABLE visits AS SELECT 1")
	h.system.Databases[0].Tables = []string{"users", "visits"}
	at := time.Now()
	backup := h.backup(t, "backup/1", at)
	require.True(t, strings.HasPrefix(backup.Key, "database-backups/"))
	same := must(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: h.ref("backup/1"), At: at})
	require.Equal(t, backup, same, "a second attempt finds it committed")
	_, err = do(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: h.ref("backup/other"), At: at})
	require.True(t, fault.Has(err, fault.BackupConflict), "%v", err)

	h.exec(t, "INSERT INTO users VALUES ('b-archived')")
	h.switched(t)
	p := h.prepare(t, "recover/1")
	require.Equal(t, activities.LiveRunning, p.found.Live)
	require.NotNil(t, p.replayed.Committed)
	h.exec(t, "INSERT INTO users VALUES ('c-during')")

	fenced, ended, _ := h.fence(t, &p)
	require.True(t, fenced.Fenced)
	require.True(t, ended.Archived)
	require.GreaterOrEqual(t, p.replayed.LSN, ended.LSN)
	verified := must(t, h.activities.Verify, activities.VerifyInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
	require.Equal(t, []activities.TableCount{{Table: "users", Rows: 3}, {Table: "visits"}}, verified.Tables, "an unlogged table comes back empty")
	require.Len(t, verified.Checks, 1)

	cut, promoted := h.cutOver(t, &p)
	require.Len(t, cut.Old, 2)
	require.Equal(t, uint32(2), promoted.Timeline)
	require.Equal(t, "a-before b-archived c-during", h.users(t))
	target, err := os.Readlink(filepath.Join(h.DataDir, "pg_tblspc", filepath.Base(glob(t, h.DataDir, "pg_tblspc/*"))))
	require.NoError(t, err)
	require.Equal(t, space, target)
	require.NoDirExists(t, p.found.Place.Run)
	require.NoFileExists(t, h.DataDir+".lifeboat-lock")

	// It archives on its new timeline, and the next recovery follows it.
	h.exec(t, "INSERT INTO users VALUES ('d-after')")
	h.switched(t)
	_, err = h.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(h.DataDir))
	next := h.prepare(t, "recover/2")
	require.Equal(t, activities.LiveMissing, next.found.Live)
	require.Equal(t, uint32(2), next.replayed.Timeline)
	fenced, _, _ = h.fence(t, &next)
	require.False(t, fenced.Fenced)
	h.cutOver(t, &next)
	require.Equal(t, "a-before b-archived c-during d-after", h.users(t))
}

func TestDeadServersLastWALIsSalvaged(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	h.exec(t, "INSERT INTO users VALUES ('b')")
	_, err := h.Kill(t.Context())
	require.NoError(t, err)
	p := h.prepare(t, "recover/1")
	require.Equal(t, activities.LiveStopped, p.found.Live)
	fenced, ended, salvaged := h.fence(t, &p)
	require.True(t, fenced.Fenced, "should somebody start it: %s", fenced.Note)
	require.Zero(t, ended.LSN)
	require.NotEmpty(t, salvaged.Segments)
	h.cutOver(t, &p)
	require.Equal(t, "a b", h.users(t))
}

func TestAbortLeavesTheOldServerAsItWas(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')", "CREATE ROLE app LOGIN SUPERUSER PASSWORD 'app'")
	h.backup(t, "backup/1", time.Now())
	p := h.prepare(t, "recover/1")

	// Another run is kept off the target meanwhile.
	_, err := do(t, h.activities.Fence, activities.FenceInput{Ref: h.ref("recover/other"), Place: p.found.Place, Facts: p.found.Facts})
	require.True(t, fault.Has(err, fault.TargetBusy), "%v", err)

	h.fence(t, &p)
	running, err := h.Running()
	require.NoError(t, err)
	require.False(t, running)
	_, err = do(t, h.activities.DiscardRun, activities.DiscardRunInput{Ref: p.ref})
	require.True(t, fault.Has(err, fault.TargetRefused), "a clean-up leaves a fence to a person: %v", err)
	require.NotEmpty(t, fault.HintOf(err))
	undone := must(t, h.activities.Unfence, activities.UnfenceInput{Ref: p.ref, Place: p.found.Place})
	require.True(t, undone.Restored)
	require.True(t, undone.Started)
	undone = must(t, h.activities.Unfence, activities.UnfenceInput{Ref: p.ref, Place: p.found.Place})
	require.False(t, undone.Restored || undone.Started, "a second attempt finds it undone")
	discarded := must(t, h.activities.Discard, activities.DiscardInput{Ref: p.ref, Place: p.found.Place})
	require.True(t, discarded.Removed)
	discarded = must(t, h.activities.Discard, activities.DiscardInput{Ref: p.ref, Place: p.found.Place})
	require.False(t, discarded.Removed)

	require.Empty(t, h.beside(t))
	require.NoDirExists(t, p.found.Place.Socket)
	conn, err := pgx.Connect(t.Context(), strings.Replace(h.DSN, "postgres:"+h.Password, "app:app", 1))
	require.NoError(t, err, "others may log in again")
	require.NoError(t, conn.Close(t.Context()))
	h.exec(t, "INSERT INTO users VALUES ('b')")
	h.switched(t)
}

func TestRestoreGoesOnAfterAKilledAttempt(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users SELECT md5(g::text) || md5((g + 1)::text) FROM generate_series(1, 200000) g")
	h.backup(t, "backup/1", time.Now())
	ref := h.ref("recover/1")
	found := must(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: ref})
	in := activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts}

	// The first attempt is slow, and ends when some of the bytes are in place.
	h.at.Rate = 8 << 20
	under, cancel := context.WithCancelCause(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		poll := time.NewTicker(20 * time.Millisecond)
		defer poll.Stop()
		for range poll.C {
			if under.Err() != nil || someInPlace(found.Place.Staging, found.Bytes/3) {
				cancel(errors.New("the worker is gone"))
				return
			}
		}
	})
	_, err := doUnder(t, under, h.activities.Restore, in)
	require.Error(t, err)
	watching.Wait()
	require.NoFileExists(t, filepath.Join(found.Place.Staging, "global", "pg_control"), "the control file comes last")

	h.at.Rate = 0
	restored := must(t, h.activities.Restore, in)
	require.Positive(t, restored.Resumed)
	require.Less(t, restored.Resumed, restored.Bytes)
	must(t, h.activities.VerifyFiles, activities.VerifyFilesInput{Ref: ref, Place: found.Place})
	must(t, h.activities.Discard, activities.DiscardInput{Ref: ref, Place: found.Place})
}

func TestReplayNamesTheObjectThatIsGoneAndGoesOnWhenItIsBack(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	h.backup(t, "backup/1", time.Now())
	for range 3 {
		h.exec(t, "INSERT INTO users VALUES ('b')")
		h.switched(t)
	}
	ref := h.ref("recover/1")
	found := must(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: ref})
	must(t, h.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})

	// Damage a segment in the middle, behind the store's back.
	matches, err := filepath.Glob(filepath.Join(h.s3.Dir, "backups", "wal", "frende", "*", "00000001", found.Span.Last))
	require.NoError(t, err)
	require.Len(t, matches, 1)
	whole, err := os.ReadFile(matches[0])
	require.NoError(t, err)
	damaged := append([]byte(nil), whole...)
	damaged[len(damaged)/2] ^= 1
	overwrite(t, matches[0], damaged)
	in := activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts}
	_, err = do(t, h.activities.Replay, in)
	require.True(t, fault.Has(err, fault.IntegrityError), "%v", err)
	require.ErrorContains(t, err, found.Span.Last)
	require.FileExists(t, filepath.Join(found.Place.Staging, "standby.signal"), "it was not promoted")

	overwrite(t, matches[0], whole)
	replayed := must(t, h.activities.Replay, in)
	require.Equal(t, found.Span.Last, replayed.Span.Last)
	must(t, h.activities.Discard, activities.DiscardInput{Ref: ref, Place: found.Place})
}

func TestRestoreIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	_, err := do(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: h.ref("recover/0")})
	require.True(t, fault.Has(err, fault.BackupUnknown), "%v", err)
	made := h.backup(t, "backup/1", time.Now())
	refused := func(change func(*activities.Ref), key string) error {
		t.Helper()
		ref := h.ref("recover/1")
		ref.System.Databases = append(ref.System.Databases[:0:0], ref.System.Databases...)
		change(&ref)
		_, err := do(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: ref, Key: key})
		require.Empty(t, h.beside(t))
		return err
	}
	nothing := func(*activities.Ref) {}

	other, err := h.lab.Postgres(t.Context(), lab.PostgresOptions{Name: "other"})
	require.NoError(t, err)
	err = refused(func(r *activities.Ref) { r.System.Databases[0].DataDir = other.DataDir }, "")
	require.True(t, fault.Has(err, fault.ForeignCluster), "%v", err)

	err = refused(func(r *activities.Ref) { r.System.Databases[0].BinDir = "/nowhere" }, made.Key)
	require.True(t, fault.Has(err, fault.VersionMismatch), "%v", err)
	err = refused(nothing, strings.Replace(made.Key, ".base", ".sql.gz", 1))
	require.True(t, fault.Has(err, fault.BackupUnknown), "%v", err)
	err = refused(func(r *activities.Ref) { r.System.Databases[0].Service = "" }, "")
	require.True(t, fault.Has(err, fault.Unsupported), "%v", err)
	err = refused(func(r *activities.Ref) { r.Component = "frendee" }, "")
	require.True(t, fault.Has(err, fault.NameUnknown), "%v", err)
	err = refused(func(r *activities.Ref) { r.System.Databases[0].DataDir = filepath.Join(h.DataDir, "base") }, "")
	require.Error(t, err)
	require.NotEmpty(t, fault.KindOf(err))

	// The WAL that the backup needs is gone.
	matches, err := filepath.Glob(filepath.Join(h.s3.Dir, "backups", "wal", "frende", "*", "00000001", "0000*"))
	require.NoError(t, err)
	for _, match := range matches {
		require.NoError(t, os.Remove(match))
	}
	err = refused(nothing, "")
	require.True(t, fault.Has(err, fault.WALGap), "%v", err)
}

func glob(t *testing.T, dir, pattern string) string {
	t.Helper()
	matches, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	require.Len(t, matches, 1)
	return matches[0]
}

// overwrite changes a file in place, with its attributes.
func overwrite(t *testing.T, path string, body []byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteAt(body, 0)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// someInPlace says whether so many bytes are on disk.
func someInPlace(dir string, bytes int64) bool {
	var found int64
	// A file may vanish while it is looked at; the next look is as good.
	_ = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil {
			found += info.Size()
		}
		return nil
	})
	return found > bytes
}
