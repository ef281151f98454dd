package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v4"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/examples/frende/site"
	"github.com/frende/lifeboat/internal/lab"
)

const (
	primaryBucket = "frende-db-backups"
	replicaBucket = "frende-db-backups-replica"
)

// ground is all that the story is played on.
type ground struct {
	regions     [2]*lab.S3 // the primary, and the second region
	redis       *lab.Redis
	temporal    *lab.Temporal
	postgres    *lab.Postgres
	worker      *lab.Service
	oracle      *lab.Service
	frontend    string            // host:port
	backends    map[string]string // name: host:port
	config      string            // Frende's configuration files
	photos      string
	postgresBin string
	sandbox     rehearsal
	restoreRate int64     // bytes per second; 0: unlimited
	accident    time.Time // that somebody made, by the server's log
}

// lay builds the programs and starts every server, each when what it needs is there.
func (d *demo) lay(ctx context.Context) (err error) {
	if found := earlier(d.dir); found != "" {
		d.note("end and remove what was there: %s", found)
	}
	if d.lab, err = lab.Create(ctx, d.dir); err != nil {
		return err
	}
	building, buildCtx := errgroup.WithContext(ctx)
	building.Go(func() error { return d.build(buildCtx) })
	if err := d.startServers(ctx); err != nil {
		return err
	}
	if err := building.Wait(); err != nil {
		return err
	}
	if err := d.configure(ctx); err != nil {
		return err
	}
	if err := d.startApplication(ctx); err != nil {
		return err
	}
	d.laid = true
	return nil
}

func (d *demo) program(name string) string { return filepath.Join(d.programs, name) }

func (d *demo) lifeboatYAML() string { return d.lab.Path("lifeboat.yaml") }

// build makes the programs in the lab, unless they were made elsewhere before.
func (d *demo) build(ctx context.Context) (err error) {
	if d.programs != "" {
		return nil
	}
	if d.programs, err = d.lab.Folder("bin"); err != nil {
		return err
	}
	if err := makePrograms(ctx, d.root, d.programs); err != nil {
		return err
	}
	return d.lab.Account.Own(d.programs)
}

// makePrograms builds in the project's folder, as anybody would, into the folder bin.
func makePrograms(ctx context.Context, root, bin string) error {
	for _, made := range [][]string{
		{filepath.Join(bin, "lifeboat"), "./starter"},
		{filepath.Join(bin, "lifeboat-wal"), "./starter/lifeboat-wal"},
		{filepath.Join(bin, "lifeboat-worker"), "./worker"},
		{bin + "/", "./examples/frende/app", "./examples/frende/cmd/journey", "./examples/frende/cmd/load", "./examples/frende/cmd/oracle", "./examples/frende/cmd/service", "./examples/frende/cmd/wreck"},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o"}, made...)...)
		cmd.Dir, cmd.Env = root, os.Environ()
		if filepath.Base(made[0]) == "lifeboat-wal" {
			cmd.Env = append(cmd.Env, "CGO_ENABLED=0") // as make build does: it starts faster
		}
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %v: %w: %s", made[1:], err, output)
		}
	}
	return nil
}

// startServers starts what does not need Lifeboat.
func (d *demo) startServers(ctx context.Context) error {
	starting, ctx := errgroup.WithContext(ctx)
	for i, region := range []struct{ name, bucket string }{{"us-east-1", primaryBucket}, {"eu-west-1", replicaBucket}} {
		starting.Go(func() (err error) {
			if d.regions[i], err = d.lab.S3(ctx, lab.S3Options{Name: "s3-" + region.name, Region: region.name}); err != nil {
				return err
			}
			return d.regions[i].CreateBucket(ctx, region.bucket)
		})
	}
	starting.Go(func() (err error) { d.redis, err = d.lab.Redis(ctx, lab.RedisOptions{AppendOnly: true}); return err })
	starting.Go(func() (err error) { d.temporal, err = d.lab.Temporal(ctx, lab.TemporalOptions{}); return err })
	return starting.Wait()
}

// configure writes Lifeboat's configuration and starts what needs it:
// PostgreSQL, which archives through the lifeboat command, and the worker.
func (d *demo) configure(ctx context.Context) (err error) {
	if d.config, err = d.lab.Folder("frende", "config"); err != nil {
		return err
	}
	if d.photos, err = d.lab.Folder("frende", "uploads"); err != nil {
		return err
	}
	addresses := make([]string, 3)
	for i := range addresses {
		port, err := lab.FreePort()
		if err != nil {
			return err
		}
		addresses[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	d.frontend = addresses[0]
	d.backends = map[string]string{"backend-1": addresses[1], "backend-2": addresses[2]}
	port, err := lab.FreePort()
	if err != nil {
		return err
	}
	if err := d.plan(); err != nil {
		return err
	}
	password := rand.Text()
	if err := d.writeSecrets(superuserURL(port, password, "frende")); err != nil {
		return err
	}
	if d.postgresBin, err = lab.PostgresBin(); err != nil {
		return err
	}
	text, err := d.lifeboatConfiguration()
	if err != nil {
		return err
	}
	if err := d.lab.Write(d.lifeboatYAML(), text, 0o644); err != nil {
		return err
	}
	d.postgres, err = d.lab.Postgres(ctx, lab.PostgresOptions{
		Port: port, Password: password,
		ArchiveCommand: fmt.Sprintf("%s --config %s wal-push %%p", d.program("lifeboat-wal"), d.lifeboatYAML()),
		Settings: map[string]string{
			"archive_timeout": fmt.Sprintf("%ds", int(d.archive.Seconds())),
			"log_statement":   "ddl", "log_timezone": "UTC", // whoever made an accident looks for its time here
		},
	})
	if err != nil {
		return err
	}
	d.worker, err = d.lab.Define(lab.Program{Name: "worker", Args: []string{d.program("lifeboat-worker")}, Env: d.lifeboatEnv()})
	if err != nil {
		return err
	}
	if err := d.worker.Start(ctx); err != nil {
		return err
	}
	d.note("PostgreSQL 127.0.0.1:%d, Redis %s, S3 %s and %s", port, d.redis.Address, d.regions[0].Endpoint, d.regions[1].Endpoint)
	d.note("Temporal %s, Web UI %s", d.temporal.Address, d.temporal.UIAddress)
	return nil
}

func superuserURL(port int, password, database string) string {
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}).String()
}

func (d *demo) lifeboatEnv() []string {
	return []string{"LIFEBOAT_CONFIG=" + d.lifeboatYAML(), "TEMPORAL_ADDRESS=" + d.temporal.Address, "TEMPORAL_NAMESPACE=" + d.temporal.Namespace}
}

func (d *demo) secret(name string) string { return d.lab.Path("secrets", name) }

// writeSecrets puts each secret into a file that only the account can read.
func (d *demo) writeSecrets(connection string) error {
	folder, err := d.lab.Folder("secrets")
	if err != nil {
		return err
	}
	if err := os.Chmod(folder, 0o700); err != nil {
		return err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	for name, text := range map[string]string{
		"encryption": hex.EncodeToString(key), "database": connection, "redis": d.redis.Password,
		"primary-access": d.regions[0].AccessKey, "primary-secret": d.regions[0].SecretKey,
		"replica-access": d.regions[1].AccessKey, "replica-secret": d.regions[1].SecretKey,
	} {
		if err := d.lab.Write(d.secret(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// startApplication makes Frende's database, configures it, and starts it.
func (d *demo) startApplication(ctx context.Context) error {
	password := rand.Text()
	if err := d.createDatabase(ctx, password); err != nil {
		return err
	}
	dsn := url.URL{
		Scheme: "postgres", User: url.UserPassword("frende", password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(d.postgres.Port)), Path: "/frende", RawQuery: "sslmode=disable",
	}
	for name, value := range map[string]any{
		site.StorageFile: site.Storage{Database: dsn.String(), Redis: site.Redis{Address: d.redis.Address, Password: d.redis.Password}, Photos: d.photos},
		site.NetworkFile: site.Network{Frontend: d.frontend, Backends: d.backends},
		site.LookFile:    site.Look{Title: "Frende", Welcome: "People who like the same things."},
	} {
		text, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		if err := d.lab.Write(filepath.Join(d.config, name), text, 0o600); err != nil {
			return err
		}
	}
	if err := d.runProgram(ctx, "app", "migrate", "--config", d.config); err != nil {
		return err
	}
	programs := []lab.Program{{Name: "frontend", Args: []string{d.program("app"), "frontend", "--config", d.config}, Ready: "http://" + d.frontend + "/healthz"}}
	for name, address := range d.backends {
		programs = append(programs, lab.Program{
			Name: name, Args: []string{d.program("app"), "backend", "--config", d.config, "--name", name}, Ready: "http://" + address + "/readyz",
		})
	}
	for _, p := range programs {
		service, err := d.lab.Define(p)
		if err != nil {
			return err
		}
		if err := service.Start(ctx); err != nil {
			return err
		}
	}
	if err := d.prepareRehearsal(dsn); err != nil {
		return err
	}
	d.note("Frende http://%s, two back ends behind it", d.frontend)
	return nil
}

func (d *demo) createDatabase(ctx context.Context, password string) error {
	conn, err := pgx.Connect(ctx, d.postgres.DSN)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is left to save
	// The password is letters and digits; DDL takes no parameters.
	for _, statement := range []string{"create role frende login password '" + password + "'", "create database frende owner frende"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("create database: %w", err)
		}
	}
	return nil
}

// runProgram runs one of the built programs to its end, as the lab's account.
func (d *demo) runProgram(ctx context.Context, name string, args ...string) error {
	cmd := d.lab.Command(ctx, d.program(name), args...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, output)
	}
	return nil
}
