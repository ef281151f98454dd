package postgres_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
)

// over is a house with a copy of its database, which others are restored over.
type over struct {
	*house
	elsewhere string
	pristine  string
	tables    []string
	runs      int
}

func buildOver(t *testing.T) *over {
	t.Helper()
	o := &over{house: build(t), tables: []string{"same", "changed", "longer", "shorter", "gone", "linked", "named", "spaced"}}
	var err error
	o.elsewhere, err = o.lab.Folder("elsewhere")
	require.NoError(t, err)
	space, err := o.lab.Folder("space")
	require.NoError(t, err)
	o.exec(t, "CREATE TABLESPACE big LOCATION '"+space+"'", "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
	for _, table := range o.tables {
		where := ""
		if table == "spaced" {
			where = "TABLESPACE big "
		}
		o.exec(t, "CREATE TABLE "+table+" "+where+"AS SELECT g AS id, repeat(md5(g::text), 4) AS text FROM generate_series(1, 10000) g", "VACUUM (FREEZE) "+table)
	}
	o.backup(t, "backup/1", time.Now())
	o.pristine = filepath.Join(o.elsewhere, "pristine")
	ref := o.scratch("copy/first")
	ref.Dir = o.pristine
	o.finish(t, o.restored(t, ref))
	o.exec(t, "INSERT INTO users VALUES ('b')")
	o.switched(t)
	return o
}

// older is a copy of the copy, and where its tablespace is.
func (o *over) older(t *testing.T, name string) (dir, space string) {
	t.Helper()
	dir = filepath.Join(o.elsewhere, name)
	for _, suffix := range []string{"", ".tablespaces"} {
		output, err := exec.CommandContext(t.Context(), "cp", "-a", "--reflink=never", o.pristine+suffix, dir+suffix).CombinedOutput()
		require.NoError(t, err, "%s", output)
	}
	spaces, err := os.ReadDir(dir + ".tablespaces")
	require.NoError(t, err)
	require.Len(t, spaces, 1)
	space = filepath.Join(dir+".tablespaces", spaces[0].Name())
	link := filepath.Join(dir, "pg_tblspc", spaces[0].Name())
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(space, link))
	return dir, space
}

// file is where a table's first file lies in a copy.
func (o *over) file(t *testing.T, dir, table string) string {
	t.Helper()
	return filepath.Join(dir, o.one(t, "SELECT pg_relation_filepath('"+table+"')"))
}

// delta is a new run over an older copy.
func (o *over) delta(dir string) activities.Ref {
	o.runs++
	ref := o.scratch(fmt.Sprintf("copy/%d", o.runs))
	ref.Dir, ref.Delta = dir, true
	return ref
}

// copying is a run of which the restore is done.
type copying struct {
	ref      activities.Ref
	found    activities.ScratchPreflightResult
	restored activities.RestoreResult
}

func (o *over) restored(t *testing.T, ref activities.Ref) copying {
	t.Helper()
	require.NoError(t, o.activities.CheckCopy(t.Context(), activities.CheckCopyInput{Ref: ref}))
	found := must(t, o.activities.ScratchPreflight, activities.ScratchPreflightInput{Ref: ref})
	ref.Goal = found.Goal
	return copying{ref, found, must(t, o.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})}
}

func (o *over) replayed(t *testing.T, c copying) {
	t.Helper()
	must(t, o.activities.Replay, activities.ReplayInput{Ref: c.ref, Place: c.found.Place, Facts: c.found.Facts})
}

func (o *over) finish(t *testing.T, c copying) {
	t.Helper()
	o.replayed(t, c)
	must(t, o.activities.PutCopy, activities.PutCopyInput{Ref: c.ref, Place: c.found.Place, Facts: c.found.Facts})
	must(t, o.activities.DiscardScratch, activities.DiscardScratchInput{Ref: c.ref})
	require.NoDirExists(t, c.found.Place.Staging)
}

// discarded ends a run that does not come, and gives what became of the older copy.
func (o *over) discarded(t *testing.T, c copying) string {
	t.Helper()
	left := must(t, o.activities.DiscardScratch, activities.DiscardScratchInput{Ref: c.ref})
	require.True(t, left.Removed)
	return left.Older
}

// look is all that must stay of an older copy, but for the times at which its files got other names.
func look(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, dir := range dirs {
		require.NoError(t, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			stat := info.Sys().(*syscall.Stat_t)
			told := fmt.Sprint(info.Mode(), stat.Uid, stat.Gid)
			if info.Mode().IsRegular() {
				body, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				told += fmt.Sprintf(" %s %d %x", info.ModTime(), stat.Nlink, sha256.Sum256(body))
			}
			found[name] = told
			return nil
		}))
	}
	return found
}

// requireCurrent starts a copy and compares what it holds with production.
func (o *over) requireCurrent(t *testing.T, dir string) {
	t.Helper()
	sql := "SELECT (SELECT string_agg(name, ' ' ORDER BY name) FROM users)"
	for _, table := range o.tables {
		sql += fmt.Sprintf(" || ' ' || (SELECT md5(string_agg(id || text, ',' ORDER BY id)) FROM %s)", table)
	}
	o.inCopy(t, dir, func(conn *pgx.Conn) {
		var held string
		require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&held))
		require.Equal(t, o.one(t, sql), held)
	})
}

// TestADeltaTakesOverWhatHasNotChanged restores over one older copy again and again: stopped
// before a server started, stopped after, and to the end.
func TestADeltaTakesOverWhatHasNotChanged(t *testing.T) {
	t.Parallel()
	o := buildOver(t)
	dir, space := o.older(t, "copy")
	before := look(t, dir, space)
	var large int64
	for _, table := range o.tables {
		info, err := os.Stat(o.file(t, o.DataDir, table))
		require.NoError(t, err)
		large += info.Size()
	}
	require.Greater(t, large, int64(len(o.tables))<<20)

	// Stopped in the middle of it, and gone on with.
	ref := o.delta(dir)
	found := must(t, o.activities.ScratchPreflight, activities.ScratchPreflightInput{Ref: ref})
	in := activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts}
	ctx, cancel := context.WithCancel(t.Context())
	staged := filepath.Join(found.Place.Tablespaces[0].Staging, strings.TrimPrefix(o.file(t, dir, "spaced"), filepath.Join(dir, "pg_tblspc", filepath.Base(space))))
	go func() {
		defer cancel()
		for ctx.Err() == nil {
			if _, err := os.Lstat(staged); err == nil {
				return
			}
		}
	}()
	if _, err := doUnder(t, ctx, o.activities.Restore, in); err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	cancel()
	c := o.restored(t, ref)
	require.GreaterOrEqual(t, c.restored.Taken, large)
	require.GreaterOrEqual(t, c.restored.Kept, c.restored.Taken)
	require.Less(t, c.restored.Kept, c.restored.Bytes)
	again := o.restored(t, ref)
	require.Equal(t, []int64{c.restored.Taken, c.restored.Taken}, []int64{again.restored.Taken, again.restored.Kept}, "it is done, and known")
	require.Greater(t, again.restored.Resumed, c.restored.Taken)
	must(t, o.activities.VerifyFiles, activities.VerifyFilesInput{Ref: ref, Place: c.found.Place})
	require.True(t, sameInode(t, o.file(t, dir, "same"), o.file(t, c.found.Place.Staging, "same")))
	require.True(t, sameInode(t, o.file(t, dir, "spaced"), staged))
	require.NoFileExists(t, filepath.Join(dir, "lifeboat.spent"))
	require.Equal(t, activities.OlderWhole, o.discarded(t, c))
	require.Equal(t, before, look(t, dir, space), "no server was started: the older copy is as it was")

	// Stopped when a server had started: the older copy is spent, and says so.
	c = o.restored(t, o.delta(dir))
	require.GreaterOrEqual(t, c.restored.Taken, large)
	o.replayed(t, c)
	spent := func() {
		require.NoFileExists(t, filepath.Join(dir, "global", "pg_control"))
		note, err := os.ReadFile(filepath.Join(dir, "lifeboat.spent"))
		require.NoError(t, err)
		require.Contains(t, string(note), c.ref.RunID)
		require.Contains(t, string(note), "no server may be started here")
	}
	spent()
	require.Equal(t, activities.OlderSpent, o.discarded(t, c))
	spent()

	// What is right in it is taken over all the same.
	c = o.restored(t, o.delta(dir))
	require.Greater(t, c.restored.Taken, large/2)
	o.finish(t, c)
	o.requireCurrent(t, dir)
	require.NoFileExists(t, filepath.Join(dir, "lifeboat.spent"))
	require.NoDirExists(t, dir+".lifeboat-old-"+strings.ReplaceAll(c.ref.RunID, "/", "-"))
	for name, told := range look(t, dir, space) {
		require.NotContains(t, told, " 2 ", "%s has one name", name)
	}
	entries, err := os.ReadDir(o.elsewhere)
	require.NoError(t, err)
	require.Len(t, entries, 4, "two copies and their tablespaces: %v", entries)
}

// TestADeltaBelievesNothingOfAnOlderCopy changes files in each way that there is.
func TestADeltaBelievesNothingOfAnOlderCopy(t *testing.T) {
	t.Parallel()
	o := buildOver(t)
	dir, _ := o.older(t, "copy")
	outside := filepath.Join(o.elsewhere, "outside")
	at := func(table string) string { return o.file(t, dir, table) }
	info, err := os.Stat(at("changed"))
	require.NoError(t, err)
	file, err := os.OpenFile(at("changed"), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte("X"), info.Size()-1)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.NoError(t, os.Chtimes(at("changed"), info.ModTime(), info.ModTime()), "as if nothing had happened")
	require.NoError(t, os.Truncate(at("longer"), info.Size()+8192))
	require.NoError(t, os.Truncate(at("shorter"), info.Size()-8192))
	require.NoError(t, os.Remove(at("gone")))
	require.NoError(t, os.Rename(at("linked"), at("linked")+".1"))
	require.NoError(t, os.Symlink(at("linked")+".1", at("linked")))
	require.NoError(t, os.Link(at("named"), outside))
	named, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "extra"), []byte("mine"), 0o600))

	// An older copy that somebody may work in keeps all of its files to itself.
	pid := filepath.Join(dir, "postmaster.pid")
	require.NoError(t, os.WriteFile(pid, []byte("1\n"), 0o600))
	before := look(t, dir)
	c := o.restored(t, o.delta(dir))
	require.Zero(t, c.restored.Taken)
	require.Greater(t, c.restored.Kept, 2*info.Size())
	o.replayed(t, c)
	require.Equal(t, activities.OlderWhole, o.discarded(t, c))
	require.Equal(t, before, look(t, dir))
	require.NoError(t, os.Remove(pid))

	// Nor does one in which somebody has begun to work meanwhile.
	c = o.restored(t, o.delta(dir))
	require.Positive(t, c.restored.Taken)
	require.NoError(t, os.WriteFile(pid, []byte("1\n"), 0o600))
	_, err = do(t, o.activities.Replay, activities.ReplayInput{Ref: c.ref, Place: c.found.Place, Facts: c.found.Facts})
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.Equal(t, activities.OlderWhole, o.discarded(t, c))
	require.NoError(t, os.Remove(pid))
	delete(before, pid)
	require.Equal(t, before, look(t, dir))

	c = o.restored(t, o.delta(dir))
	for _, table := range o.tables {
		if table == "spaced" {
			continue
		}
		_, err := os.Stat(at(table))
		require.Equal(t, table == "same", err == nil && sameInode(t, at(table), o.file(t, c.found.Place.Staging, table)), table)
	}
	o.finish(t, c)
	o.requireCurrent(t, dir)
	require.NoFileExists(t, filepath.Join(dir, "extra"))
	body, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, named, body, "what has a name elsewhere is not written to")
}

func sameInode(t *testing.T, a, b string) bool {
	t.Helper()
	one, err := os.Lstat(a)
	require.NoError(t, err)
	two, err := os.Lstat(b)
	require.NoError(t, err)
	return os.SameFile(one, two)
}
