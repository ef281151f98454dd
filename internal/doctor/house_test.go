package doctor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/doctor"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/vault/replicate"
	"github.com/frende/lifeboat/internal/wal"
)

const (
	queue    = "lifeboat"
	patience = time.Minute // for anything that is awaited
	tick     = 20 * time.Millisecond
)

// house is a small living system in which everything is well. All tests share
// it, and leave it as they found it.
type house struct {
	lab         *lab.Lab
	near, far   *lab.S3
	postgres    *lab.Postgres
	redis       *lab.Redis
	temporal    *lab.Temporal
	client      client.Client
	worker      worker.Worker
	system      system.System
	secretFiles map[string]string
}

var shared *house

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[2] == "wal-push" {
		os.Exit(archive(os.Args[1], os.Args[3]))
	}
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "doctor-")
	if err != nil {
		panic(err)
	}
	defer func() {
		if err := errors.Join(shared.leave(dir), os.RemoveAll(dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	shared = &house{}
	if err := shared.furnish(ctx, filepath.Join(dir, "lab")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func (h *house) leave(dir string) error {
	if h.worker != nil {
		h.worker.Stop()
	}
	if h.client != nil {
		h.client.Close()
	}
	return lab.Remove(context.Background(), filepath.Join(dir, "lab"))
}

// archive is PostgreSQL's archive_command: this program, called again.
func archive(config, path string) int {
	push := func() error {
		body, err := os.ReadFile(config)
		if err != nil {
			return err
		}
		var s system.System
		if err := json.Unmarshal(body, &s); err != nil {
			return err
		}
		opened, err := parts().Vault(context.Background(), s, nil)
		if err != nil {
			return err
		}
		to, err := wal.New(wal.Config{Vault: opened, Cluster: "orders"})
		if err != nil {
			return err
		}
		return to.Push(context.Background(), path, wal.PushOptions{})
	}
	if err := push(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func parts() *assembly.Assembly {
	return assembly.New(assembly.Config{Env: os.LookupEnv, Memory: 64 << 20, Retry: s3.Retry{Attempts: 2, Backoff: time.Millisecond}})
}

func (h *house) furnish(ctx context.Context, dir string) (err error) {
	if h.lab, err = lab.Create(ctx, dir); err != nil {
		return err
	}
	starting, starts := errgroup.WithContext(ctx)
	starting.Go(func() (err error) { h.near, err = h.lab.S3(starts, lab.S3Options{Name: "near"}); return err })
	starting.Go(func() (err error) {
		h.far, err = h.lab.S3(starts, lab.S3Options{Name: "far", Region: "eu-west-1"})
		return err
	})
	starting.Go(func() (err error) { h.redis, err = h.lab.Redis(starts, lab.RedisOptions{AppendOnly: true}); return err })
	starting.Go(func() (err error) {
		h.temporal, err = h.lab.Temporal(starts, lab.TemporalOptions{})
		return err
	})
	program, err := h.lab.Self("archiver")
	if err != nil {
		return err
	}
	starting.Go(func() (err error) {
		h.postgres, err = h.lab.Postgres(starts, lab.PostgresOptions{
			Settings:       map[string]string{"archive_timeout": "60s"},
			ArchiveCommand: fmt.Sprintf("%s %s wal-push %%p", program, h.lab.Path("system.json")),
		})
		return err
	})
	if err := errors.Join(starting.Wait(), h.buckets(ctx), h.describe()); err != nil {
		return err
	}
	if err := h.serve(ctx); err != nil {
		return err
	}
	return h.backUp(ctx)
}

// buckets makes a locked bucket near, an unlocked one far, and one without versions.
func (h *house) buckets(ctx context.Context) error {
	near := h.near.Client()
	name, plain, locked, days := "shop", "shop-unversioned", true, int32(1)
	_, err := near.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: &locked})
	if err != nil {
		return err
	}
	if _, err = near.PutObjectLockConfiguration(ctx, &awss3.PutObjectLockConfigurationInput{Bucket: &name, ObjectLockConfiguration: &types.ObjectLockConfiguration{
		ObjectLockEnabled: types.ObjectLockEnabledEnabled,
		Rule:              &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: &days}},
	}}); err != nil {
		return err
	}
	_, err = near.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &plain})
	return errors.Join(err, h.far.CreateBucket(ctx, name))
}

// describe writes what lifeboat.yaml would say.
func (h *house) describe() error {
	h.secretFiles = map[string]string{
		"key": strings.Repeat("0123456789abcdef", 4), "second": strings.Repeat("fedcba9876543210", 4), "database": h.postgres.DSN, "redis": h.redis.Password,
		"near-access": h.near.AccessKey, "near-secret": h.near.SecretKey, "far-access": h.far.AccessKey, "far-secret": h.far.SecretKey,
	}
	for name, text := range h.secretFiles {
		if err := h.lab.Write(h.lab.Path("home", name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, folder := range []string{"uploads", "settings", "logs"} {
		path, err := h.lab.Folder(folder)
		if err != nil {
			return err
		}
		if err := h.lab.Write(filepath.Join(path, "file"), []byte("content\n"), 0o644); err != nil {
			return err
		}
	}
	always := func(name string, role system.ServiceRole) system.Service {
		return system.Service{Name: name, Role: role, Kind: system.ServiceCommand, Start: []string{"true"}, Stop: []string{"true"}, Status: []string{"true"}, Timeout: system.Duration(20 * time.Second)}
	}
	const hour = system.Duration(time.Hour)
	listed, equal := 0, 3
	h.system = system.System{
		Name: "shop",
		Plan: system.Plan{NextReview: system.Date{Time: time.Now().Add(30 * 24 * time.Hour)}},
		Stores: []system.Store{
			{Name: "near", Bucket: "shop", Region: "us-east-1", Endpoint: h.near.Endpoint, PathStyle: true, AccessKey: h.ref("near-access"), SecretKey: h.ref("near-secret"), Replica: "far"},
			{Name: "far", Bucket: "shop", Region: "eu-west-1", Endpoint: h.far.Endpoint, PathStyle: true, AccessKey: h.ref("far-access"), SecretKey: h.ref("far-secret")},
		},
		Keys:   system.Keys{Encryption: []system.SecretRef{h.ref("key"), h.ref("second")}},
		Backup: system.Backup{Enabled: true, Compression: system.CompressionZstd, Retention: system.Duration(30 * 24 * time.Hour)},
		Databases: []system.Database{{
			Name: "orders", Cluster: "orders", Connection: h.ref("database"), Database: "postgres", DataDir: h.postgres.DataDir, BinDir: h.postgres.BinDir, Service: "postgres", RPO: hour,
		}},
		Caches:         []system.Cache{{Name: "sessions", Address: h.redis.Address, Password: h.ref("redis"), DataDir: h.redis.Dir, Config: h.redis.Config, Service: "redis", RPO: hour}},
		Files:          []system.FileSet{{Name: "uploads", Root: h.lab.Path("uploads"), RPO: 24 * hour}},
		Configurations: []system.FileSet{{Name: "settings", Root: h.lab.Path("settings"), RPO: hour}},
		Services:       []system.Service{always("postgres", system.RoleServer), always("redis", system.RoleServer), always("app", system.RoleApplication)},
		Migrations:     []system.Migration{{Name: "orders", Database: "orders", Command: []string{"true"}, Dir: "/"}},
		Checks: []system.Check{
			{Name: "rows", Kind: system.CheckSQL, Database: "orders", SQL: "SELECT true"}, {Name: "pong", Kind: system.CheckRedis, Cache: "sessions"},
		},
		Schedules: []system.Schedule{
			{Name: "all", Workflow: "BackupSystem", Every: hour},
			{Name: "proof", Workflow: "VerifyBackup", Level: &equal, Every: 24 * hour},
			{Name: "proof-older", Workflow: "VerifyBackup", Level: &equal, Random: true, Every: 168 * hour},
			{Name: "listed", Workflow: "VerifyBackup", Level: &listed, Every: hour},
			{Name: "dump", Workflow: "DumpDatabase", Of: "orders", Every: 24 * hour, Catchup: 24 * hour},
		},
		Targets:  []system.Target{{Name: "production", Kind: system.TargetProduction, Undo: system.Duration(7 * 24 * time.Hour)}},
		Contacts: system.Contacts{Primary: []system.Contact{{Role: "DBA", Email: "dba@shop.example"}}, Escalation: []system.Contact{{Role: "CTO", Email: "cto@shop.example"}}},
		Limits:   system.Limits{Memory: 64 << 20, Parallel: 2},
	}
	body, err := json.Marshal(h.system)
	if err != nil {
		return err
	}
	return h.lab.Write(h.lab.Path("system.json"), body, 0o644)
}

func (h *house) ref(name string) system.SecretRef {
	return system.SecretRef("file:" + h.lab.Path("home", name))
}

// serve runs a worker, so that somebody asks for work.
func (h *house) serve(ctx context.Context) (err error) {
	if h.client, err = h.dial(ctx); err != nil {
		return err
	}
	h.worker = worker.New(h.client, queue, worker.Options{Identity: "lifeboat-worker@test"})
	h.worker.RegisterWorkflowWithOptions(func(workflow.Context) error { return nil }, workflow.RegisterOptions{Name: "Nothing"})
	h.worker.RegisterActivity(func(context.Context) error { return nil })
	return h.worker.Start()
}

func (h *house) dial(ctx context.Context) (client.Client, error) {
	return client.DialContext(ctx, client.Options{HostPort: h.temporal.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
}

// backUp takes a backup of each component and copies it to the far region.
func (h *house) backUp(ctx context.Context) error {
	opener := parts()
	opened, err := opener.Vault(ctx, h.system, nil)
	if err != nil {
		return err
	}
	login, err := postgres.NewLogin(h.postgres.DSN, postgres.LoginOptions{})
	if err != nil {
		return err
	}
	records, err := opener.Ledger(ctx, h.system, "test")
	if err != nil {
		return err
	}
	for _, b := range []struct {
		folder, kind, component string
		write                   func(w *vault.Writer) (vault.Facts, error)
	}{
		{"database-backups", "base", "orders", func(w *vault.Writer) (vault.Facts, error) {
			_, err := postgres.BaseBackup(ctx, login, postgres.BackupOptions{Label: "test"}, streams{w})
			return vault.Facts{"postgres": json.RawMessage(`{}`)}, err
		}},
		{"database-backups", "sql.gz", "orders", content(ctx)},
		{"redis-backups", "rdb", "sessions", content(ctx)},
		{"file-backups", "tree", "uploads", content(ctx)},
		{"config-backups", "tree", "settings", content(ctx)},
	} {
		writer, err := opened.Begin(ctx, vault.Intent{Folder: b.folder, Kind: b.kind, System: "shop", Component: b.component, RunID: b.component, Attempt: 1, At: time.Now(), Codec: "zstd"})
		if err != nil {
			return err
		}
		facts, err := b.write(writer)
		if err != nil {
			return errors.Join(err, writer.Close())
		}
		manifest, err := writer.Commit(ctx, facts)
		if err := errors.Join(err, writer.Close()); err != nil {
			return err
		}
		if _, err := records.Append(ctx, ledger.Record{Kind: "backup", Subject: manifest.Key, Body: map[string]string{"proof": "L1"}}); err != nil {
			return err
		}
	}
	from, to, err := opener.Stores(ctx, h.system, h.system.Stores[0])
	if err != nil {
		return err
	}
	_, err = replicate.Run(ctx, replicate.Config{From: from, To: to, Memory: opener.Budget(), Parallel: 2})
	return err
}

type streams struct{ writer *vault.Writer }

func (s streams) Stream(ctx context.Context, name string) (io.WriteCloser, error) {
	return s.writer.Create(ctx, name)
}

func content(ctx context.Context) func(w *vault.Writer) (vault.Facts, error) {
	return func(w *vault.Writer) (vault.Facts, error) {
		stream, err := w.Create(ctx, "content")
		if err != nil {
			return nil, err
		}
		_, err = stream.Write([]byte("content"))
		return nil, errors.Join(err, stream.Close())
	}
}

// sql connects to the database.
func (h *house) sql(ctx context.Context, t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, h.postgres.DSN)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
	return conn
}

// config is that of an examination of the house, with the system changed.
func (h *house) config(t *testing.T, change func(s *system.System)) doctor.Config {
	t.Helper()
	body, err := json.Marshal(h.system)
	require.NoError(t, err)
	var s system.System
	require.NoError(t, json.Unmarshal(body, &s))
	if change != nil {
		change(&s)
	}
	return doctor.Config{
		System: s, File: "lifeboat.yaml", Parts: parts(), Services: service.New(service.Config{LogDir: h.lab.Path("logs")}),
		Temporal: h.dial, Namespace: h.temporal.Namespace, Queue: queue, Limit: 10 * time.Second, Whole: time.Minute,
	}
}

// examine runs an examination of the house, with the system changed.
func (h *house) examine(t *testing.T, change func(s *system.System), areas ...doctor.Area) examined {
	t.Helper()
	x := doctor.New(h.config(t, change))
	t.Cleanup(x.Close)
	return examined{x.Run(t.Context(), areas...)}
}

type examined struct{ doctor.Report }

// found gives the finding of this ID.
func (e examined) found(t *testing.T, id string) doctor.Finding {
	t.Helper()
	for _, f := range e.Findings {
		if f.ID() == id {
			return f
		}
	}
	require.FailNow(t, "there is no check "+id, "%v", e.ids(""))
	return doctor.Finding{}
}

// ids lists the findings of a status, or all.
func (e examined) ids(status doctor.Status) []string {
	ids := []string{}
	for _, f := range e.Findings {
		if status == "" || f.Status == status {
			ids = append(ids, f.ID())
		}
	}
	return ids
}

// is wants a finding of this status that says this, why it matters, and how it is mended.
func (e examined) is(t *testing.T, id string, status doctor.Status, what, mend string) doctor.Finding {
	t.Helper()
	f := e.found(t, id)
	require.Equal(t, status, f.Status, "%+v", f)
	require.Contains(t, f.What, what)
	require.NotEmpty(t, f.Why)
	require.Contains(t, f.Mend, mend)
	return f
}
