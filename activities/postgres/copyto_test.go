package postgres_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/plan"
)

func TestACopyIsRestoredToADirectoryThatAPersonStarts(t *testing.T) {
	t.Parallel()
	h := build(t)
	space, err := h.lab.Folder("space")
	require.NoError(t, err)
	elsewhere, err := h.lab.Folder("elsewhere")
	require.NoError(t, err)
	h.exec(t, "CREATE TABLESPACE big LOCATION '"+space+"'", "CREATE TABLE users (name text) TABLESPACE big", "INSERT INTO users VALUES ('a')",
		"CREATE TABLE large AS SELECT md5(g::text) FROM generate_series(1, 60000) g")
	h.backup(t, "backup/1", time.Now())
	h.exec(t, "INSERT INTO users VALUES ('b')")
	at := h.one(t, `SELECT to_char(clock_timestamp() AT TIME ZONE 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)
	h.exec(t, "INSERT INTO users VALUES ('c')")
	h.switched(t)
	production := h.beside(t)
	point, err := plan.ParsePoint(at)
	require.NoError(t, err)

	ref := h.scratch("copy/1")
	for _, dir := range []string{h.DataDir, filepath.Join(h.DataDir, "copy"), filepath.Dir(h.DataDir), space, filepath.Join(space, "copy"), elsewhere + "/none/copy", "copy"} {
		ref.Dir = dir
		err := h.activities.CheckCopy(t.Context(), activities.CheckCopyInput{Ref: ref})
		require.Error(t, err, dir)
		require.Contains(t, []fault.Kind{fault.TargetRefused, fault.InputInvalid}, fault.KindOf(err), "%v", err)
	}

	ref.Dir = filepath.Join(elsewhere, "copy")
	found := must(t, h.activities.ScratchPreflight, activities.ScratchPreflightInput{Ref: ref, To: point})
	ref.Goal = found.Goal
	must(t, h.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})
	must(t, h.activities.Replay, activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts})
	require.NoDirExists(t, ref.Dir, "nothing is there before it is whole")
	in := activities.PutCopyInput{Ref: ref, Place: found.Place, Facts: found.Facts}
	put := must(t, h.activities.PutCopy, in)
	require.Equal(t, put, must(t, h.activities.PutCopy, in), "a second attempt finds it done")
	must(t, h.activities.DiscardScratch, activities.DiscardScratchInput{Ref: ref})
	require.Equal(t, uint32(2), put.Timeline)
	require.Equal(t, production, h.beside(t))
	entries, err := os.ReadDir(elsewhere)
	require.NoError(t, err)
	require.Len(t, entries, 2, "the copy and its tablespaces: %v", entries)
	require.NoFileExists(t, filepath.Join(ref.Dir, "standby.signal"))
	require.NoFileExists(t, filepath.Join(ref.Dir, "postmaster.pid"))

	require.Equal(t, []string{"a", "b"}, h.startedCopy(t, put.Dir))
	require.Equal(t, "a b c", h.users(t), "production goes on")
	h.switched(t)
	h.restoredOver(t, ref, elsewhere)
}

// inCopy starts a copy as its owner does, beside production, and has do work in it.
func (h *house) inCopy(t *testing.T, dir string, do func(conn *pgx.Conn)) {
	t.Helper()
	bin, err := lab.PostgresBin()
	require.NoError(t, err)
	port, err := lab.FreePort()
	require.NoError(t, err)
	account, err := lab.Ordinary()
	require.NoError(t, err)
	ctl := func(args ...string) {
		line := append([]string{filepath.Join(bin, "pg_ctl"), "-w", "-s", "-D", dir}, args...)
		if os.Geteuid() == 0 {
			line = append([]string{"setpriv", "--reuid=" + strconv.Itoa(account.UID), "--regid=" + strconv.Itoa(account.GID), "--clear-groups"}, line...)
		}
		output, err := exec.CommandContext(t.Context(), line[0], line[1:]...).CombinedOutput()
		require.NoError(t, err, "%s", output)
	}
	ctl("-l", filepath.Join(dir, "log"), "-o", "-p "+strconv.Itoa(port)+" -c archive_mode=off", "start")
	defer ctl("stop")
	dsn, err := url.Parse(h.DSN)
	require.NoError(t, err)
	dsn.Host = "127.0.0.1:" + strconv.Itoa(port)
	conn, err := pgx.Connect(t.Context(), dsn.String())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(t.Context())) }()
	do(conn)
}

// startedCopy gives the users of a copy.
func (h *house) startedCopy(t *testing.T, dir string) (names []string) {
	t.Helper()
	h.inCopy(t, dir, func(conn *pgx.Conn) {
		rows, err := conn.Query(t.Context(), "SELECT name FROM users ORDER BY name")
		require.NoError(t, err)
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), "INSERT INTO users VALUES ('z')")
		require.NoError(t, err, "it is a primary")
	})
	return names
}

// restoredOver restores the newest state over a copy that was written to, and in
// which somebody has planted what leads outside.
func (h *house) restoredOver(t *testing.T, older activities.Ref, elsewhere string) {
	t.Helper()
	victim := filepath.Join(elsewhere, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("kept"), 0o644))
	large := filepath.Join(older.Dir, h.one(t, "SELECT pg_relation_filepath('large')"))
	require.NoError(t, os.Rename(large, large+"-real"))
	require.NoError(t, os.Symlink(victim, large))
	require.NoError(t, os.Link(victim, filepath.Join(older.Dir, "foreign")))

	ref := h.scratch("copy/2")
	ref.Dir, ref.Delta = older.Dir, false
	require.True(t, fault.Has(h.activities.CheckCopy(t.Context(), activities.CheckCopyInput{Ref: ref}), fault.TargetRefused), "without --delta nothing is written over")
	ref.Delta = true
	require.NoError(t, h.activities.CheckCopy(t.Context(), activities.CheckCopyInput{Ref: ref}))
	for _, wrong := range []string{elsewhere, h.DataDir, filepath.Join(elsewhere, "missing")} {
		other := ref
		other.Dir = wrong
		err := h.activities.CheckCopy(t.Context(), activities.CheckCopyInput{Ref: other})
		require.True(t, fault.Has(err, fault.TargetRefused), "%s: %v", wrong, err)
	}
	found := must(t, h.activities.ScratchPreflight, activities.ScratchPreflightInput{Ref: ref})
	restored := must(t, h.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})
	require.Greater(t, restored.Kept, int64(4<<20), "what lies in large files and has not changed; the tar headers of small ones are no file's")
	require.Less(t, restored.Kept, restored.Bytes)
	must(t, h.activities.VerifyFiles, activities.VerifyFilesInput{Ref: ref, Place: found.Place})
	require.FileExists(t, filepath.Join(older.Dir, "foreign"), "the older copy is there until the new one is whole")
	must(t, h.activities.Replay, activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts})
	in := activities.PutCopyInput{Ref: ref, Place: found.Place, Facts: found.Facts}
	put := must(t, h.activities.PutCopy, in)
	require.Equal(t, put, must(t, h.activities.PutCopy, in))
	must(t, h.activities.DiscardScratch, activities.DiscardScratchInput{Ref: ref})
	entries, err := os.ReadDir(elsewhere)
	require.NoError(t, err)
	require.Len(t, entries, 3, "the copy, its tablespaces, the victim: %v", entries)
	require.NoFileExists(t, filepath.Join(ref.Dir, "foreign"))
	body, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "kept", string(body))
	require.Equal(t, []string{"a", "b", "c"}, h.startedCopy(t, put.Dir))
}
