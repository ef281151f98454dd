package wal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/internal/wal"
)

// TestMain is also the program that PostgreSQL runs: with an agent's
// configuration in its environment, this binary pushes or fetches and exits.
func TestMain(m *testing.M) {
	if file := os.Getenv("WAL_TEST_AGENT"); file != "" {
		os.Exit(agent(file, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// agentConfig is what the agent needs to know.
type agentConfig struct {
	Store s3.Config
	Pin   string
}

func agent(file string, args []string) int {
	t := &agentFailure{}
	body, err := os.ReadFile(file)
	t.check(err)
	var c agentConfig
	t.check(json.Unmarshal(body, &c))
	a, err := c.archive()
	t.check(err)
	ctx := context.Background()
	switch args[0] {
	case "push":
		err = a.Push(ctx, args[1], wal.PushOptions{})
		fmt.Fprintln(os.Stderr, "wal-push:", args[1], err)
		return fault.ExitCode(err)
	default:
		pin, err := wal.ReadPin(c.Pin)
		taken, spool := false, wal.SpoolOf(c.Pin)
		if err == nil {
			taken, err = spool.Take(pin, args[1], args[2])
		}
		if err == nil && !taken {
			err = a.FetchAhead(ctx, pin, args[1], args[2], spool)
		}
		fmt.Fprintln(os.Stderr, "wal-fetch:", args[1], err)
		return wal.ExitCode(err)
	}
}

// agentFailure ends the agent so that PostgreSQL stops.
type agentFailure struct{}

func (agentFailure) check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(126)
	}
}

func (c agentConfig) archive() (*wal.Archive, error) {
	opened, err := s3.New(context.Background(), c.Store)
	if err != nil {
		return nil, err
	}
	v, err := makeVault(opened, nil)
	if err != nil {
		return nil, err
	}
	return wal.New(wal.Config{Vault: v, Cluster: "frende", Patience: 50 * time.Millisecond})
}

// gate stands before the S3 server and shuts for objects whose path contains a part.
type gate struct {
	*httptest.Server
	mu   sync.Mutex
	shut string
	busy bool // shut by an answer, not by breaking the connection
	hits int
}

func newGate(t *testing.T, endpoint string) *gate {
	t.Helper()
	target, err := url.Parse(endpoint)
	require.NoError(t, err)
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	g := &gate{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		closed, busy := g.shut != "" && strings.Contains(r.URL.Path, g.shut), g.busy
		if closed {
			g.hits++
		}
		g.mu.Unlock()
		if closed {
			_, _ = io.Copy(io.Discard, r.Body)
			if busy {
				http.Error(w, "<Error><Code>SlowDown</Code></Error>", http.StatusServiceUnavailable)
				return
			}
			panic(http.ErrAbortHandler)
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// set shuts the gate for a part of a path, or opens it with "", and gives how
// many requests it turned away since the last time.
func (g *gate) set(part string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	hits := g.hits
	g.shut, g.busy, g.hits = part, false, 0
	return hits
}

// fail shuts the gate for a part of a path: by an answer, or by breaking connections.
func (g *gate) fail(part string, busy bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.busy, g.hits = part, busy, 0
}

// site is a server that archives, its archive, and the program that does it.
type site struct {
	lab      *lab.Lab
	gate     *gate
	source   *lab.Postgres
	archive  *wal.Archive
	agent    string // command line of the agent, without its arguments
	pin      string
	systemID string
}

func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteIn(t, lab.New(t))
}

func newSiteIn(t *testing.T, l *lab.Lab) *site {
	t.Helper()
	server, err := l.S3(t.Context(), lab.S3Options{})
	require.NoError(t, err)
	server.NewBucket(t, "wal")
	run, err := l.Folder("run")
	require.NoError(t, err)
	require.NoError(t, l.Account.Own(run))
	s := &site{lab: l, gate: newGate(t, server.Endpoint), pin: filepath.Join(run, "pin.json")}

	c := agentConfig{Pin: s.pin, Store: s3.Config{
		Name: "primary", Bucket: "wal", Region: server.Region, Endpoint: s.gate.URL, PathStyle: true,
		AccessKey: server.AccessKey, SecretKey: server.SecretKey, Retry: s3.Retry{Attempts: 2, Backoff: time.Millisecond},
	}}
	s.archive, err = c.archive()
	require.NoError(t, err)
	body, err := json.Marshal(c)
	require.NoError(t, err)
	require.NoError(t, l.Write(l.Path("agent.json"), body, 0o600))
	program := l.Path("agent")
	self, err := os.Executable()
	require.NoError(t, err)
	binary, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, l.Write(program, binary, 0o755))
	s.agent = "WAL_TEST_AGENT=" + l.Path("agent.json") + " " + program

	s.source, err = l.Postgres(t.Context(), lab.PostgresOptions{
		ArchiveCommand: s.agent + " push %p", Settings: map[string]string{"wal_retrieve_retry_interval": "100ms"},
	})
	require.NoError(t, err)
	require.NoError(t, s.connect(t, s.source.DSN).QueryRow(t.Context(), "SELECT system_identifier::text FROM pg_control_system()").Scan(&s.systemID))
	return s
}

func (s *site) connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the server may be gone
	return conn
}

var labelStart = regexp.MustCompile(`START WAL LOCATION: (\S+)`)

// backup copies the server's directory without its WAL and gives where recovery starts.
func (s *site) backup(t *testing.T, folder string) (dir string, from wal.Point) {
	t.Helper()
	dir = s.lab.Path("postgres", folder)
	output, err := s.lab.Command(t.Context(), filepath.Join(s.source.BinDir, "pg_basebackup"),
		"--dbname", s.source.DSN, "--pgdata", dir, "--wal-method", "none", "--checkpoint", "fast", "--no-sync").CombinedOutput()
	require.NoError(t, err, string(output))
	label, err := os.ReadFile(filepath.Join(dir, "backup_label"))
	require.NoError(t, err)
	at, err := postgres.ParseLSN(labelStart.FindStringSubmatch(string(label))[1])
	require.NoError(t, err)
	return dir, wal.Point{SystemID: s.systemID, Timeline: 1, LSN: at}
}

// write commits a row into each of n segments and waits until all are archived.
func (s *site) write(t *testing.T, conn *pgx.Conn, from wal.Point, n int) {
	t.Helper()
	_, err := conn.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS kept (id serial)")
	require.NoError(t, err)
	var end string
	for range n {
		_, err := conn.Exec(t.Context(), "INSERT INTO kept DEFAULT VALUES")
		require.NoError(t, err)
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_switch_wal()::text").Scan(&end))
	}
	stop, err := postgres.ParseLSN(end)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, s.archive.Await(ctx, from, stop))
}

// standby makes the directory a server in recovery under the pin.
func (s *site) standby(t *testing.T, dir string, pin wal.Pin) (*lab.Service, string) {
	t.Helper()
	require.NoError(t, pin.Write(s.pin))
	require.NoError(t, s.lab.Account.Own(s.pin))
	require.NoError(t, s.lab.Write(filepath.Join(dir, "standby.signal"), nil, 0o600))
	port, err := lab.FreePort()
	require.NoError(t, err)
	dsn := strings.Replace(s.source.DSN, fmt.Sprint(":", s.source.Port, "/"), fmt.Sprint(":", port, "/"), 1)
	service, err := s.lab.Define(lab.Program{
		Name: filepath.Base(dir), Stop: 2, Ready: dsn,
		Args: []string{
			filepath.Join(s.source.BinDir, "postgres"), "-D", dir, "-c", fmt.Sprint("port=", port), "-c", "archive_mode=off",
			"-c", "restore_command=" + s.agent + " fetch %f %p", "-c", fmt.Sprint("recovery_target_timeline=", pin.Timeline),
			"-c", "wal_retrieve_retry_interval=100ms", "-c", "wal_keep_size=1GB",
		},
	})
	require.NoError(t, err)
	return service, dsn
}

func (s *site) state(t *testing.T, dir string) string {
	t.Helper()
	output, err := s.lab.Command(t.Context(), filepath.Join(s.source.BinDir, "pg_controldata"), dir).CombinedOutput()
	require.NoError(t, err, string(output))
	return regexp.MustCompile(`cluster state:\s+(.*)`).FindStringSubmatch(string(output))[1]
}

// replayed waits until the server has replayed to the end of the pin.
func (s *site) replayed(t *testing.T, dsn string, pin wal.Pin) *pgx.Conn {
	t.Helper()
	conn := s.connect(t, dsn)
	end, err := pin.EndLSN()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		var reached bool
		err := conn.QueryRow(t.Context(), "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", end.String()).Scan(&reached)
		return err == nil && reached
	}, 30*time.Second, 20*time.Millisecond)
	return conn
}

// Row 12 of the reliability table: PostgreSQL itself fetches, and the store dies
// at each segment of the replay in turn.
func TestPostgreSQLNeverPromotesWhenTheStoreDiesMidReplay(t *testing.T) {
	const rows = 5
	s := newSite(t)
	dir, from := s.backup(t, "restored")
	s.write(t, s.connect(t, s.source.DSN), from, rows)
	_, err := s.source.Kill(t.Context())
	require.NoError(t, err)

	pin, err := s.archive.Pin(t.Context(), from)
	require.NoError(t, err)
	service, dsn := s.standby(t, dir, pin)
	first, err := postgres.ParseSegment(pin.Start, pin.SegmentSize)
	require.NoError(t, err)
	last, err := pin.Last()
	require.NoError(t, err)
	require.GreaterOrEqual(t, last.Number-first.Number, uint64(rows-1))
	count := int(last.Number - first.Number + 1)
	torture.Row(t, 12, count, 100, func(t *testing.T, n int, random *rand.Rand) {
		segment := first
		segment.Number += uint64(n % count)
		file := segment.Name(pin.SegmentSize)
		require.NoError(t, os.RemoveAll(filepath.Join(filepath.Dir(s.pin), "wal-spool"))) // it may have come ahead
		s.gate.fail(file, random.IntN(2) == 0)
		if err := service.Start(t.Context()); err == nil { // it may have answered before it asked for this one
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			require.NoError(t, service.Wait(ctx), "the server must stop at %s", file)
		}
		require.Positive(t, s.gate.set(""), "the server never asked for %s", file)
		if n > 0 || s.state(t, dir) != "in production" { // it fell over before it began
			require.Equal(t, "in archive recovery", s.state(t, dir), "after %s", file)
		}
	})
	log, err := os.ReadFile(service.LogFile())
	require.NoError(t, err)
	require.NotContains(t, string(log), "selected new timeline ID")
	require.NotContains(t, string(log), "ready to accept connections")
	require.Contains(t, string(log), "could not restore file")

	require.NoError(t, service.Start(t.Context()))
	conn := s.replayed(t, dsn, pin)
	var found int
	var recovering bool
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*), pg_is_in_recovery() FROM kept").Scan(&found, &recovering))
	require.Equal(t, rows, found)
	require.True(t, recovering)
}

func TestPromotedServerArchivesOnItsOwnTimelineAfterItsClaim(t *testing.T) {
	s := newSite(t)
	again, from := s.backup(t, "again")
	dir := s.lab.Path("postgres", "restored")
	require.NoError(t, os.CopyFS(dir, os.DirFS(again)))
	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, s.lab.Account.Own(dir))
	s.write(t, s.connect(t, s.source.DSN), from, 3)
	require.NoError(t, s.source.StopBy(t.Context(), lab.Immediate))
	pin, err := s.archive.Pin(t.Context(), from)
	require.NoError(t, err)
	service, dsn := s.standby(t, dir, pin)
	require.NoError(t, service.Start(t.Context()))
	conn := s.replayed(t, dsn, pin)
	_, err = conn.Exec(t.Context(), "SELECT pg_promote(true, 30)")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "INSERT INTO kept DEFAULT VALUES")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "SELECT pg_switch_wal()")
	require.NoError(t, err)
	require.NoError(t, service.Stop(t.Context()))

	// Held until it claims, pushed afterwards: its own history and its segments.
	history := filepath.Join(dir, "pg_wal", "00000002.history")
	err = s.archive.Push(t.Context(), history, wal.PushOptions{DataDir: dir})
	kindIs(t, fault.WALHeld, err)
	require.NoError(t, s.archive.Claim(t.Context(), s.systemID, dir))
	require.NoError(t, s.archive.Push(t.Context(), history, wal.PushOptions{DataDir: dir}))
	segments, err := filepath.Glob(filepath.Join(dir, "pg_wal", "00000002????????????????"))
	require.NoError(t, err)
	require.NotEmpty(t, segments)
	require.NoError(t, s.archive.Push(t.Context(), segments[0], wal.PushOptions{DataDir: dir}))
	old := filepath.Join(s.source.DataDir, "pg_wal", pin.End)
	kindIs(t, fault.WALHeld, s.archive.Push(t.Context(), old, wal.PushOptions{DataDir: s.source.DataDir}))

	// The next recovery from the same backup goes over the fork.
	next, err := s.archive.Pin(t.Context(), from)
	require.NoError(t, err)
	require.EqualValues(t, 2, next.Timeline)
	require.Equal(t, filepath.Base(segments[0]), next.End)
	service, dsn = s.standby(t, again, next)
	require.NoError(t, service.Start(t.Context()))
	conn = s.replayed(t, dsn, next)
	var found int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&found))
	require.Equal(t, 4, found)
	_, err = conn.Exec(t.Context(), "SELECT pg_promote(true, 30)")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(again, "pg_wal", "00000003.history"))
}

func TestPostgreSQLKeepsWALThatIsNotAccepted(t *testing.T) {
	s := newSite(t)
	conn := s.connect(t, s.source.DSN)
	from := wal.Point{SystemID: s.systemID, Timeline: 1, LSN: postgres.DefaultSegmentSize}
	s.write(t, conn, from, 1)
	s.gate.set("/wal/frende/")
	_, err := conn.Exec(t.Context(), "INSERT INTO kept DEFAULT VALUES")
	require.NoError(t, err)
	var file string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_walfile_name(pg_switch_wal())").Scan(&file))
	require.Eventually(t, func() bool {
		var failed int
		err := conn.QueryRow(t.Context(), "SELECT failed_count FROM pg_stat_archiver WHERE last_failed_wal = $1", file).Scan(&failed)
		return err == nil && failed > 0
	}, 30*time.Second, 20*time.Millisecond)
	require.FileExists(t, filepath.Join(s.source.DataDir, "pg_wal", "archive_status", file+".ready"))

	// The server dies with it; what it had completed is saved from its directory.
	_, err = s.source.Kill(t.Context())
	require.NoError(t, err)
	require.Positive(t, s.gate.set(""))
	saved, err := s.archive.Salvage(t.Context(), s.source.DataDir)
	require.NoError(t, err)
	require.Equal(t, []string{file}, saved)
	last, _, err := s.archive.LastArchived(t.Context(), s.systemID)
	require.NoError(t, err)
	require.Equal(t, file, last)
}
