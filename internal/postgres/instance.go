package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// InstanceConfig says how a staged server is run.
type InstanceConfig struct {
	DataDir        string // staged
	BinDir         string
	Owner          Account
	RunDir         string // made by Account.MakeRunDir; log and settings go here
	SocketDir      string // short path (the system allows about 100 bytes); made when missing
	Superuser      string // role to ask it as
	Login          string // role to ask it as when that one may not log in; may be empty
	Version        int    // server_version_num of the backup
	Timeline       uint32 // recovery is pinned to it
	Goal           Goal   // where it stops
	RestoreCommand string // with %f and %p; exit 0, 1 (past the end) or 126 (all else)
	Preload        string // shared_preload_libraries of the source
	Environment    []string
	Last           Segment // last pinned WAL segment
	SegmentSize    int64
	Room           func() error // asked while it replays: what it fails with, with NoSpace, ends the server; may be nil
	Restarts       int          // how often the server is started again without progress; 0 is 5
	Quiet          bool         // a copy to be thrown away, which PromoteCopy may promote
}

// Instance is a staged server: alone on a private socket, in recovery, never
// promoted. It outlives this process; StartInstance finds it again.
type Instance struct {
	config   InstanceConfig
	process  *command.Process // nil: started by an earlier process
	pid      int
	argv     []string  // of the server
	conn     *pgx.Conn // nil: not connected
	started  time.Time // of the server, as this process knows it
	restarts int       // without progress
	total    int       // all
	muteAt   *Replayed // where it stands, mute, and was stopped; nil: it is not
	logFrom  int64     // where its log goes on from when it was started; 0: not known
}

// Names in the run directory, and the port in the private socket's name.
const (
	logName     = "postgresql.log"
	confName    = "postgresql.conf"
	hbaName     = "pg_hba.conf"
	identName   = "pg_ident.conf"
	askedName   = "asked"
	socketPort  = 5432
	stagedWords = "LC_ALL=C"
	alwaysThere = "template1" // a database
	thereToo    = "postgres"  // where nobody may connect to that one
)

// Times of a staged server.
const (
	pollTime     = 50 * time.Millisecond
	stopTime     = 60 * time.Second // for a fast shutdown; then immediate, then SIGKILL
	quitTime     = 10 * time.Second
	restartPause = 500 * time.Millisecond // doubled with each restart
	defaultTries = 5
	copyTime     = 10 * time.Minute // for a copy that was promoted and crashed to be there again
)

func socketPortText() string { return strconv.Itoa(socketPort) }

// StartInstance starts the staged server, or finds it running under the same
// settings. What an earlier attempt left half-dead is ended first. It returns
// when the process runs; WaitConsistent says when it answers.
func StartInstance(ctx context.Context, c InstanceConfig) (*Instance, error) {
	if c.Restarts == 0 {
		c.Restarts = defaultTries
	}
	i := &Instance{config: c}
	command, err := i.arguments(ctx)
	if err != nil {
		return nil, err
	}
	fresh, err := i.furnish(command)
	if err != nil {
		return nil, err
	}
	if pid, found := postmaster(c.DataDir); found && !fresh {
		i.pid, i.argv, i.started = pid, command, time.Now()
		return i, nil
	}
	if err := EndProcesses(ctx, c.DataDir); err != nil {
		return nil, err
	}
	return i, i.start(ctx, command)
}

// String names the instance by its directory.
func (i *Instance) String() string { return "staged server in " + i.config.DataDir }

// LogFile is where the server writes its log.
func (i *Instance) LogFile() string { return filepath.Join(i.config.RunDir, logName) }

// Restarts is how often the server ended by itself and was started again.
func (i *Instance) Restarts() int { return i.total }

// Asked is the name of the file that the server asked restore_command for last,
// or "".
func (i *Instance) Asked() string {
	body, err := os.ReadFile(filepath.Join(i.config.RunDir, askedName))
	if err != nil {
		return "" // it has not asked yet
	}
	return strings.TrimSpace(string(body))
}

// furnish writes the settings of the run, and says whether they are new: a
// server that runs under others has to be started again.
func (i *Instance) furnish(argv []string) (fresh bool, err error) {
	c := i.config
	if err := c.Owner.MakeRunDir(c.RunDir); err != nil {
		return false, err
	}
	if err := c.Owner.folder(c.SocketDir); err != nil {
		return false, err
	}
	files := map[string]string{
		// Whoever gets through the private directory is root or the owner.
		hbaName:   "local all all trust\n",
		identName: "",
		confName:  "# settings of a staged server are on its command line:\n# " + strings.Join(argv, "\n# ") + "\n",
	}
	for name, content := range files {
		path := filepath.Join(c.RunDir, name)
		if current, err := os.ReadFile(path); err == nil && string(current) == content {
			continue
		}
		fresh = true
		if err := c.Owner.place(path, []byte(content), 0o600); err != nil {
			return false, err
		}
	}
	return fresh, nil
}

// arguments are the server's argument vector. The command line outranks both
// settings files, the restored ones too (manual, "Parameter Interaction via the
// Configuration File").
func (i *Instance) arguments(ctx context.Context) ([]string, error) {
	c := i.config
	control, err := ReadControl(ctx, c.BinDir, c.DataDir)
	if err != nil {
		return nil, err
	}
	settings := [][2]string{
		{"config_file", filepath.Join(c.RunDir, confName)},
		{"hba_file", filepath.Join(c.RunDir, hbaName)},
		{"ident_file", filepath.Join(c.RunDir, identName)},
		{"external_pid_file", ""},
		{"listen_addresses", ""},
		{"port", fmt.Sprint(socketPort)},
		{"unix_socket_directories", c.SocketDir},
		{"unix_socket_permissions", "0700"},
		{"unix_socket_group", ""},
		{"ssl", "off"},
		{"archive_mode", "off"},
		{"logging_collector", "off"},
		{"log_destination", "stderr"},
		{"lc_messages", "C"},
		{"log_line_prefix", "%m [%p] "},
		{"shared_preload_libraries", c.Preload},
		{"shared_buffers", "128MB"}, // production may still run beside it
		{"fsync", "on"},
		// What it has replayed is soon given back: the disk may be no larger than needed.
		{"max_wal_size", fmt.Sprintf("%dMB", StagedWAL(c.SegmentSize)>>20)},
		{"min_wal_size", fmt.Sprintf("%dMB", StagedWAL(c.SegmentSize)>>21)},
		{"wal_keep_size", "0"},
		// Its end is found by asking, so it is woken when there is more to ask for.
		{"wal_retrieve_retry_interval", "60s"},
	}
	settings = append(settings, control.minimums()...)
	if Major(c.Version) == 15 {
		settings = append(settings, [2]string{"promote_trigger_file", ""}) // gone in 16
	}
	if c.Quiet {
		// Nothing but what is asked of it changes the copy.
		settings = append(append(settings, quiet()...), [2]string{"autovacuum", "off"})
	}
	settings = append(settings, recoverySettings(c.Timeline, c.Goal, i.restoreCommand())...)
	argv := []string{filepath.Join(c.BinDir, "postgres"), "-D", c.DataDir}
	for _, setting := range settings {
		argv = append(argv, "-c", setting[0]+"="+setting[1])
	}
	return argv, nil
}

// StagedWAL is how much WAL a staged server keeps at most before it asks for a
// restart point, in bytes. It gets one with the next checkpoint of the source.
func StagedWAL(segmentSize int64) int64 { return max(256<<20, 4*segmentSize) }

// restoreCommand notes what the server asks for before it passes the question
// on: that it asked for more than is pinned proves that it has replayed it all.
func (i *Instance) restoreCommand() string {
	path := strings.NewReplacer("%", "%%", "'", `'\''`).Replace(filepath.Join(i.config.RunDir, askedName))
	return "echo %f > '" + path + "'; " + i.config.RestoreCommand
}

// start runs the server. It lives on when this process ends.
func (i *Instance) start(ctx context.Context, argv []string) error {
	c := i.config
	if err := os.Remove(filepath.Join(c.RunDir, askedName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return pathFault("start", i.String(), err)
	}
	if err := removeEmptyLocks(c.DataDir, c.SocketDir, socketPort); err != nil {
		return err
	}
	program, err := command.New(command.Config{
		Argv: argv, Dir: c.DataDir, User: c.Owner.Name,
		Env:    append(append(command.Inherit("PATH", "HOME", "TZ"), stagedWords), c.Environment...),
		Daemon: true, Log: i.LogFile(), StopSignal: syscall.SIGINT, Grace: stopTime,
	})
	if err != nil {
		return err
	}
	i.disconnect(ctx)
	i.muteAt, i.logFrom = nil, 0
	if log, err := os.Stat(i.LogFile()); err == nil {
		i.logFrom = log.Size()
	}
	i.started = time.Now()
	process, err := program.Start(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	i.process, i.pid, i.argv = process, process.PID(), argv
	return nil
}

// alive says whether the server's first process runs.
func (i *Instance) alive() bool {
	if i.process != nil {
		select {
		case <-i.process.Done():
			return false
		default:
			return true
		}
	}
	return worksIn(i.pid, i.config.DataDir)
}

// restart starts a server that ended by itself, unless it did so too often.
func (i *Instance) restart(ctx context.Context) error {
	if err := i.hopeless(); err != nil {
		return err
	}
	if i.restarts >= i.config.Restarts {
		told := ""
		if said := lastWords(i.LogFile(), i.logFrom); said != "" {
			told = "; it said: " + said
		}
		return fault.Newf(fault.ServerFailed, "replay in", i.String(), "it ended %d times without getting further%s", i.restarts+1, told).
			WithHint("read %s: restore_command stops the server when WAL can't be had", i.LogFile())
	}
	pause := time.NewTimer(restartPause << i.restarts)
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-pause.C:
	}
	i.restarts++
	i.total++
	if err := EndProcesses(ctx, i.config.DataDir); err != nil {
		return err
	}
	argv, err := i.arguments(ctx)
	if err != nil {
		return err
	}
	if _, err := i.furnish(argv); err != nil {
		return err
	}
	return i.start(ctx, argv)
}

// outgrown says whether the WAL has raised what the server must be started with.
func (i *Instance) outgrown(ctx context.Context) (bool, error) {
	argv, err := i.arguments(ctx)
	return err == nil && !slices.Equal(argv, i.argv), err
}

// connected gives a connection, or nil while the server does not accept one.
func (i *Instance) connected(ctx context.Context) (*pgx.Conn, error) {
	if i.conn != nil && !i.conn.IsClosed() {
		return i.conn, nil
	}
	login, err := socketLogin(i.config.SocketDir, socketPort, i.config.roles(), alwaysThere)
	if err != nil {
		return nil, err
	}
	conn, err := login.connect(ctx)
	if fault.Has(err, fault.ServerUnavailable) && ctx.Err() == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	i.conn = conn
	return conn, nil
}

func (i *Instance) disconnect(ctx context.Context) {
	if i.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	// Nothing depends on the goodbye.
	_ = i.conn.Close(ctx)
	i.conn = nil
}

func (c InstanceConfig) roles() []string { return []string{c.Superuser, c.Login} }

// Login reaches the staged server, for one database.
func (i *Instance) Login(database string) (Login, error) {
	return socketLogin(i.config.SocketDir, socketPort, i.config.roles(), database)
}

// Close lets go of the server and leaves it running.
func (i *Instance) Close(ctx context.Context) { i.disconnect(ctx) }

// Stop ends the server and removes its socket directory.
func (i *Instance) Stop(ctx context.Context) error {
	i.disconnect(ctx)
	return StopInstance(ctx, i.config.DataDir, i.config.SocketDir)
}

// StopInstance ends whatever server runs in a staged directory. None is no error.
func StopInstance(ctx context.Context, dataDir, socketDir string) error {
	if err := EndProcesses(ctx, dataDir); err != nil {
		return err
	}
	if err := os.RemoveAll(socketDir); err != nil {
		return pathFault("remove socket directory", socketDir, err)
	}
	return nil
}
