package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// IsolatedConfig says which data directory is loaded, and by whom.
type IsolatedConfig struct {
	Server string // path of redis-server
	Dir    string // a prepared data directory; it is not changed
	Layout Layout
	User   string // operating system account to run as; "" is the worker's own
}

// Isolated is a server that nothing reaches but its caller: it listens on a
// socket in a directory of its own, keeps nothing and replicates nothing.
type Isolated struct {
	server  *Server
	process *command.Process
	scratch string // what it works in
	run     string // where its socket is
}

// StartIsolated starts a server on the data of a prepared directory, exactly as
// a server with its layout will start. The server works in a scratch directory
// beside it, which holds other names (hard links) of its files: what a server
// writes at its start (the first increment of its append-only file) leaves the
// prepared directory as it was. What a killed worker left running is ended
// first. The caller must Stop it.
func StartIsolated(ctx context.Context, c IsolatedConfig) (*Isolated, error) {
	i := &Isolated{scratch: scratchOf(c.Dir), run: runOf(c.Dir)}
	if err := i.start(ctx, c); err != nil {
		return nil, errors.Join(err, i.Stop())
	}
	return i, nil
}

func (i *Isolated) start(ctx context.Context, c IsolatedConfig) error {
	record := recordOf(c.Dir)
	if err := EndIsolated(ctx, c.Dir); err != nil {
		return err
	}
	if err := linkData(c.Dir, i.scratch, c.Layout); err != nil {
		return err
	}
	if err := os.Mkdir(i.run, 0o700); err != nil {
		return fault.New(fault.PathFailed, "create", i.run, err)
	}
	if err := giveLike(i.run, c.Dir); err != nil {
		return err
	}
	socket := filepath.Join(i.run, "redis.sock")
	program, err := command.New(command.Config{
		Argv: []string{c.Server, "-"}, Dir: i.scratch, User: c.User, PIDFile: record,
		Stdin: strings.NewReader(isolatedSettings(i.scratch, socket, c.Layout)), Grace: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	if i.process, err = program.Start(ctx); err != nil {
		return err
	}
	i.server, err = i.connect(ctx, socket)
	return err
}

func scratchOf(dir string) string { return dir + ".lifeboat-check" }
func recordOf(dir string) string  { return scratchOf(dir) + ".pid" }

// runOf is where the socket lies, whose path holds at most 107 bytes. It is the
// same for each attempt, so that the next one removes what a killed one left.
func runOf(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(os.TempDir(), "lifeboat-redis-"+hex.EncodeToString(sum[:6]))
}

// EndIsolated ends an isolated server of a prepared directory that a killed
// worker left running, and removes what it worked in.
func EndIsolated(ctx context.Context, dir string) error {
	if _, err := command.EndLeftover(ctx, recordOf(dir), time.Second); err != nil {
		return err
	}
	for _, left := range []string{runOf(dir), scratchOf(dir)} {
		if err := os.RemoveAll(left); err != nil {
			return fault.New(fault.PathFailed, "remove", left, err)
		}
	}
	return nil
}

// connect waits until the server answers, or has ended.
func (i *Isolated) connect(ctx context.Context, socket string) (*Server, error) {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		server, err := Connect(ctx, Config{Address: socket})
		if err == nil {
			return server, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-i.process.Done():
			return nil, i.ended()
		case <-ticker.C:
		}
	}
}

// ended is what is known of a server that gave up.
func (i *Isolated) ended() error {
	return fault.Newf(fault.VerificationFailed, "load in an isolated server", i.scratch, "the server ended while it was loading")
}

// Loaded waits until the server has read the data, for as long as ctx lasts.
func (i *Isolated) Loaded(ctx context.Context) (Loaded, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	process := i.process // Stop may come before this goroutine ends
	go func() {
		select {
		case <-process.Done():
			cancel(i.ended())
		case <-ctx.Done():
		}
	}()
	loaded, err := i.server.WaitLoaded(ctx)
	if cause := context.Cause(ctx); err != nil && fault.KindOf(cause) != "" {
		return Loaded{}, cause
	}
	return loaded, err
}

// Server is the connection to it.
func (i *Isolated) Server() *Server { return i.server }

// Stop ends the server without a save and removes what it wrote. It may be
// called again.
func (i *Isolated) Stop() error {
	var errs []error
	if i.server != nil {
		errs = append(errs, i.server.Close())
		i.server = nil
	}
	if i.process != nil {
		i.process.Stop()
		i.process = nil
	}
	for _, dir := range []string{i.run, i.scratch} {
		if dir == "" {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			errs = append(errs, fault.New(fault.PathFailed, "remove", dir, err))
		}
	}
	return errors.Join(errs...)
}

// linkData gives the prepared files second names in a new directory.
func linkData(from, to string, l Layout) error {
	if err := os.RemoveAll(to); err != nil {
		return fault.New(fault.PathFailed, "remove", to, err)
	}
	if err := makeLike(to, from); err != nil {
		return err
	}
	names := []string{l.RDB()}
	if l.AppendOnly {
		if err := makeLike(filepath.Join(to, l.AppendDirname), from); err != nil {
			return err
		}
		names = append(names, l.Manifest())
	}
	for _, name := range names {
		if err := os.Link(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return fault.New(fault.PathFailed, "link", filepath.Join(to, name), err)
		}
	}
	return nil
}

// isolatedSettings is the whole configuration of an isolated server. It saves
// nothing: neither by time nor, with save empty, when it is asked to end.
func isolatedSettings(dir, socket string, l Layout) string {
	appendOnly := "no"
	if l.AppendOnly {
		appendOnly = "yes"
	}
	var b strings.Builder
	for _, setting := range [][2]string{
		{"port", "0"},
		{"unixsocket", quoted(socket)},
		{"unixsocketperm", "700"},
		{"dir", quoted(dir)},
		{"dbfilename", quoted(l.DBFilename)},
		{"appendonly", appendOnly},
		{"appenddirname", quoted(l.AppendDirname)},
		{"appendfilename", quoted(l.AppendFilename)},
		{"auto-aof-rewrite-percentage", "0"},
		{"save", `""`},
		{"databases", strconv.Itoa(max(l.Databases, 1))},
		{"maxmemory", "0"},
		{"daemonize", "no"},
		{"set-proc-title", "no"},
		{"logfile", `""`},
	} {
		fmt.Fprintln(&b, setting[0], setting[1])
	}
	return b.String()
}

// quoted writes a value as redis.conf takes it.
func quoted(value string) string { return strconv.Quote(value) }
