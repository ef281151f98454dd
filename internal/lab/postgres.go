package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/frende/lifeboat/internal/fault"
)

// PostgresOptions say how a PostgreSQL server differs from the usual one:
// data checksums, scram passwords, wal_level replica, loopback TCP alone.
type PostgresOptions struct {
	Name           string            // default "postgres"; names its service, folder and log
	Settings       map[string]string // lines of postgresql.conf, unquoted
	ArchiveCommand string            // sets archive_mode, too
	Port           int               // default: a free one
	Password       string            // of the superuser postgres; default: a random one
	SegmentMiB     int               // of WAL; default: PostgreSQL's own
}

// Postgres is a PostgreSQL server of a lab.
type Postgres struct {
	*Service
	DSN      string // URL of the superuser postgres, with its password, database postgres
	Password string
	DataDir  string
	BinDir   string
	Port     int
	User     string // operating system account that owns DataDir
}

// Postgres makes a new cluster and starts its server.
func (l *Lab) Postgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	if o.Name == "" {
		o.Name = "postgres"
	}
	bin, err := PostgresBin()
	if err != nil {
		return nil, err
	}
	folder, err := l.Folder(o.Name)
	if err != nil {
		return nil, err
	}
	if o.Port == 0 {
		if o.Port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	if o.Password == "" {
		o.Password = rand.Text()
	}
	p := &Postgres{Password: o.Password, DataDir: filepath.Join(folder, "data"), BinDir: bin, Port: o.Port, User: l.Account.Name}
	p.DSN = p.dsn()
	if err := l.initdb(ctx, p, o); err != nil {
		return nil, err
	}
	return p, l.run(ctx, p, o.Name, p.settings(o))
}

// StandbyOptions say how a standby differs from its primary.
type StandbyOptions struct {
	Name        string            // default "standby"; names its service, folder and log
	Settings    map[string]string // lines of postgresql.conf, unquoted
	Tablespaces map[string]string // where the primary has one, and where the standby has it
}

// Standby makes a copy of a running server and starts it as a standby, which follows
// that server by streaming replication. Its superuser has the primary's password.
func (l *Lab) Standby(ctx context.Context, of *Postgres, o StandbyOptions) (*Postgres, error) {
	if o.Name == "" {
		o.Name = "standby"
	}
	folder, err := l.Folder(o.Name)
	if err != nil {
		return nil, err
	}
	p := &Postgres{Password: of.Password, DataDir: filepath.Join(folder, "data"), BinDir: of.BinDir, User: of.User}
	if p.Port, err = FreePort(); err != nil {
		return nil, err
	}
	p.DSN = p.dsn()
	args := []string{
		"--pgdata", p.DataDir, "--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--no-sync",
		"--host=127.0.0.1", fmt.Sprintf("--port=%d", of.Port), "--username=postgres",
	}
	for from, to := range o.Tablespaces {
		args = append(args, "--tablespace-mapping="+from+"="+to)
	}
	cmd := l.Command(ctx, filepath.Join(p.BinDir, "pg_basebackup"), args...)
	cmd.Env = append(cmd.Env, "PGPASSWORD="+of.Password)
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fault.Newf(fault.ServerFailed, "pg_basebackup", p.DataDir, "%w: %s", err, bytes.TrimSpace(output))
	}
	settings := map[string]string{"port": fmt.Sprint(p.Port)}
	maps.Copy(settings, o.Settings)
	return p, l.run(ctx, p, o.Name, settings)
}

func (p *Postgres) dsn() string {
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", p.Password), Host: loopback(p.Port), Path: "/postgres",
		RawQuery: "sslmode=disable",
	}).String()
}

// run defines the service of a cluster that is made, and starts it.
func (l *Lab) run(ctx context.Context, p *Postgres, name string, settings map[string]string) (err error) {
	if err := appendTo(filepath.Join(p.DataDir, "postgresql.conf"), settings); err != nil {
		return fault.New(fault.PathFailed, "configure", name, err)
	}
	p.Service, err = l.Define(Program{
		Name:  name,
		Args:  []string{filepath.Join(p.BinDir, "postgres"), "-D", p.DataDir},
		Stop:  syscall.SIGINT, // fast: open sessions are ended
		Ready: p.DSN,
	})
	if err != nil {
		return err
	}
	return p.Start(ctx)
}

// initdb does not sync what it makes: a lab does not outlive its machine.
func (l *Lab) initdb(ctx context.Context, p *Postgres, o PostgresOptions) error {
	password := filepath.Join(filepath.Dir(p.DataDir), ".password")
	if err := l.Write(password, []byte(p.Password), 0o600); err != nil {
		return err
	}
	args := []string{
		"--pgdata", p.DataDir, "--username", "postgres", "--pwfile", password,
		"--auth", "scram-sha-256", "--data-checksums", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
	}
	if o.SegmentMiB != 0 {
		args = append(args, fmt.Sprintf("--wal-segsize=%d", o.SegmentMiB))
	}
	cmd := l.Command(ctx, filepath.Join(p.BinDir, "initdb"), args...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fault.Newf(fault.ServerFailed, "initdb", p.DataDir, "%w: %s", err, bytes.TrimSpace(output))
	}
	if err := os.Remove(password); err != nil {
		return fault.New(fault.PathFailed, "remove", password, err)
	}
	return nil
}

func (p *Postgres) settings(o PostgresOptions) map[string]string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    fmt.Sprint(p.Port),
		"unix_socket_directories": "",
		"wal_level":               "replica",
		"max_wal_senders":         "10",
		"hot_standby":             "on",
		"log_line_prefix":         "%m [%p] ",
		"shared_buffers":          "32MB",
	}
	if o.ArchiveCommand != "" {
		settings["archive_mode"] = "on"
		settings["archive_command"] = o.ArchiveCommand
	}
	for name, value := range o.Settings {
		settings[name] = value
	}
	return settings
}

func appendTo(path string, settings map[string]string) error {
	var lines []string
	for name, value := range settings {
		lines = append(lines, fmt.Sprintf("%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''")))
	}
	slices.Sort(lines)
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(strings.Join(lines, "")); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

// StopMode is how a PostgreSQL server ends its sessions when it stops.
type StopMode syscall.Signal

// Modes of pg_ctl stop, by the signal they send.
const (
	Smart     = StopMode(syscall.SIGTERM) // waits for them
	Fast      = StopMode(syscall.SIGINT)  // ends them
	Immediate = StopMode(syscall.SIGQUIT) // crashes; the next start recovers
)

// StopBy stops the server in a mode and waits for its end.
func (p *Postgres) StopBy(ctx context.Context, mode StopMode) error {
	return p.stop(ctx, syscall.Signal(mode))
}
