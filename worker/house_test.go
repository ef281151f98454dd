package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

const (
	bucket   = "frende-db-backups"
	patience = 90 * time.Second // for anything that is awaited
)

// house is a small living system with everything that Lifeboat needs around it.
type house struct {
	lab      *lab.Lab
	temporal *lab.Temporal
	s3       *lab.S3
	postgres *lab.Postgres
	redis    *lab.Redis
	app      *lab.Service
	worker   *lab.Service
	client   client.Client
	dsn      string // of the protected database
	uploads  string
	settings string
	plan     plan // what lifeboat.yaml says when nothing is wrong
	secrets  map[string]string
	said     *bytes.Buffer // everything that any command printed
}

// plan is what can be changed in lifeboat.yaml.
type plan struct {
	System     string
	Endpoint   string
	Key        string // name of a secret file
	Connection string // name of a secret file
	DataDir    string
	BinDir     string
	Socket     string // where the worker takes WAL
	Supervisor string // that starts and stops services
	Minimum    int    // of users that a restored database must have
	More       string // appended
}

const planTemplate = `system: {{.System}}
plan: {version: "1.0", last_review: 2024-01-01, next_review: 2024-02-01}
stores:
  - {name: primary, bucket: {{.Bucket}}, region: us-east-1, endpoint: {{.Endpoint}}, path_style: true, access_key: {{ref "s3-access"}}, secret_key: {{ref "s3-secret"}}}
keys:
  encryption: [{{ref .Key}}]
databases:
  - name: frende
    critical: true
    connection: {{ref .Connection}}
    data_dir: {{.DataDir}}
    bin_dir: {{.BinDir}}
    socket: {{.Socket}}
    service: postgres
    tables: [users]
    verify: [{sql: SELECT count(*) FROM users, minimum: {{.Minimum}}}]
caches:
  - {name: sessions, critical: true, address: "{{.Redis}}", password: {{ref "redis"}}, data_dir: {{.RedisDir}}, config: {{.RedisConfig}}, service: redis}
files:
  - {name: uploads, root: {{.Uploads}}}
configurations:
  - {name: frende, root: {{.Settings}}}
services:
  - {name: postgres, role: server, kind: command, {{service "postgres"}}}
  - {name: redis, role: server, kind: command, {{service "redis"}}}
  - {name: app, kind: command, {{service "app"}}}
checks:
  - {name: database, kind: sql, database: frende, sql: SELECT count(*) > 0 FROM users}
  - {name: cache, kind: redis, cache: sessions}
{{.More}}`

// newHouse starts everything and takes no backup yet.
func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{lab: lab.New(t), said: &bytes.Buffer{}, secrets: map[string]string{}}
	starting, ctx := errgroup.WithContext(t.Context())
	starting.Go(func() (err error) {
		if h.s3, err = h.lab.S3(ctx, lab.S3Options{}); err != nil {
			return err
		}
		return h.s3.CreateBucket(ctx, bucket)
	})
	starting.Go(func() (err error) { h.redis, err = h.lab.Redis(ctx, lab.RedisOptions{AppendOnly: true}); return err })
	starting.Go(func() (err error) { h.temporal, err = h.lab.Temporal(ctx, lab.TemporalOptions{}); return err })
	require.NoError(t, starting.Wait())

	port, err := lab.FreePort()
	require.NoError(t, err)
	password := rand.Text()
	h.dsn = databaseURL(port, password)
	h.keep(t, map[string]string{
		"encryption": randomKey(t), "database": h.dsn, "redis": h.redis.Password, "s3-access": h.s3.AccessKey, "s3-secret": h.s3.SecretKey,
	})
	h.secrets["database password"] = password
	delete(h.secrets, "s3-access") // an access key's name is no secret
	for _, name := range []string{"home/tmp", "frende/uploads", "frende/settings"} {
		_, err := h.lab.Folder(strings.Split(name, "/")...)
		require.NoError(t, err)
	}
	h.uploads, h.settings = h.lab.Path("frende", "uploads"), h.lab.Path("frende", "settings")
	bin, err := lab.PostgresBin()
	require.NoError(t, err)
	h.plan = plan{System: "frende", Endpoint: h.s3.Endpoint, Key: "encryption", Connection: "database", DataDir: h.lab.Path("postgres", "data"), BinDir: bin, Socket: h.lab.Path("wal.sock"), Supervisor: program("service"), Minimum: 1}
	// PostgreSQL has a copy of its own, so that a row's mistake is the worker's and the operator's alone.
	h.write(t, "archive.yaml", h.plan)
	h.write(t, "lifeboat.yaml", h.plan)
	h.postgres, err = h.lab.Postgres(t.Context(), lab.PostgresOptions{
		Port: port, Password: password, Settings: map[string]string{"archive_timeout": "60s"},
		ArchiveCommand: fmt.Sprintf("while [ -e %s ]; do sleep 0.1; done; %s --config %s wal-push %%p", h.hold(), program("lifeboat"), h.lab.Path("archive.yaml")),
	})
	require.NoError(t, err)
	h.fill(t)

	h.app, err = h.lab.Define(lab.Program{Name: "app", Args: []string{"/usr/bin/sleep", "infinity"}})
	require.NoError(t, err)
	require.NoError(t, h.app.Start(t.Context()))
	h.worker = h.newWorker(t, "worker", "lifeboat.yaml", api.Queue)
	h.client, err = client.DialContext(t.Context(), client.Options{HostPort: h.temporal.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	require.NoError(t, err)
	t.Cleanup(h.client.Close)
	return h
}

func databaseURL(port int, password string) string {
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/frende", RawQuery: "sslmode=disable",
	}).String()
}

func randomKey(t *testing.T) string {
	t.Helper()
	key := make([]byte, 32)
	_, err := rand.Read(key)
	require.NoError(t, err)
	return hex.EncodeToString(key)
}

// hold is a file that keeps PostgreSQL from archiving for as long as it is there.
func (h *house) hold() string { return h.lab.Path("hold") }

func (h *house) secret(name string) string { return h.lab.Path("secrets", name) }

// keep writes secrets into files, and remembers them to look for them later.
func (h *house) keep(t *testing.T, secrets map[string]string) {
	t.Helper()
	_, err := h.lab.Folder("secrets")
	require.NoError(t, err)
	for name, text := range secrets {
		h.secrets[name] = text
		require.NoError(t, h.lab.Write(h.secret(name), []byte(text), 0o600))
	}
}

// write writes a configuration.
func (h *house) write(t *testing.T, name string, p plan) {
	t.Helper()
	parsed, err := template.New(name).Funcs(template.FuncMap{
		"ref": func(name string) string { return strconv.Quote("file:" + h.secret(name)) },
		"service": func(name string) string {
			verbs := make([]string, 0, 3)
			for _, verb := range []string{"start", "stop", "status"} {
				verbs = append(verbs, fmt.Sprintf("%s: [%q, --lab, %q, %s, %s]", verb, p.Supervisor, h.lab.Dir, verb, name))
			}
			return strings.Join(verbs, ", ")
		},
	}).Parse(planTemplate)
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, parsed.Execute(&text, map[string]any{
		"System": p.System, "Bucket": bucket, "Endpoint": p.Endpoint, "Key": p.Key, "Connection": p.Connection, "DataDir": p.DataDir, "BinDir": p.BinDir, "Minimum": p.Minimum, "More": p.More,
		"Redis": h.redis.Address, "RedisDir": h.redis.Dir, "RedisConfig": h.redis.Config, "Uploads": h.uploads, "Settings": h.settings,
	}))
	require.NoError(t, h.lab.Write(h.lab.Path(name), text.Bytes(), 0o644))
}

// configured changes lifeboat.yaml until the test ends. The worker reads it anew for each run.
func (h *house) configured(t *testing.T, change func(*plan)) {
	t.Helper()
	changed := h.plan
	change(&changed)
	h.write(t, "lifeboat.yaml", changed)
	t.Cleanup(func() { h.write(t, "lifeboat.yaml", h.plan) })
}

// fill makes the data that must never be lost.
func (h *house) fill(t *testing.T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.postgres.DSN)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "create database frende")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	h.sql(t, "create table users (id int primary key, name text not null)")
	h.sql(t, "insert into users select n, md5(n::text) from generate_series(1, 1000) n")
	db := h.cache(t)
	for i := range 100 {
		require.NoError(t, db.Set(t.Context(), fmt.Sprintf("session:%d", i), rand.Text(), 0).Err())
	}
	for i := range 20 {
		require.NoError(t, h.lab.Write(filepath.Join(h.uploads, fmt.Sprintf("photo-%d.jpg", i)), []byte(rand.Text()), 0o640))
	}
	require.NoError(t, h.lab.Write(filepath.Join(h.settings, "app.yaml"), []byte("title: Frende\n"), 0o640))
}

func (h *house) sql(t *testing.T, statement string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.dsn)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), statement, args...)
	require.NoError(t, errors.Join(err, conn.Close(t.Context())))
}

// text asks the database for one value.
func (h *house) text(t *testing.T, query string) (answer string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.dsn)
	require.NoError(t, err)
	err = conn.QueryRow(t.Context(), query).Scan(&answer)
	require.NoError(t, errors.Join(err, conn.Close(t.Context())))
	return answer
}

func (h *house) cache(t *testing.T) *redis.Client {
	t.Helper()
	db := redis.NewClient(&redis.Options{Addr: h.redis.Address, Password: h.redis.Password})
	t.Cleanup(func() { db.Close() })
	return db
}

func (h *house) env(config string) []string {
	return []string{
		"LIFEBOAT_CONFIG=" + h.lab.Path(config), "TEMPORAL_ADDRESS=" + h.temporal.Address,
		"TEMPORAL_NAMESPACE=" + h.temporal.Namespace, "TMPDIR=" + h.tmp(),
	}
}

// tmp is the temporary directory of Lifeboat alone.
func (h *house) tmp() string { return h.lab.Path("home", "tmp") }

func (h *house) newWorker(t *testing.T, name, config, queue string) *lab.Service {
	t.Helper()
	worker, err := h.lab.Define(lab.Program{Name: name, Args: []string{program("lifeboat-worker"), "-queue", queue}, Env: h.env(config)})
	require.NoError(t, err)
	require.NoError(t, worker.Start(t.Context()))
	return worker
}

// outcome is what became of a command line.
type outcome struct {
	line           string
	code           int
	stdout, stderr string
}

// lifeboat runs the lifeboat command as an operator would, to its end.
func (h *house) lifeboat(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := h.lab.Command(ctx, program("lifeboat"), args...)
	cmd.Env = append(cmd.Env, h.env("lifeboat.yaml")...)
	return h.run(t, cmd)
}

func (h *house) run(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	o := outcome{line: strings.Join(cmd.Args[1:], " "), stdout: stdout.String(), stderr: stderr.String()}
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		o.code = ended.ExitCode()
	} else {
		require.NoError(t, err)
	}
	h.said.WriteString(o.stdout + o.stderr)
	return o
}

// done wants success.
func (o outcome) done(t *testing.T) outcome {
	t.Helper()
	require.Zero(t, o.code, "lifeboat %s\n%s%s", o.line, o.stdout, o.stderr)
	return o
}

// ended wants exactly this fault: its documented exit code, one line that says
// what it is and names its subject, and a hint.
func (o outcome) ended(t *testing.T, kind fault.Kind, names ...string) {
	t.Helper()
	said := "lifeboat " + o.line + "\n" + o.stdout + o.stderr
	require.Equal(t, kind.Definition().Exit, o.code, "%s", said)
	var line, hint string
	for text := range strings.Lines(o.stderr) {
		switch {
		case strings.HasPrefix(text, "lifeboat: "):
			require.Empty(t, line, "one error is told: %s", said)
			line = text
		case strings.HasPrefix(text, "HINT: "):
			hint = text
		}
	}
	require.Contains(t, line, kind.Definition().Summary, "%s", said)
	require.Greater(t, len(strings.TrimSpace(hint)), len("HINT: "), "%s", said)
	for _, name := range names {
		require.Contains(t, o.stderr, name, "the subject is named: %s", said)
	}
}

// start starts a workflow as `temporal workflow start` does: under any ID, with any input.
func (h *house) start(t *testing.T, id, kind, queue string, input ...any) client.WorkflowRun {
	t.Helper()
	run, err := h.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: queue}, kind, input...)
	require.NoError(t, err)
	return run
}

// kindOf gives the fault that a run ended with, as its history names it.
func (h *house) kindOf(t *testing.T, run client.WorkflowRun) (fault.Kind, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := temporalfault.FromTemporal(run.Get(ctx, nil))
	return fault.KindOf(err), err
}

// progress asks a run where it stands.
func (h *house) progress(t *testing.T, id string) (p api.Progress) {
	t.Helper()
	answer, err := h.client.QueryWorkflow(t.Context(), id, "", api.QueryProgress)
	require.NoError(t, err)
	require.NoError(t, answer.Get(&p))
	return p
}

// waits returns when a recovery waits for a person.
func (h *house) waits(t *testing.T, id string) api.Progress {
	t.Helper()
	var p api.Progress
	await(t, id+" to wait for approval", func() bool {
		p = h.progress(t, id)
		require.Nil(t, p.Finished, "%s", p.Failure)
		return p.Phase == api.PhaseWaiting
	})
	return p
}

// unheld returns when no recovery holds the system. Temporal ends the hold of one
// that was terminated a moment after it.
func (h *house) unheld(t *testing.T) {
	t.Helper()
	await(t, "the hold to be let go", func() bool {
		running, err := temporal.Running(t.Context(), h.client, api.HoldID("frende"))
		require.NoError(t, err)
		return !running
	})
}

// await looks again and again until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			require.FailNow(t, "waited in vain for "+what)
		case <-ticker.C:
		}
	}
}
