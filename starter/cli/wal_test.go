package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/telemetry"
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
