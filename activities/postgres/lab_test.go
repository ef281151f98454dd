package postgres_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/lab"
	state "github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

// helper is how this test program is called as archive_command and
// restore_command: helper CONFIG push PATH, helper CONFIG fetch PIN NAME PATH.
const helper = "archive-helper"

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == helper {
		err := archiveHelper(context.Background(), os.Args[2], os.Args[3:])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(wal.ExitCode(err))
	}
	os.Exit(run(m))
}

// helperProgram is this test program without the race detector, which triples the time
// that each of some thousand calls takes; the tests of internal/wal have it look at what
// is called here.
var helperProgram string

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "postgres-")
	if err != nil {
		panic(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	helperProgram = filepath.Join(dir, helper)
	if output, err := exec.Command("go", "test", "-c", "-ldflags=-s -w", "-o", helperProgram, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go test -c: %v: %s", err, output)
		return 1
	}
	return m.Run()
}

func archiveHelper(ctx context.Context, path string, args []string) error {
	body, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var at bucket
	if err := json.Unmarshal(body, &at); err != nil {
		return err
	}
	opened, err := at.vault(ctx, nil)
	if err != nil {
		return err
	}
	archive, err := wal.New(wal.Config{Vault: opened, Cluster: "frende", Patience: time.Millisecond})
	if err != nil {
		return err
	}
	if args[0] == "push" {
		return archive.Push(ctx, args[1], wal.PushOptions{})
	}
	pin, err := wal.ReadPin(args[1])
	if err != nil {
		return err
	}
	return archive.Fetch(ctx, pin, args[2], args[3])
}

// bucket is where backups and WAL go, and the key they are sealed with.
type bucket struct {
	Store s3.Config
	Key   string
	Rate  int64 // bytes per second that are read; 0 is unlimited
}

func (b bucket) vault(ctx context.Context, onFallback func(vault.Fallback)) (*vault.Vault, error) {
	opened, err := s3.New(ctx, b.Store)
	if err != nil {
		return nil, err
	}
	ring, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte(b.Key))}})
	if err != nil {
		return nil, err
	}
	return vault.New(vault.Config{
		System: "frende", Store: opened, Keys: ring, Budget: vault.NewBudget(192 << 20), Parallel: 2, ChunkSize: 4 << 20, RestoreRate: b.Rate,
		OnFallback: onFallback,
	})
}

// house is a system with one database, its store, and the activities for it.
type house struct {
	*lab.Postgres
	lab        *lab.Lab
	s3         *lab.S3
	at         bucket
	system     system.System
	activities *activities.Activities
	deps       activities.Deps
	service    *service
}

// service starts and stops the lab's server as Lifeboat's service does.
type service struct {
	server *lab.Postgres
	stops  int
	says   state.State // when not empty: what its status says
}

func (s *service) Check(system.Service) error { return nil }

func (s *service) Status(context.Context, system.Service) (state.State, error) {
	running, err := s.server.Running()
	switch {
	case s.says != "":
		return s.says, err
	case running:
		return state.Running, err
	}
	return state.Stopped, err
}

func (s *service) Start(ctx context.Context, _ system.Service) (bool, error) {
	running, err := s.server.Running()
	if err != nil || running {
		return false, err
	}
	return true, s.server.Start(ctx)
}

func (s *service) Stop(ctx context.Context, _ system.Service) (bool, error) {
	running, err := s.server.Running()
	if err != nil || !running {
		return false, err
	}
	s.stops++
	return true, s.server.Stop(ctx)
}

func build(t *testing.T) *house {
	t.Helper()
	h := &house{lab: lab.New(t)}
	var err error
	h.s3, err = h.lab.S3(t.Context(), lab.S3Options{})
	require.NoError(t, err)
	h.s3.NewBucket(t, "backups")
	key := make([]byte, 32)
	_, err = rand.Read(key)
	require.NoError(t, err)
	h.at = bucket{
		Store: s3.Config{
			Name: "primary", Bucket: "backups", Region: h.s3.Region, Endpoint: h.s3.Endpoint, PathStyle: true, AccessKey: h.s3.AccessKey, SecretKey: h.s3.SecretKey,
			Retry: s3.Retry{Attempts: 2, Backoff: time.Millisecond},
		},
		Key: hex.EncodeToString(key),
	}
	program := h.installHelper(t)
	h.Postgres, err = h.lab.Postgres(t.Context(), lab.PostgresOptions{ArchiveCommand: program + " push %p"})
	require.NoError(t, err)
	t.Cleanup(func() {
		logs, _ := filepath.Glob(h.DataDir + "*.run/postgresql.log")
		for _, path := range logs {
			if log, err := os.ReadFile(path); t.Failed() && err == nil {
				t.Logf("log of a staged server:\n%s", log)
			}
		}
	})
	h.service = &service{server: h.Postgres}
	h.system = system.System{
		Name: "frende", Backup: system.Backup{Compression: "zstd"},
		Databases: []system.Database{{
			Name: "frende", Cluster: "frende", Connection: "env:DSN", Database: "postgres", DataDir: h.DataDir, Service: "postgresql",
			Tables: []string{"users"}, Verify: []system.SQLCheck{{SQL: "SELECT count(*) > 0 FROM users"}},
		}},
		Services: []system.Service{{Name: "postgresql", Role: system.RoleServer, Kind: system.ServiceCommand}},
		Targets:  []system.Target{{Name: "production", Kind: system.TargetProduction}},
	}
	h.deps = activities.Deps{
		Vault: func(ctx context.Context, _ system.System, onFallback func(vault.Fallback)) (*vault.Vault, error) {
			return h.at.vault(ctx, onFallback)
		},
		Secret:   func(system.SecretRef) ([]byte, error) { return []byte(h.DSN), nil },
		Services: h.service,
		RestoreCommand: func(_ system.System, _ system.Database, pin string) string {
			return program + " fetch " + pin + " %f %p"
		},
	}
	h.activities = activities.New(h.deps)
	return h
}

// installHelper gives a command that runs this test program as the server's account.
func (h *house) installHelper(t *testing.T) (command string) {
	t.Helper()
	program, err := h.lab.Bring(helperProgram, helper)
	require.NoError(t, err)
	body, err := json.Marshal(h.at)
	require.NoError(t, err)
	config := h.lab.Path("programs", "bucket.json")
	require.NoError(t, h.lab.Write(config, body, 0o600))
	return program + " " + helper + " " + config
}

func (h *house) ref(run string) activities.Ref {
	return activities.Ref{System: h.system, Component: "frende", RunID: run}
}

func (h *house) exec(t *testing.T, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	for _, statement := range statements {
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// users gives the rows of the table, as text.
func (h *house) users(t *testing.T) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var rows string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT string_agg(name, ' ' ORDER BY name) FROM users").Scan(&rows))
	return rows
}

// switched ends the current segment, which is then archived, and gives its name.
func (h *house) switched(t *testing.T) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var name string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_walfile_name(pg_switch_wal())").Scan(&name))
	require.Eventually(t, func() bool {
		var newest string
		err := conn.QueryRow(t.Context(), "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver").Scan(&newest)
		return err == nil && newest[:min(len(newest), 24)] >= name
	}, time.Minute, 20*time.Millisecond)
	return name
}

// do runs one activity as Temporal does.
func do[In, Out any](t *testing.T, step func(context.Context, In) (Out, error), in In) (out Out, err error) {
	t.Helper()
	return doUnder(t, t.Context(), step, in)
}

func doUnder[In, Out any](t *testing.T, under context.Context, step func(context.Context, In) (Out, error), in In) (out Out, err error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	environment := suite.NewTestActivityEnvironment()
	environment.SetTestTimeout(5 * time.Minute)
	environment.RegisterActivityWithOptions(func(ctx context.Context) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(under, func() { cancel(context.Cause(under)) })()
		out, err = step(ctx, in)
		return nil
	}, activity.RegisterOptions{Name: "step"})
	_, failed := environment.ExecuteActivity("step")
	require.NoError(t, failed)
	return out, err
}

// must is do for a step that has to succeed.
func must[In, Out any](t *testing.T, step func(context.Context, In) (Out, error), in In) Out {
	t.Helper()
	out, err := do(t, step, in)
	require.NoError(t, err)
	return out
}

// beside lists what lies beside the data directory, besides its own folder's things.
func (h *house) beside(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(h.DataDir))
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		if strings.Contains(entry.Name(), "lifeboat") {
			names = append(names, entry.Name())
		}
	}
	return names
}
