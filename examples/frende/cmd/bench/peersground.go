package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v4"

	"github.com/frende/lifeboat/examples/frende/site"
	"github.com/frende/lifeboat/internal/lab"
)

const (
	ourBucket, theirBucket = "lifeboat", "pgbackrest"
	stanza                 = "frende"
	pgbackrestSettings     = "2.45 or newer, full, zst 3, process-max 2, aes-256-cbc, repo1-bundle, start-fast"
)

// peers is the ground that the two share: one cluster, one S3 server.
type peers struct {
	*ground
	postgres     *lab.Postgres
	s3           *lab.S3
	size         int64 // of the cluster, in bytes
	parallel     int
	ours, theirs string // archive_command
	backedUp     bool   // each has a full backup
	theirConfig  string
	theirBlocks  string // a configuration of theirs with block incremental backups, in a repository of its own
}

// layPeers starts the servers, loads the cluster and makes both ready.
func (b *bench) layPeers(ctx context.Context, dir string) (*peers, error) {
	p, err := b.layOurs(ctx, dir, b.cluster)
	if err != nil {
		return nil, err
	}
	if err := p.configureTheirs(p.lab.Path("sockets")); err != nil {
		return nil, err
	}
	_, err = p.pgbackrest(ctx, "stanza-create")
	return p, err
}

// layOurs starts the servers, loads a cluster of so many MiB and makes Lifeboat ready.
func (b *bench) layOurs(ctx context.Context, dir string, megabytes int64) (*peers, error) {
	made, err := lab.Create(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := b.build(ctx, made); err != nil {
		return nil, err
	}
	p := &peers{ground: &ground{lab: made}}
	temporal, err := made.Temporal(ctx, lab.TemporalOptions{})
	if err != nil {
		return nil, err
	}
	if p.s3, err = made.S3(ctx, lab.S3Options{TLS: true}); err != nil {
		return nil, err
	}
	for _, bucket := range []string{ourBucket, theirBucket} {
		if err := p.s3.CreateBucket(ctx, bucket); err != nil {
			return nil, err
		}
	}
	sockets, err := made.Folder("sockets")
	if err != nil {
		return nil, err
	}
	p.postgres, err = made.Postgres(ctx, lab.PostgresOptions{
		ArchiveCommand: "true", // nothing before the first backup is needed
		Settings:       map[string]string{"unix_socket_directories": sockets, "max_wal_size": "4GB", "shared_buffers": "128MB"},
	})
	if err != nil {
		return nil, err
	}
	config := made.Path("lifeboat.yaml")
	p.env = []string{"LIFEBOAT_CONFIG=" + config, "TEMPORAL_ADDRESS=" + temporal.Address, "TEMPORAL_NAMESPACE=" + temporal.Namespace}
	p.ours = made.Path("bin", "lifeboat-wal") + " --config " + config + " wal-push %p"
	if err := p.load(ctx, megabytes); err != nil {
		return nil, err
	}
	if err := p.configureOurs(config); err != nil {
		return nil, err
	}
	worker, err := made.Define(lab.Program{Name: "worker", Args: []string{made.Path("bin", "lifeboat-worker")}, Env: p.env})
	if err != nil {
		return nil, err
	}
	if err := worker.Start(ctx); err != nil {
		return nil, err
	}
	if p.ground, err = openGround(ctx, dir); err != nil {
		return nil, err
	}
	configured, err := p.configuration()
	if err != nil {
		return nil, err
	}
	p.parallel = configured.Limits.Parallel
	return p, nil
}

// build puts the programs where the lab's account can run them.
func (b *bench) build(ctx context.Context, l *lab.Lab) error {
	bin, err := l.Folder("bin")
	if err != nil {
		return err
	}
	for _, made := range [][]string{
		{bin + "/lifeboat", "./starter"},
		{bin + "/lifeboat-wal", "./starter/lifeboat-wal"},
		{bin + "/lifeboat-worker", "./worker"},
		{bin + "/", "./examples/frende/app", "./examples/frende/cmd/load", "./examples/frende/cmd/service"},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o"}, made...)...)
		cmd.Dir, cmd.Env = b.root, os.Environ()
		if made[0] == bin+"/lifeboat-wal" {
			cmd.Env = append(cmd.Env, "CGO_ENABLED=0") // as make build does: it starts faster
		}
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w: %s", err, output)
		}
	}
	return l.Account.Own(bin)
}

// load fills a database as the demo does, with rows alone.
func (p *peers) load(ctx context.Context, megabytes int64) error {
	if err := p.sql(ctx, p.postgres.DSN, "create database frende"); err != nil {
		return err
	}
	folder, err := p.lab.Folder("frende")
	if err != nil {
		return err
	}
	text, err := yaml.Marshal(site.Storage{Database: p.database(), Photos: p.lab.Path("frende", "photos")})
	if err != nil {
		return err
	}
	if err := p.lab.Write(p.lab.Path("frende", site.StorageFile), text, 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"app", "migrate", "--config", folder},
		{"load", "--config", folder, "--photos", "0", "--keys", "0", "--database", strconv.FormatInt(megabytes, 10) + "MiB", "--seed", "1"},
	} {
		if output, err := p.lab.Command(ctx, p.lab.Path("bin", args[0]), args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", args[0], err, output)
		}
	}
	if err := p.sql(ctx, p.database(), "vacuum freeze", "checkpoint"); err != nil { // no hint bit is written while something is timed
		return err
	}
	p.size, err = bytesUnder(p.lab.Path("postgres", "data", "base"))
	return err
}

// sql runs statements.
func (p *peers) sql(ctx context.Context, dsn string, statements ...string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is left to save
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", strings.Fields(statement)[0], err)
		}
	}
	return nil
}

// database is the superuser's URL of Frende's database.
func (p *peers) database() string {
	at, err := url.Parse(p.postgres.DSN)
	if err != nil {
		return p.postgres.DSN // the lab made it, so it is one
	}
	at.Path = "/frende"
	return at.String()
}

// local is database through the server's socket: a worker on the database's own host
// connects like this, as pgBackRest does.
func (p *peers) local() string {
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", p.postgres.Password), Path: "/frende",
		RawQuery: url.Values{"host": {p.lab.Path("sockets")}, "port": {strconv.Itoa(p.postgres.Port)}}.Encode(),
	}).String()
}

// archiveBy hands the archive from one to the other and waits until the server does so.
func (p *peers) archiveBy(ctx context.Context, command string) error {
	quoted := "'" + strings.ReplaceAll(command, "'", "''") + "'"
	if err := p.sql(ctx, p.postgres.DSN, "alter system set archive_command = "+quoted, "select pg_reload_conf()"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.postgres.DSN)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is left to save
	return await(ctx, lookEvery, func() (bool, error) {
		var now string
		err := conn.QueryRow(ctx, "show archive_command").Scan(&now)
		return now == command, err
	})
}

const ourTemplate = `system: frende
plan: {version: "1.0", last_review: 2024-01-01, next_review: 2024-02-01}
stores:
  - {name: primary, bucket: {{.Bucket}}, region: us-east-1, endpoint: {{quote .Endpoint}}, path_style: true, ca_cert: {{quote .CACert}}, access_key: {{ref "access"}}, secret_key: {{ref "secret"}}}
keys:
  encryption: [{{ref "encryption"}}]
databases:
  - {name: frende, connection: {{ref "database"}}, data_dir: {{quote .DataDir}}, bin_dir: {{quote .BinDir}}, socket: {{quote .Socket}}, service: postgres}
services:
  - name: postgres
    role: server
    kind: command
    start: [{{quote .Service}}, --lab, {{quote .Lab}}, start, postgres]
    stop: [{{quote .Service}}, --lab, {{quote .Lab}}, stop, postgres]
    status: [{{quote .Service}}, --lab, {{quote .Lab}}, status, postgres]
`

// configureOurs writes lifeboat.yaml and the secrets it refers to.
func (p *peers) configureOurs(path string) error {
	if _, err := p.lab.Folder("secrets"); err != nil {
		return err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	for name, text := range map[string]string{
		"encryption": hex.EncodeToString(key), "database": p.local(), "access": p.s3.AccessKey, "secret": p.s3.SecretKey,
	} {
		if err := p.lab.Write(p.lab.Path("secrets", name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	parsed, err := template.New("lifeboat.yaml").Funcs(template.FuncMap{
		"quote": strconv.Quote,
		"ref":   func(name string) string { return strconv.Quote("file:" + p.lab.Path("secrets", name)) },
	}).Parse(ourTemplate)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	err = parsed.Execute(&text, map[string]string{
		"Bucket": ourBucket, "Endpoint": p.s3.Endpoint, "CACert": p.s3.CACert, "DataDir": p.postgres.DataDir, "BinDir": p.postgres.BinDir,
		"Socket": p.lab.Path("sockets", "wal.sock"), "Service": p.lab.Path("bin", "service"), "Lab": p.lab.Dir,
	})
	if err != nil {
		return err
	}
	return p.lab.Write(path, text.Bytes(), 0o644)
}

// configureTheirs writes pgbackrest.conf.
func (p *peers) configureTheirs(sockets string) error {
	at, err := url.Parse(p.s3.Endpoint)
	if err != nil {
		return err
	}
	places := map[string]string{}
	for _, name := range []string{"log", "lock", "spool"} {
		if places[name], err = p.lab.Folder("pgbackrest", name); err != nil {
			return err
		}
	}
	p.theirConfig = p.lab.Path("pgbackrest", "pgbackrest.conf")
	p.theirs = "PGPASSWORD= pgbackrest --config=" + p.theirConfig + " --stanza=" + stanza + " archive-push %p"
	text := fmt.Sprintf(`[global]
repo1-type=s3
repo1-path=/repo
repo1-s3-bucket=%s
repo1-s3-endpoint=%s
repo1-s3-region=%s
repo1-s3-uri-style=path
repo1-s3-key=%s
repo1-s3-key-secret=%s
repo1-storage-host=%s
repo1-storage-port=%s
repo1-storage-ca-file=%s
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=%s
repo1-retention-full=99
repo1-bundle=y
compress-type=zst
compress-level=3
process-max=2
start-fast=y
log-level-file=off
log-path=%s
lock-path=%s
spool-path=%s

[%s]
pg1-path=%s
pg1-port=%d
pg1-socket-path=%s
pg1-user=postgres
`, theirBucket, at.Hostname(), p.s3.Region, p.s3.AccessKey, p.s3.SecretKey, at.Hostname(), at.Port(), p.s3.CACert, rand.Text(),
		places["log"], places["lock"], places["spool"], stanza, p.postgres.DataDir, p.postgres.Port, sockets)
	p.theirBlocks = p.lab.Path("pgbackrest", "blocks.conf")
	// Its WAL goes nowhere: these backups are timed, and never restored.
	blocks := strings.Replace(text, "repo1-path=/repo\n", "repo1-path=/blocks\nrepo1-block=y\nbeta=y\narchive-check=n\n", 1)
	return errors.Join(p.lab.Write(p.theirConfig, []byte(text), 0o600), p.lab.Write(p.theirBlocks, []byte(blocks), 0o600))
}

// layBlocks makes the repository of block incremental backups ready.
func (p *peers) layBlocks(ctx context.Context) error {
	_, err := p.pgbackrestAs(ctx, p.theirBlocks, "stanza-create")
	return err
}

// pgbackrestBlocks makes a backup with block maps.
func (p *peers) pgbackrestBlocks(ctx context.Context, kind string) (time.Duration, error) {
	return p.pgbackrestAs(ctx, p.theirBlocks, kind, "backup")
}

// theirsIn restores pgBackRest's newest backup into a directory of this name, which it syncs, too.
func (p *peers) theirsIn(ctx context.Context, name string, flags ...string) (dir string, took time.Duration, err error) {
	if dir, err = p.lab.Folder("postgres", name); err != nil {
		return dir, 0, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return dir, 0, err
	}
	took, err = p.pgbackrest(ctx, append(append([]string{"--pg1-path=" + dir}, flags...), "restore")...)
	return dir, took, err
}
