package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/wal"
)

const (
	walCluster  = 150                     // MiB of the tables that are written to
	walSegments = 40                      // that wait when the archive is measured
	walCalls    = 15                      // of wal-push, one after the other
	walTime     = 10 * time.Minute        // for anything of it
	notArchived = "test -e never-archive" // an archive_command that fails
)

// archiveGround is a cluster, a copy of it as it was, and the WAL since.
type archiveGround struct {
	*peers
	facts postgres.Facts
	copy  string // of the data directory, when the server was stopped
	local string // a directory with every segment since
	first string // segment
	last  string
	end   postgres.LSN // of what is replayed
}

// archive measures the WAL archive in both directions.
func (b *bench) archive(ctx context.Context) (err error) {
	dir := filepath.Join(b.dir, "archive")
	defer func() { err = removeLab(ctx, dir, err) }()
	p, err := b.layOurs(ctx, dir, walCluster)
	if err != nil {
		return err
	}
	defer p.client.Close()
	g := &archiveGround{peers: p}
	if err := g.keep(ctx); err != nil {
		return err
	}
	took, err := g.pushAll(ctx)
	if err != nil {
		return err
	}
	b.note("archive: %d segments of 16 MiB pushed by the server, %.2f s, load average %s", walSegments, took.Seconds(), loadAverage())
	b.tell(figure{name: "wal_push_sustained", value: walSegments / took.Seconds(), unit: "segments/s", must: 15, aim: 25, more: true})
	if b.wants("wal_push_p50") {
		calls, err := g.pushOneByOne(ctx)
		if err != nil {
			return err
		}
		b.note("wal-push: %s", list(calls))
		b.tell(figure{name: "wal_push_p50", value: milliseconds(median(calls)), unit: "ms", must: 60, aim: 25})
	}
	if !b.wants("wal_fetch_sustained", "replay") {
		return nil
	}
	return b.replays(ctx, g)
}

// keep copies the cluster while it is stopped, and has it write WAL that waits
// for an archive. A copy of each segment lies in a local directory, too.
func (g *archiveGround) keep(ctx context.Context) (err error) {
	if err := g.archiveBy(ctx, notArchived); err != nil {
		return err
	}
	if err := g.postgres.Stop(ctx); err != nil {
		return err
	}
	g.copy = g.lab.Path("postgres", "copy")
	if err := g.copied(ctx, g.postgres.DataDir, g.copy); err != nil {
		return err
	}
	if err := g.postgres.Start(ctx); err != nil {
		return err
	}
	if g.local, err = g.lab.Folder("local-archive"); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, g.database())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if err := conn.QueryRow(ctx, "select pg_walfile_name(pg_current_wal_insert_lsn())").Scan(&g.first); err != nil {
		return err
	}
	if g.last, err = g.write(ctx, conn, walSegments); err != nil {
		return err
	}
	login, err := postgres.NewLogin(g.postgres.DSN, postgres.LoginOptions{})
	if err != nil {
		return err
	}
	server, err := postgres.Connect(ctx, login)
	if err != nil {
		return err
	}
	defer server.Close(ctx)
	g.facts = server.Facts()
	last, err := postgres.ParseSegment(g.last, g.facts.SegmentSize)
	if err != nil {
		return err
	}
	g.end = last.End(g.facts.SegmentSize)
	names, err := g.segments()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := g.copied(ctx, filepath.Join(g.postgres.DataDir, "pg_wal", name), filepath.Join(g.local, name)); err != nil {
			return err
		}
	}
	return nil
}

// write sends messages that were sent before once more, until so many segments
// are complete, and gives the name of the last of them.
func (g *archiveGround) write(ctx context.Context, conn *pgx.Conn, segments int) (string, error) {
	var begun int64
	if err := conn.QueryRow(ctx, "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").Scan(&begun); err != nil {
		return "", err
	}
	size := int64(postgres.DefaultSegmentSize)
	due := (begun/size + int64(segments)) * size
	for at := begun; at < due-size/2; {
		if _, err := conn.Exec(ctx, `insert into messages (match_id, author_id, key, body)
			select match_id, author_id, 'again-' || gen_random_uuid(), body from messages tablesample system (1) limit 2000`); err != nil {
			return "", err
		}
		if err := conn.QueryRow(ctx, "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").Scan(&at); err != nil {
			return "", err
		}
	}
	var name string
	err := conn.QueryRow(ctx, "select pg_walfile_name(pg_switch_wal())").Scan(&name)
	return name, err
}

// segments are those that were written since the copy was made.
func (g *archiveGround) segments() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(g.postgres.DataDir, "pg_wal"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if name := entry.Name(); postgres.IsSegment(name) && name >= g.first && name <= g.last {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) < walSegments {
		return nil, fmt.Errorf("the server wrote %d segments, from %s to %s", len(names), g.first, g.last)
	}
	return names, nil
}

// copied copies as the server's account does.
func (g *archiveGround) copied(ctx context.Context, from, to string) error {
	if output, err := g.lab.Command(ctx, "cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, output)
	}
	return nil
}

// pushAll lets the server archive what waits.
func (g *archiveGround) pushAll(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, walTime)
	defer cancel()
	conn, err := pgx.Connect(ctx, g.postgres.DSN)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is left to save
	unix.Sync()
	if err := g.archiveBy(ctx, g.ours); err != nil {
		return 0, err
	}
	// The archiver has failed, and waits for up to a minute before it tries again: a switch wakes it.
	if _, err := conn.Exec(ctx, "select pg_current_xact_id(), pg_switch_wal()"); err != nil {
		return 0, err
	}
	began := time.Now()
	err = await(ctx, lookEvery, func() (done bool, err error) {
		err = conn.QueryRow(ctx, "select coalesce(last_archived_wal, '') >= $1 from pg_stat_archiver", g.last).Scan(&done)
		return done, err
	})
	return time.Since(began), err
}

// pushOneByOne calls wal-push as the server does, for segments behind which none waits.
func (g *archiveGround) pushOneByOne(ctx context.Context) ([]time.Duration, error) {
	if err := g.archiveBy(ctx, notArchived); err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, g.database())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is left to save
	var all []time.Duration
	for range walCalls {
		name, err := g.write(ctx, conn, 1)
		if err != nil {
			return nil, err
		}
		cmd := g.lab.Command(ctx, "/bin/sh", "-c", strings.ReplaceAll(g.ours, "%p", "pg_wal/"+name))
		cmd.Dir = g.postgres.DataDir
		began := time.Now()
		output, err := cmd.CombinedOutput()
		all = append(all, time.Since(began))
		if err != nil || len(output) > 0 {
			return nil, fmt.Errorf("wal-push %s: %w: %s", name, err, output)
		}
	}
	return all, nil
}

// replays measures the way back: with nobody who replays, and with a server.
func (b *bench) replays(ctx context.Context, g *archiveGround) error {
	configured, err := g.configuration()
	if err != nil {
		return err
	}
	opened, err := assembly.New(assembly.Config{Env: os.LookupEnv, Memory: int64(configured.Limits.Memory)}).Vault(ctx, *configured, nil)
	if err != nil {
		return err
	}
	archive, err := wal.New(wal.Config{Vault: opened, Cluster: "frende"})
	if err != nil {
		return err
	}
	first, err := postgres.ParseSegment(g.first, g.facts.SegmentSize)
	if err != nil {
		return err
	}
	pinned, err := archive.Pin(ctx, wal.Point{SystemID: g.facts.SystemID, Timeline: 1, LSN: first.Start(g.facts.SegmentSize), SegmentSize: g.facts.SegmentSize})
	if err != nil {
		return err
	}
	if pinned, err = pinned.Upto(g.last); err != nil {
		return err
	}
	if b.wants("wal_fetch_sustained") {
		took, segments, err := g.fetchAll(ctx, archive, pinned)
		if err != nil {
			return err
		}
		b.note("archive: %d segments fetched, %.2f s, load average %s", segments, took.Seconds(), loadAverage())
		b.tell(figure{name: "wal_fetch_sustained", value: float64(segments) / took.Seconds(), unit: "segments/s", must: 20, aim: 40, more: true})
	}
	if !b.wants("replay") {
		return nil
	}
	var ours, theirs []time.Duration
	for range b.runs {
		took, err := g.replay(ctx, archive, pinned, "")
		if err != nil {
			return err
		}
		ours = append(ours, took)
		if took, err = g.replay(ctx, archive, pinned, "cp "+g.local+"/%f %p"); err != nil {
			return err
		}
		theirs = append(theirs, took)
	}
	b.note("replay of %d segments: through wal-fetch %s, from a local directory %s", walSegments, list(ours), list(theirs))
	b.tell(figure{name: "replay", value: ratio(ours, theirs), must: 1.2, aim: 1.05})
	return nil
}

// looksAhead has the look-ahead of a recovery run beside do, and gives do the
// restore_command that profits.
func (g *archiveGround) looksAhead(ctx context.Context, archive *wal.Archive, pinned wal.Pin, do func(restore string) error) (err error) {
	run, err := g.lab.Folder("replay")
	if err != nil {
		return err
	}
	pin := filepath.Join(run, "pin.json")
	if err := pinned.Write(pin); err != nil {
		return err
	}
	if err := g.lab.Account.Own(pin); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(run)) }()
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- archive.KeepAhead(ctx, pinned, wal.SpoolOf(pin), g.gives) }()
	defer func() { stop(); err = errors.Join(err, <-ended) }()
	return do(fmt.Sprintf("%s --config %s wal-fetch %%f %%p --pin %s", g.lab.Path("bin", "lifeboat-wal"), g.variable("LIFEBOAT_CONFIG"), pin))
}

// fetchAll asks for one segment after the other, as a server does.
func (g *archiveGround) fetchAll(ctx context.Context, archive *wal.Archive, pinned wal.Pin) (took time.Duration, segments int, err error) {
	names, err := g.segments()
	if err != nil {
		return 0, 0, err
	}
	into, err := g.lab.Folder("fetched")
	if err != nil {
		return 0, 0, err
	}
	err = g.looksAhead(ctx, archive, pinned, func(restore string) error {
		began := time.Now()
		for _, name := range names {
			command := strings.NewReplacer("%f", name, "%p", filepath.Join(into, "RECOVERYXLOG")).Replace(restore)
			if output, err := g.lab.Command(ctx, "/bin/sh", "-c", command).CombinedOutput(); err != nil {
				return fmt.Errorf("wal-fetch %s: %w: %s", name, err, output)
			}
		}
		took = time.Since(began)
		return nil
	})
	return took, len(names), err
}

// replay starts a copy of the cluster and gives the time until it has replayed
// everything; with restore, from there, else through Lifeboat.
func (g *archiveGround) replay(ctx context.Context, archive *wal.Archive, pinned wal.Pin, restore string) (took time.Duration, err error) {
	dir := g.lab.Path("postgres", "replayed")
	if err := g.copied(ctx, g.copy, dir); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	measure := func(restore string) (err error) {
		took, err = g.replayIn(ctx, dir, restore)
		return err
	}
	if restore != "" {
		return took, measure(restore)
	}
	err = g.looksAhead(ctx, archive, pinned, measure)
	return took, err
}

func (g *archiveGround) replayIn(ctx context.Context, dir, restore string) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, walTime)
	defer cancel()
	port, err := lab.FreePort()
	if err != nil {
		return 0, err
	}
	if err := g.lab.Write(filepath.Join(dir, "standby.signal"), nil, 0o600); err != nil {
		return 0, err
	}
	if err := os.Remove(filepath.Join(dir, "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	unix.Sync()
	cmd := g.lab.Command(ctx, filepath.Join(g.postgres.BinDir, "postgres"), "-D", dir, "-c", fmt.Sprintf("port=%d", port), "-c", "archive_mode=off",
		"-c", "restore_command="+restore, "-c", "recovery_target_timeline=1", "-c", "hot_standby=on", "-c", "unix_socket_directories=")
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stopServer(cmd)) }()
	dsn := strings.Replace(g.postgres.DSN, fmt.Sprintf(":%d/", g.postgres.Port), fmt.Sprintf(":%d/", port), 1)
	err = await(ctx, lookEvery, func() (bool, error) {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return false, nil // it is starting
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is left to save
		var done bool
		err = conn.QueryRow(ctx, "select coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false)", g.end.String()).Scan(&done)
		return done, err
	})
	return time.Since(began), err
}

// stopServer ends a server that is of no more use.
func stopServer(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(unix.SIGQUIT); err != nil {
		return err
	}
	err := cmd.Wait()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return nil
	}
	return err
}

// gives gives a file to the account that the servers run as.
func (g *archiveGround) gives(file *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return file.Chown(g.lab.Account.UID, g.lab.Account.GID)
}
