package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/archiver"
	"github.com/frende/lifeboat/internal/archiver/ask"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/telemetry"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

const shopDatabase = `databases:
  - name: orders
    connection: env:NOT_SET_FOR_THE_ARCHIVER
    data_dir: %s
    service: not-configured
`

func TestWALGoesIntoTheArchiveAndComesBackUnderItsExitCodes(t *testing.T) {
	server := lab.StartPostgres(t, lab.PostgresOptions{})
	s := openShop(t)
	text, err := os.ReadFile(s.config)
	require.NoError(t, err)
	// Archiving needs no connection, and goes on while the file is half edited.
	require.NoError(t, os.WriteFile(s.config, append(text, fmt.Sprintf(shopDatabase, server.DataDir)...), 0o600))

	login, err := postgres.NewLogin(server.DSN, postgres.LoginOptions{})
	require.NoError(t, err)
	connected, err := postgres.Connect(t.Context(), login)
	require.NoError(t, err)
	segment, _, err := connected.SwitchWAL(t.Context())
	require.NoError(t, err)
	facts := connected.Facts()
	connected.Close(t.Context())
	name := segment.Name(facts.SegmentSize)

	t.Chdir(server.DataDir) // where PostgreSQL calls archive_command
	path := filepath.Join("pg_wal", name)
	for range 2 { // the same file again is success
		code, stdout, stderr := s.run(t, walPush, path)
		require.Zero(t, code, stderr)
		require.Empty(t, stdout+stderr)
	}
	code, _, stderr := s.run(t, walPush, "pg_wal/nothing")
	require.Equal(t, fault.ExitFailed, code)
	require.Contains(t, stderr, "HINT: ")

	archive, err := wal.New(wal.Config{Vault: s.vault, Cluster: "orders"})
	require.NoError(t, err)
	pin, err := archive.Pin(t.Context(), wal.Point{SystemID: facts.SystemID, Timeline: facts.Timeline, LSN: segment.Start(facts.SegmentSize)})
	require.NoError(t, err)
	pinned := filepath.Join(t.TempDir(), "pin.json")
	require.NoError(t, pin.Write(pinned))

	got := filepath.Join(t.TempDir(), "RECOVERYXLOG")
	code, stdout, stderr := s.run(t, walFetch, name, got, "--pin", pinned)
	require.Zero(t, code, stderr)
	require.Empty(t, stdout)
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	found, err := os.ReadFile(got)
	require.NoError(t, err)
	require.Equal(t, want, found)

	past := filepath.Join(t.TempDir(), "past")
	code, _, stderr = s.run(t, walFetch, "0000000100000000000000FF", past, "--pin", pinned)
	require.Equal(t, 1, code)
	require.Empty(t, stderr, "the normal end is no news")
	require.NoFileExists(t, past)
	require.Equal(t, facts.Timeline, pin.Timeline)
}

func TestWALFetchNeverLooksLikeTheEndWhenAnythingIsWrong(t *testing.T) {
	const segment = "000000010000000000000001"
	s := openShop(t)
	pinned := filepath.Join(t.TempDir(), "pin.json")
	pin := wal.Pin{Cluster: "orders", SystemID: "7000000000000000000", Timeline: 1, Newest: 1, SegmentSize: 16 << 20, History: []wal.Branch{{Timeline: 1}}, Start: segment, End: segment}
	require.NoError(t, pin.Write(pinned))
	dst := filepath.Join(t.TempDir(), "RECOVERYXLOG")
	broken := filepath.Join(t.TempDir(), "broken.json")
	require.NoError(t, os.WriteFile(broken, []byte("{"), 0o600))

	for name, args := range map[string][]string{
		"no arguments":        {walFetch},
		"unknown flag":        {walFetch, segment, dst, "--pin", pinned, "--bogus"},
		"flags before":        {"--bogus", walFetch, segment, dst},
		"no pin":              {walFetch, segment, dst},
		"missing pin":         {walFetch, segment, dst, "--pin", dst},
		"broken pin":          {walFetch, segment, dst, "--pin", broken},
		"hole in the archive": {walFetch, segment, dst, "--pin", pinned},
		"no such name":        {walFetch, "../../etc/passwd", dst, "--pin", pinned},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := s.run(t, args...)
			require.Equal(t, exitStop, code, stderr)
			require.Empty(t, stdout)
			require.Contains(t, stderr, "lifeboat: ")
			require.NoFileExists(t, dst)
		})
	}
	for _, name := range []string{"KEY", "SECRET", "ACCESS"} {
		t.Run(name+" unset", func(t *testing.T) {
			kept := s.env[name]
			delete(s.env, name)
			code, _, stderr := s.run(t, walFetch, segment, dst, "--pin", pinned)
			require.Equal(t, exitStop, code)
			require.Contains(t, stderr, "environment variable "+name+" is not set")
			s.env[name] = kept
		})
	}
	t.Run("a defect", func(t *testing.T) {
		a := &app{Process: Process{Args: []string{walFetch, segment, dst, "--pin", pinned}, Stdout: os.Stdout, Stderr: &buffer{}, Env: func(string) (string, bool) { panic("defect") }}, secrets: telemetry.NewSecrets()}
		require.Equal(t, exitStop, a.runFetch(t.Context()))
	})
}

func TestWALPushFailsWithOneExitCodeAndNamesWhatIsWrong(t *testing.T) {
	const segment = "pg_wal/000000010000000000000001"
	s := openShop(t) // protects no database
	for name, one := range map[string]struct {
		args []string
		told string
	}{
		"no argument":  {[]string{walPush}, "lifeboat wal-push needs PATH"},
		"unknown flag": {[]string{walPush, segment, "--bogus"}, "--bogus"},
		"flags before": {[]string{"--bogus", walPush, segment}, "read command line"},
		"no database":  {[]string{walPush, segment}, "the configuration has no database"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := s.run(t, one.args...)
			require.Equal(t, fault.ExitFailed, code)
			require.Empty(t, stdout)
			require.Contains(t, stderr, one.told)
			require.Contains(t, stderr, "HINT: ")
		})
	}
	delete(s.env, "KEY")
	code, _, stderr := s.run(t, walPush, segment)
	require.Equal(t, fault.ExitFailed, code)
	require.Contains(t, stderr, "environment variable KEY is not set")
}

func TestWALPushHasTheWorkerDoItAndDoesItAloneWithoutOne(t *testing.T) {
	server := lab.StartPostgres(t, lab.PostgresOptions{})
	s := openShop(t)
	text, err := os.ReadFile(s.config)
	require.NoError(t, err)
	socket := filepath.Join(t.TempDir(), "wal.sock")
	require.NoError(t, os.WriteFile(s.config, append(text, fmt.Sprintf(shopDatabase+"    socket: %s\n", server.DataDir, socket)...), 0o600))
	configured, err := system.LoadStorage(s.config, s.lookup)
	require.NoError(t, err)
	connected, err := pgx.Connect(t.Context(), server.DSN)
	require.NoError(t, err)
	t.Cleanup(func() { _ = connected.Close(context.Background()) }) // the server may be gone
	var segments []string
	for range 3 {
		var name string
		_, err := connected.Exec(t.Context(), "SELECT txid_current()")
		require.NoError(t, err)
		require.NoError(t, connected.QueryRow(t.Context(), "SELECT pg_walfile_name(pg_switch_wal())").Scan(&name))
		segments = append(segments, name)
	}
	t.Chdir(server.DataDir)

	// The worker of the test has a store of its own, so that one sees who pushed.
	workers := mem.New("the worker's")
	ring, err := keys.NewRing(keys.Config{Secrets: []keys.Secret{keys.NewSecret(make([]byte, 32))}})
	require.NoError(t, err)
	load := func() (system.System, error) { return *configured, nil }
	open := func(context.Context, system.System, func(vault.Fallback)) (*vault.Vault, error) {
		return vault.New(vault.Config{Store: workers, Keys: ring, Budget: vault.NewBudget(128 << 20)})
	}
	count := func(of store.Store) (segments int) {
		for info, err := range of.List(t.Context(), "wal/orders/", store.ListOptions{}) {
			require.NoError(t, err)
			if postgres.IsSegment(filepath.Base(info.Key)) {
				segments++
			}
		}
		return segments
	}
	ctx, cancel := context.WithCancel(t.Context())
	listening, err := archiver.Listen(ctx, archiver.Config{Load: load, Vault: open, Log: zap.NewNop()}, socket, configured.Databases[0])
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- listening.Serve(ctx) }()

	code, _, stderr := s.run(t, walPush, "pg_wal/"+segments[0])
	require.Zero(t, code, stderr)
	require.Empty(t, stderr)
	require.Equal(t, 1, count(workers))
	require.Zero(t, count(s.vault.Store()))

	// What another store is asked for, and what lies elsewhere, is no worker's business.
	code, _, stderr = s.run(t, "--from", "primary", walPush, "pg_wal/"+segments[1])
	require.Zero(t, code, stderr)
	require.Equal(t, 1, count(s.vault.Store()))

	// lifeboat-wal has asked, and tells what the worker said.
	s.env[ask.EnvSaid] = "ask worker at " + socket + ": it did not answer"
	code, _, stderr = s.run(t, walPush, "pg_wal/"+segments[1])
	require.Zero(t, code, stderr)
	require.Equal(t, "lifeboat: ask worker at "+socket+": it did not answer; it is pushed without the worker\n", stderr)
	require.Equal(t, 1, count(workers))
	delete(s.env, ask.EnvSaid)

	// A worker that has something else configured says so, and the file goes all the same.
	configured.Name = "other"
	code, _, stderr = s.run(t, walPush, "pg_wal/"+segments[2])
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "its configuration has other stores, keys or names than the worker's; it is pushed without the worker")
	require.Equal(t, 2, count(s.vault.Store()))

	cancel()
	require.NoError(t, <-ended)
	code, _, stderr = s.run(t, walPush, "pg_wal/"+segments[0])
	require.Zero(t, code, stderr)
	require.Empty(t, stderr)
	require.Equal(t, 3, count(s.vault.Store()))
	require.Equal(t, 1, count(workers))
}
