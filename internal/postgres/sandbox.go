package postgres

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// SandboxConfig says how a recovered cluster is served in a sandbox.
type SandboxConfig struct {
	DataDir   string // in its place in the sandbox, and handed over (Handover)
	BinDir    string
	Owner     Account
	RunDir    string // made; log and settings go here
	SocketDir string // short path; made; nobody but the owner gets in
	Port      int    // on 127.0.0.1
	Preload   string // shared_preload_libraries of the source
	Superuser string // role to ask it as
	Login     string // role to ask it as when that one may not log in; may be empty
}

// StartSandbox starts a recovered cluster where only this host reaches it, on a
// port of its own: it archives nothing, replicates from nobody and to nobody, and
// no job scheduler of production's wakes up in it. What an earlier attempt left
// half-dead is ended first; a server that runs is left as it is. The server
// outlives this process: StopInstance ends it.
func StartSandbox(ctx context.Context, c SandboxConfig) error {
	if _, found := postmaster(c.DataDir); found {
		return nil
	}
	if err := EndProcesses(ctx, c.DataDir); err != nil {
		return err
	}
	if err := c.Owner.MakeRunDir(c.RunDir); err != nil {
		return err
	}
	if err := c.Owner.folder(c.SocketDir); err != nil {
		return err
	}
	files := map[string]string{
		// By the socket only the owner and root come in. Passwords are those of
		// the roles, which were restored; "md5" takes SCRAM's as well.
		hbaName:   "local all all trust\nhost all all 127.0.0.1/32 md5\n",
		identName: "",
		confName:  "# settings of a sandbox's server are on its command line\n",
	}
	for name, content := range files {
		if err := c.Owner.place(filepath.Join(c.RunDir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	control, err := ReadControl(ctx, c.BinDir, c.DataDir)
	if err != nil {
		return err
	}
	if err := removeEmptyLocks(c.DataDir, c.SocketDir, c.Port); err != nil {
		return err
	}
	log := filepath.Join(c.RunDir, logName)
	program, err := command.New(command.Config{
		Argv: c.arguments(control), Dir: c.DataDir, User: c.Owner.Name,
		Env:    append(command.Inherit("PATH", "HOME", "TZ"), stagedWords),
		Daemon: true, Log: log, StopSignal: syscall.SIGINT, Grace: stopTime,
	})
	if err != nil {
		return err
	}
	if _, err := program.Start(context.WithoutCancel(ctx)); err != nil {
		return fault.New(fault.ServerFailed, "start in sandbox", c.DataDir, err).WithHint("read %s", log)
	}
	return nil
}

func (c SandboxConfig) arguments(control Control) []string {
	settings := [][2]string{
		{"config_file", filepath.Join(c.RunDir, confName)},
		{"hba_file", filepath.Join(c.RunDir, hbaName)},
		{"ident_file", filepath.Join(c.RunDir, identName)},
		{"external_pid_file", ""},
		{"listen_addresses", "127.0.0.1"},
		{"port", strconv.Itoa(c.Port)},
		{"unix_socket_directories", c.SocketDir},
		{"unix_socket_permissions", "0700"},
		{"unix_socket_group", ""},
		{"ssl", "off"},
		{"logging_collector", "off"},
		{"log_destination", "stderr"},
		{"lc_messages", "C"},
		{"shared_preload_libraries", c.Preload},
		{"shared_buffers", "128MB"}, // production runs beside it
		{"fsync", "on"},
	}
	settings = append(append(settings, quiet()...), control.minimums()...)
	argv := []string{filepath.Join(c.BinDir, "postgres"), "-D", c.DataDir}
	for _, setting := range settings {
		argv = append(argv, "-c", setting[0]+"="+setting[1])
	}
	return argv
}

// Reach reaches the sandbox's server by its socket.
func (c SandboxConfig) Reach() (Login, error) {
	return socketLogin(c.SocketDir, uint16(c.Port), []string{c.Superuser, c.Login}, alwaysThere)
}

// String names the sandbox's server by its port.
func (c SandboxConfig) String() string { return fmt.Sprintf("sandbox server on port %d", c.Port) }
