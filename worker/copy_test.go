package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/workflows/api"
)

// TestADatabaseIsRestoredToADirectory restores a copy of a living database, with
// the worker killed in the middle of it, and starts it beside production.
func TestADatabaseIsRestoredToADirectory(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sql(t, "create table large as select g as id, repeat(md5(g::text), 4) as text from generate_series(1, 10000) g")
	h.sql(t, "vacuum (freeze) large")
	h.lifeboat(t, "backup", "system").done(t)
	folder, err := h.lab.Folder("elsewhere")
	require.NoError(t, err)
	dir := filepath.Join(folder, "copy")
	rows := h.rows(t)
	at := h.text(t, `SELECT to_char(clock_timestamp() AT TIME ZONE 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)
	h.sql(t, "delete from users where id > 10")
	h.sql(t, "select pg_switch_wal()")
	before := h.look(t)

	copyTo := func(args ...string) outcome {
		return h.lifeboat(t, append([]string{"recover", "database", "frende"}, args...)...)
	}
	copyTo("--to-dir", "copy").ended(t, fault.InputInvalid, "copy")
	copyTo("--to-dir", dir, "--yes-destroy", "frende").ended(t, fault.InputInvalid, "--yes-destroy")
	copyTo("--to-dir", dir, "--to", "yesterday").ended(t, fault.InputInvalid, "yesterday")
	for _, wrong := range []string{h.postgres.DataDir, filepath.Join(h.uploads, "copy"), filepath.Dir(h.redis.Dir), filepath.Dir(folder), filepath.Join(folder, "none", "copy")} {
		copyTo("--to-dir", wrong).ended(t, fault.TargetRefused, wrong)
	}
	_, err = h.kindOf(t, h.start(t, "copy/by-hand", api.CopyDatabase, api.Queue, map[string]string{}))
	require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
	require.Equal(t, before, h.look(t))

	run := h.start(t, "copy/killed", api.CopyDatabase, api.Queue, map[string]string{"dir": dir, "to": at})
	s := &scene{production: before}
	h.killAt(t, h.worker, point{name: "in the restore of a copy", reached: func(*house, *scene) bool {
		return matches(filepath.Join(folder, "copy.lifeboat-look-*", "data", "base", "*", "*"))
	}}, s, rand.New(rand.NewPCG(3, 4)), false)
	require.NoError(t, h.worker.Start(t.Context()))
	var made api.CopyResult
	h.ends(t, run, &made)
	require.Equal(t, dir, made.Dir)
	require.Contains(t, made.Start, "pg_ctl -D '"+dir+"'")
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing but the copy is there: %v", entries)
	require.Equal(t, before, h.look(t))
	require.Empty(t, h.strays(t))
	copyTo("--to-dir", dir).ended(t, fault.TargetRefused, "it is not empty")
	require.Equal(t, rows, h.rowsOfCopy(t, dir))

	copyTo("--delta").ended(t, fault.InputInvalid, "--to-dir")
	copyTo("--to-dir", folder, "--delta").ended(t, fault.TargetRefused, "no data directory")

	// Over the older copy, with the worker killed when it has taken over a file, and when the older copy is spent.
	var over api.CopyResult
	run = h.start(t, "copy/over", api.CopyDatabase, api.Queue, map[string]any{"dir": dir, "delta": true})
	for _, left := range []string{"copy.lifeboat-look-*/data/base/*/*", "copy/lifeboat.spent"} {
		h.killAt(t, h.worker, point{name: left, reached: func(*house, *scene) bool { return matches(filepath.Join(folder, left)) }}, s, rand.New(rand.NewPCG(3, 5)), false)
		require.NoError(t, h.worker.Start(t.Context()))
	}
	h.ends(t, run, &over)
	require.Greater(t, over.Taken, int64(1<<20))
	require.Equal(t, before.Rows, h.rowsOfCopy(t, dir))
	require.Empty(t, h.strays(t))

	// One that is called off when the older copy is spent says so.
	id := strings.TrimSpace(copyTo("--to-dir", dir, "--delta", "--detach").done(t).stdout)
	await(t, "the older copy to be spent", func() bool { return matches(filepath.Join(dir, "lifeboat.spent")) })
	require.NoError(t, h.client.CancelWorkflow(t.Context(), id, ""))
	require.Error(t, h.client.GetWorkflow(t.Context(), id, "").Get(t.Context(), nil))
	require.Contains(t, h.lifeboat(t, "report", id).done(t).stdout, "the older copy at "+dir+" is spent")
	require.NoFileExists(t, filepath.Join(dir, "global", "pg_control"))
	require.Empty(t, h.strays(t))

	require.NoError(t, h.lab.Write(filepath.Join(dir, "foreign"), []byte("mine"), 0o600))
	require.NoError(t, json.Unmarshal([]byte(copyTo("--to-dir", dir, "--delta", "--json").done(t).stdout), &over))
	require.Positive(t, over.Taken)
	require.Greater(t, over.Kept, over.Taken-1)
	require.Less(t, over.Kept, over.Bytes)
	require.NoFileExists(t, filepath.Join(dir, "foreign"))
	require.Equal(t, before.Rows, h.rowsOfCopy(t, dir), "the older copy is as production is now")
	entries, err = os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing but the copy is there: %v", entries)

	var again api.CopyResult
	require.NoError(t, json.Unmarshal([]byte(copyTo("--to-dir", dir+"-2", "--json").done(t).stdout), &again))
	require.Equal(t, before.Rows, h.rowsOfCopy(t, again.Dir), "as it is now")
	h.keepsSecrets(t)
}

// rowsOfCopy starts a copy as its owner does, and asks it what production is asked by rows.
func (h *house) rowsOfCopy(t *testing.T, dir string) (answer string) {
	t.Helper()
	port, err := lab.FreePort()
	require.NoError(t, err)
	account, err := lab.Ordinary()
	require.NoError(t, err)
	ctl := func(args ...string) {
		line := append([]string{filepath.Join(h.plan.BinDir, "pg_ctl"), "-w", "-s", "-D", dir}, args...)
		if os.Geteuid() == 0 {
			line = append([]string{"setpriv", "--reuid=" + strconv.Itoa(account.UID), "--regid=" + strconv.Itoa(account.GID), "--clear-groups"}, line...)
		}
		output, err := exec.CommandContext(t.Context(), line[0], line[1:]...).CombinedOutput()
		require.NoError(t, err, "%s", output)
	}
	ctl("-l", filepath.Join(dir, "log"), "-o", "-p "+strconv.Itoa(port)+" -c archive_mode=off", "start")
	defer ctl("stop")
	conn, err := pgx.Connect(t.Context(), databaseURL(port, h.secrets["database password"]))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(t.Context())) }()
	require.NoError(t, conn.QueryRow(t.Context(), "select count(*) || ' rows ' || md5(string_agg(id || name, ',' order by id)) from users").Scan(&answer))
	return answer
}
