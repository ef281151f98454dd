package postgres_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/tree"
)

// cluster is a server of a test, with an archive that is a plain directory.
type cluster struct {
	*lab.Postgres
	lab     *lab.Lab
	archive string
	login   postgres.Login
	owner   postgres.Account
}

func startCluster(t *testing.T) cluster {
	t.Helper()
	l := lab.New(t)
	archive, err := l.Folder("archive")
	require.NoError(t, err)
	server, err := l.Postgres(t.Context(), lab.PostgresOptions{ArchiveCommand: "cp %p " + archive + "/%f"})
	require.NoError(t, err)
	login, err := postgres.NewLogin(server.DSN, postgres.LoginOptions{})
	require.NoError(t, err)
	owner, err := postgres.OwnerOf(server.DataDir, "")
	require.NoError(t, err)
	return cluster{Postgres: server, lab: l, archive: archive, login: login, owner: owner}
}

func (c cluster) exec(t *testing.T, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	for _, statement := range statements {
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// archived switches to a new segment and waits until the old one is archived.
func (c cluster) archived(t *testing.T) (postgres.Segment, postgres.LSN) {
	t.Helper()
	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	segment, lsn, err := server.SwitchWAL(t.Context())
	require.NoError(t, err)
	done, err := server.AwaitArchived(t.Context(), segment, 30*time.Second)
	require.NoError(t, err)
	require.True(t, done)
	return segment, lsn
}

// files is a sink that keeps streams as files.
type files struct{ dir string }

func (f files) Stream(_ context.Context, name string) (io.WriteCloser, error) {
	return os.Create(filepath.Join(f.dir, name))
}

func (c cluster) backup(t *testing.T) (*postgres.BackupResult, string) {
	t.Helper()
	dir := t.TempDir()
	var last, total int64
	result, err := postgres.BaseBackup(t.Context(), c.login, postgres.BackupOptions{
		Label: "it's a test", Progress: func(d, n int64) { last, total = d, n },
	}, files{dir})
	require.NoError(t, err)
	require.Positive(t, last)
	require.GreaterOrEqual(t, total, last)
	return result, dir
}

// restored is a base backup put on disk beside its server.
type restored struct {
	dir, run, socket string
	links            []postgres.Link
	manifest         string
}

// restore extracts a base backup in several chunks, out of order.
func (c cluster) restore(t *testing.T, result *postgres.BackupResult, from string) restored {
	t.Helper()
	base := filepath.Join(filepath.Dir(c.DataDir), "staged")
	r := restored{dir: base, run: base + ".run", socket: shortDir(t), manifest: filepath.Join(from, postgres.StreamManifest)}
	require.NoError(t, c.owner.MakeRunDir(r.run))
	for _, space := range result.Tablespaces {
		link := postgres.Link{OID: space.OID, Location: space.Location + ".staged"}
		r.links = append(r.links, link)
		extract(t, c.owner, filepath.Join(from, fmt.Sprintf("%d.tar", space.OID)), result.Tables[fmt.Sprintf("%d.tar", space.OID)], link.Location, "")
	}
	extract(t, c.owner, filepath.Join(from, postgres.StreamBase), result.Tables[postgres.StreamBase], base, postgres.ControlFile)
	require.NoError(t, postgres.LinkTablespaces(base, c.owner, r.links))
	return r
}

// shortDir is a path that is short enough for a socket, and not made yet: what
// makes it gives it to the servers' account.
func shortDir(t *testing.T) string {
	t.Helper()
	path := filepath.Join(os.TempDir(), "lb"+strings.ToLower(rand.Text()[:8]))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(path)) })
	return path
}

func extract(t *testing.T, owner postgres.Account, tar string, entries []tree.Entry, root, last string) {
	t.Helper()
	entries = append([]tree.Entry{{Path: ".", Kind: tree.Dir, Mode: 0o700, UID: owner.UID, GID: owner.GID, ModTime: time.Now()}}, entries...)
	x, err := tree.NewExtraction(tree.Config{
		Root: root, Entries: entries, Backup: tar, Journal: root + ".journal", Last: last, Owner: tree.OwnerAs(owner.UID, owner.GID),
	})
	require.NoError(t, err)
	body, err := os.ReadFile(tar)
	require.NoError(t, err)
	const chunk = 1 << 20
	var workers sync.WaitGroup
	for n := (len(body) - 1) / chunk; n >= 0; n-- {
		workers.Go(func() {
			off := n * chunk
			if err := x.Write(n, int64(off), body[off:min(off+chunk, len(body))]); err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	require.NoError(t, x.Finish(t.Context()))
	require.NoError(t, x.Close())
}

// restoreCommand writes a script that keeps the contract of wal-fetch: 0 found,
// 1 past the pinned end, 126 when the file "broken" exists.
func (c cluster) restoreCommand(t *testing.T, last string) (command, pin string) {
	t.Helper()
	folder, err := c.lab.Folder("fetch")
	require.NoError(t, err)
	pin = filepath.Join(folder, "pin")
	c.pin(t, pin, last)
	script := filepath.Join(folder, "fetch")
	require.NoError(t, c.lab.Write(script, []byte(fmt.Sprintf(`#!/bin/sh
if [ -e %[2]s/broken ]; then exit 126; fi
case $1 in *.history) exit 1;; esac
if [ "$1" \> "$(cat %[2]s/pin)" ]; then exit 1; fi
cp %[1]s/$1 $2 || exit 126
`, c.archive, folder)), 0o755))
	return script + " %f %p", pin
}

func (c cluster) pin(t *testing.T, path, last string) {
	t.Helper()
	require.NoError(t, c.lab.Write(path, []byte(last), 0o644))
}

// instance gives the settings to start what was restored.
func (c cluster) instance(t *testing.T, r restored, result *postgres.BackupResult, last postgres.Segment) (postgres.InstanceConfig, string) {
	t.Helper()
	command, pin := c.restoreCommand(t, last.Name(postgres.DefaultSegmentSize))
	t.Cleanup(func() {
		if t.Failed() {
			log, err := os.ReadFile(filepath.Join(r.run, "postgresql.log"))
			t.Logf("log of the staged server (%v):\n%s", err, log)
		}
		require.NoError(t, postgres.StopInstance(context.Background(), r.dir, r.socket))
	})
	return postgres.InstanceConfig{
		DataDir: r.dir, BinDir: c.BinDir, Owner: c.owner, RunDir: r.run, SocketDir: r.socket, Superuser: "postgres", Version: 150000,
		Timeline: result.Timeline, RestoreCommand: command, Last: last, SegmentSize: postgres.DefaultSegmentSize, Restarts: 2,
	}, pin
}

// count asks a staged server how many rows a table has.
func count(t *testing.T, i *postgres.Instance, table string) int64 {
	t.Helper()
	login, err := i.Login("postgres")
	require.NoError(t, err)
	server, err := postgres.Connect(t.Context(), login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	counts, err := server.CountRows(t.Context(), []string{table})
	require.NoError(t, err)
	return counts[0]
}

// load inserts rows until the returned function is called, which gives how many.
func (c cluster) load(t *testing.T, table string) (stop func() int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.DSN)
	require.NoError(t, err)
	ended := make(chan struct{})
	var rows int64
	var worker sync.WaitGroup
	worker.Go(func() {
		defer func() { _ = conn.Close(context.Background()) }()
		for {
			select {
			case <-ended:
				return
			default:
			}
			if _, err := conn.Exec(t.Context(), "INSERT INTO "+table+" SELECT 1, $1", strings.Repeat("x", 500)); err != nil {
				t.Error(err)
				return
			}
			rows++
		}
	})
	return func() int64 {
		close(ended)
		worker.Wait()
		return rows
	}
}

// begin leaves a transaction open that has done something; the returned function commits it.
func (c cluster) begin(t *testing.T, statement string) func(*testing.T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.DSN)
	require.NoError(t, err)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), statement)
	require.NoError(t, err)
	return func(t *testing.T) {
		require.NoError(t, tx.Commit(t.Context()))
		require.NoError(t, conn.Close(t.Context()))
	}
}
