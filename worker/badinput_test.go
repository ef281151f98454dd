package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/workflows/api"
)

// TestBadInputEndsInOneNamedFaultAndTouchesNothing gives Lifeboat everything
// that can be wrong, with the approval to replace production in its hand: only
// the fault itself keeps it from doing so.
func TestBadInputEndsInOneNamedFaultAndTouchesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	unreachable := h.recoverWithoutStore(t) // takes its time beside the others
	h.lifeboat(t, "backup", "system").done(t)
	before := h.look(t)
	row := func(name string, try func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			try(t)
			require.Equal(t, before, h.look(t), "production was touched")
		})
	}
	destroy := []string{"recover", "system", "--yes-destroy", "frende"}

	row("wrong key", func(t *testing.T) {
		h.keep(t, map[string]string{"another": randomKey(t)})
		h.configured(t, func(p *plan) { p.Key = "another" })
		h.lifeboat(t, destroy...).ended(t, fault.KeyWrong, "open key 20")
	})
	row("missing key", func(t *testing.T) {
		h.configured(t, func(p *plan) { p.Key = "lost" })
		h.lifeboat(t, destroy...).ended(t, fault.ConfigInvalid, h.secret("lost"))
		h.fails(t, api.RecoverSystem, map[string]string{"yes_destroy": "frende"}, fault.ConfigInvalid, h.secret("lost"))
	})
	row("unknown backup", func(t *testing.T) {
		const key = "database-backups/2020/01/01/frende_db_backup_20200101_000000.base"
		h.lifeboat(t, "recover", "database", "--to", "backup:"+key, "--yes-destroy", "frende").ended(t, fault.BackupUnknown, key)
		other := h.backups(t)[0].Key
		h.lifeboat(t, "recover", "cache", "sessions", "--to", "backup:"+other, "--yes-destroy", "frende").ended(t, fault.InputInvalid, other)
	})
	row("bad configuration", func(t *testing.T) {
		h.configured(t, func(p *plan) { p.More = "databse: []\n" })
		h.lifeboat(t, destroy...).ended(t, fault.ConfigInvalid, "lifeboat.yaml", "databse")
		h.fails(t, api.RecoverSystem, map[string]string{"yes_destroy": "frende"}, fault.ConfigInvalid, "databse")
	})
	row("programs of a service missing", func(t *testing.T) {
		h.configured(t, func(p *plan) { p.Supervisor = "/opt/nowhere/service" })
		h.lifeboat(t, destroy...).ended(t, fault.ConfigInvalid, "/opt/nowhere/service")
	})
	row("wrong password", func(t *testing.T) {
		h.keep(t, map[string]string{"mistyped": databaseURL(h.postgres.Port, "mistyped-"+rand.Text())})
		h.configured(t, func(p *plan) { p.Connection = "mistyped" })
		h.lifeboat(t, destroy...).ended(t, fault.ServerRefused, strconv.Itoa(h.postgres.Port), "password")
	})
	row("store read-only", func(t *testing.T) {
		endpoint := h.readOnly(t)
		h.configured(t, func(p *plan) { p.Endpoint = endpoint })
		h.lifeboat(t, "backup", "system").ended(t, fault.StorageDenied, bucket)
		h.lifeboat(t, destroy...).ended(t, fault.StorageDenied, bucket)
	})
	row("foreign cluster", func(t *testing.T) {
		foreign := h.foreign(t)
		pid, err := foreign.PID()
		require.NoError(t, err)
		h.configured(t, func(p *plan) { p.Connection, p.DataDir = "foreign", foreign.DataDir })
		h.lifeboat(t, destroy...).ended(t, fault.ForeignCluster, foreign.DataDir)
		h.configured(t, func(p *plan) { p.Connection = "foreign" })
		h.lifeboat(t, destroy...).ended(t, fault.ForeignCluster, strconv.Itoa(foreign.Port))
		after, err := foreign.PID()
		require.NoError(t, err)
		require.Equal(t, pid, after)
	})
	row("not enough disk", func(t *testing.T) {
		key := h.enormous(t)
		h.lifeboat(t, "recover", "files", "uploads", "--to", "backup:"+key, "--yes-destroy", "frende").ended(t, fault.NoSpace, h.uploads, "1.0 PiB")
	})
	row("other major version", func(t *testing.T) {
		h.configured(t, func(p *plan) { p.BinDir = h.oldPrograms(t) })
		h.lifeboat(t, destroy...).ended(t, fault.VersionMismatch, "PostgreSQL 15", "found only 9")
	})
	row("Temporal unreachable", func(t *testing.T) {
		cmd := h.lab.Command(t.Context(), program("lifeboat"), destroy...)
		cmd.Env = append(append(cmd.Env, h.env("lifeboat.yaml")...), "TEMPORAL_ADDRESS="+nobody(t))
		h.run(t, cmd).ended(t, fault.TemporalUnavailable, "127.0.0.1")
	})
	row("typo in the input of a workflow", func(t *testing.T) {
		h.fails(t, api.RecoverSystem, map[string]string{"yes_destroyed": "frende"}, fault.InputInvalid, "yes_destroyed")
		h.fails(t, api.BackupDatabase, map[string]string{"componnet": "frende"}, fault.InputInvalid, "componnet")
		h.fails(t, api.RecoverSystem, map[string]string{"yes_destroy": "friende"}, fault.InputInvalid, "friende")
		h.fails(t, api.RecoverDatabase, map[string]string{"component": "friende", "yes_destroy": "frende"}, fault.InputInvalid, "friende")
		h.fails(t, api.RecoverSystem, map[string]string{"system": "friende", "yes_destroy": "frende"}, fault.InputInvalid, "friende")
	})
	row("wrong words on the command line", func(t *testing.T) {
		h.lifeboat(t, "recover", "system", "--yes-destroy", "friende").ended(t, fault.InputInvalid, "friende")
		h.lifeboat(t, "recover", "database", "friende", "--yes-destroy", "frende").ended(t, fault.NameUnknown, "friende")
		h.lifeboat(t, "recover", "system", "--to", "yesterday", "--yes-destroy", "frende").ended(t, fault.InputInvalid, "yesterday")
	})
	row("backup half copied", func(t *testing.T) {
		older := h.newest(t, "files/uploads")
		h.lifeboat(t, "backup", "files", "uploads").done(t)
		newest := h.newest(t, "files/uploads")
		require.NotEqual(t, older, newest)
		lost := h.loseChunk(t, newest)
		h.lifeboat(t, "recover", "files", "uploads", "--to", "backup:"+newest, "--yes-destroy", "frende").ended(t, fault.BackupIncomplete, newest, lost)

		h.start(t, "half", api.RecoverFiles, api.Queue, map[string]string{"from": "primary"})
		told := ""
		for _, step := range h.waits(t, "half").Steps {
			if step.ID == "files/uploads/preflight" {
				told = step.Outcome
			}
		}
		require.Contains(t, told, path.Base(older)+"; "+path.Base(newest)+" was passed over: no store that answers has ")
		require.Contains(t, told, lost)
		h.lifeboat(t, "abort", "half").done(t)
		h.lifeboat(t, "watch", "half").ended(t, fault.Aborted)
		require.Contains(t, h.lifeboat(t, "report", "half").done(t).stdout, newest+" was passed over: no store that answers has "+lost)
	})
	row("store unreachable", func(t *testing.T) {
		h.lifeboat(t, "watch", unreachable).ended(t, fault.StorageUnavailable, bucket)
	})
	told := h.lifeboat(t, "report", "recover/frende").done(t)
	require.Contains(t, told.stdout, string(fault.VersionMismatch), "the ledger has every run, and the wrong key did it no harm")
	h.keepsSecrets(t)
}

// fails starts a workflow as a person would at a terminal, and wants it to end in one fault.
func (h *house) fails(t *testing.T, workflow string, input any, kind fault.Kind, names ...string) {
	t.Helper()
	run := h.start(t, "by-hand-"+strconv.FormatInt(time.Now().UnixNano(), 36), workflow, api.Queue, input)
	found, err := h.kindOf(t, run)
	require.Equal(t, kind, found, "%v", err)
	require.NotEmpty(t, fault.HintOf(err))
	for _, name := range names {
		require.ErrorContains(t, err, name)
	}
	h.lifeboat(t, "watch", run.GetID()).ended(t, kind, names...)
}

// recoverWithoutStore starts the recovery of a system whose store nobody answers
// for, on a worker and a queue of its own. It gives the run's ID.
func (h *house) recoverWithoutStore(t *testing.T) string {
	t.Helper()
	lonely := h.plan
	lonely.System, lonely.Endpoint = "lonely", "http://"+nobody(t)
	h.write(t, "lonely.yaml", lonely)
	h.newWorker(t, "worker-lonely", "lonely.yaml", "lonely")
	return h.start(t, "recover/lonely", api.RecoverSystem, "lonely", map[string]string{"yes_destroy": "lonely"}).GetID()
}

// newest is the key of a component's newest backup.
func (h *house) newest(t *testing.T, component string) string {
	t.Helper()
	var found []listed
	said := h.lifeboat(t, "backups", "list", "--of", component, "--json").done(t)
	require.NoError(t, json.Unmarshal([]byte(said.stdout), &found))
	require.NotEmpty(t, found)
	return found[0].Key
}

// loseChunk removes a chunk behind everyone's back, and gives its key.
func (h *house) loseChunk(t *testing.T, key string) string {
	t.Helper()
	root := filepath.Join(h.s3.Dir, bucket)
	chunks, err := filepath.Glob(filepath.Join(root, key, "chunk", "*", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, chunks)
	require.NoError(t, os.Remove(chunks[0]))
	lost, err := filepath.Rel(root, chunks[0])
	require.NoError(t, err)
	return lost
}

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	port, err := lab.FreePort()
	require.NoError(t, err)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// readOnly serves the same store once more, by a server that allows reading
// alone, and gives its address.
func (h *house) readOnly(t *testing.T) string {
	t.Helper()
	recorded, err := os.ReadFile(h.lab.Path("programs", h.s3.Name()+".json"))
	require.NoError(t, err)
	var served lab.Program
	require.NoError(t, json.Unmarshal(recorded, &served))
	address := nobody(t)
	served.Name, served.Ready = "s3-read-only", "http://"+address+"/healthz"
	served.Args[slices.Index(served.Args, "--port")+1] = address
	served.Env = append(served.Env, "VGW_READ_ONLY=true")
	server, err := h.lab.Define(served)
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()))
	return "http://" + address
}

// foreign starts another PostgreSQL cluster with a database of the same name.
func (h *house) foreign(t *testing.T) *lab.Postgres {
	t.Helper()
	server, err := h.lab.Postgres(t.Context(), lab.PostgresOptions{Name: "foreign"})
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), server.DSN)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "create database frende")
	require.NoError(t, errors.Join(err, conn.Close(t.Context())))
	h.keep(t, map[string]string{"foreign": databaseURL(server.Port, server.Password)})
	return server
}

// oldPrograms are those of a PostgreSQL that is too old, as far as they say.
func (h *house) oldPrograms(t *testing.T) string {
	t.Helper()
	dir, err := h.lab.Folder("old", "bin")
	require.NoError(t, err)
	require.NoError(t, h.lab.Write(filepath.Join(dir, "postgres"), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.24'\n"), 0o755))
	return dir
}

// enormous puts a backup of the uploads into the store that says of itself that
// it is larger than any disk, and gives its key. It is older than the real one.
func (h *house) enormous(t *testing.T) string {
	t.Helper()
	store, err := s3.New(t.Context(), s3.Config{
		Name: "primary", Bucket: bucket, Region: h.s3.Region, Endpoint: h.s3.Endpoint, PathStyle: true, AccessKey: h.s3.AccessKey, SecretKey: h.s3.SecretKey,
	})
	require.NoError(t, err)
	ring, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte(h.secrets["encryption"]))}})
	require.NoError(t, err)
	opened, err := vault.New(vault.Config{System: "frende", Store: store, Keys: ring, Budget: vault.NewBudget(64 << 20), Parallel: 1})
	require.NoError(t, err)
	latest, err := opened.Latest(t.Context(), vault.Filter{Folder: "file-backups", Component: "uploads"})
	require.NoError(t, err)
	backup, err := opened.Open(t.Context(), latest.Key)
	require.NoError(t, err)
	facts := map[string]any{}
	require.NoError(t, backup.Manifest().Fact("tree", &facts))
	facts["content"] = int64(1) << 50
	told, err := json.Marshal(facts)
	require.NoError(t, err)
	writer, err := opened.Begin(t.Context(), vault.Intent{
		Folder: "file-backups", Kind: "tree", System: "frende", Component: "uploads", RunID: "enormous", Attempt: 1, At: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
	})
	require.NoError(t, err)
	manifest, err := writer.Commit(t.Context(), vault.Facts{"tree": told})
	require.NoError(t, err)
	return manifest.Key
}
