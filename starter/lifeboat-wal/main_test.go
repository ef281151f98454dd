package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/archiver"
	"github.com/frende/lifeboat/internal/archiver/ask"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/postgres/walfile"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal/local"
)

const (
	systemID = uint64(7319874613240918273)
	size     = 1 << 20
)

// builtEnv names the program that is tested, for this process.
const builtEnv = "LIFEBOAT_TEST_WAL"

func TestMain(m *testing.M) {
	code := 1
	dir, err := os.MkdirTemp("", "lifeboat-wal-")
	if err == nil {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "lifeboat-wal"), ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		var output []byte
		if output, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("go build: %w: %s", err, output)
		}
	}
	if err = errors.Join(err, os.Setenv(builtEnv, filepath.Join(dir, "lifeboat-wal"))); err == nil {
		code = m.Run()
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// became is the exit code of the lifeboat of these tests, which notes how it is called.
const became = 42

// site is a data directory with a configuration, and the program with a lifeboat beside it.
type site struct {
	bin, told, config, socket, dataDir string
	store                              store.Store
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{
		bin: filepath.Join(dir, "bin"), told: filepath.Join(dir, "told"), config: filepath.Join(dir, "lifeboat.yaml"),
		socket: filepath.Join(dir, "wal.sock"), dataDir: filepath.Join(dir, "data"), store: mem.New("primary"),
	}
	for _, folder := range []string{"bin", "data/global", "data/pg_wal/archive_status"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, folder), 0o700))
	}
	self, err := postgres.OwnerOf(s.dataDir, "nobody") // not this test's account, when that is root
	require.NoError(t, err)
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(s.dataDir, self.UID, self.GID))
	}
	require.NoError(t, os.Link(os.Getenv(builtEnv), filepath.Join(s.bin, "lifeboat-wal")))
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$@\" \"said=$LIFEBOAT_WORKER_SAID\" > '%s'\nexit %d\n", s.told, became)
	require.NoError(t, os.WriteFile(filepath.Join(s.bin, "lifeboat"), []byte(script), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(s.dataDir, "global/pg_control"), binary.NativeEndian.AppendUint64(nil, systemID), 0o600))
	require.NoError(t, os.WriteFile(s.config, fmt.Appendf(nil, `system: shop
stores:
  - {name: primary, bucket: shop-backups, region: us-east-1, access_key: env:ACCESS, secret_key: env:ACCESS}
keys: {encryption: [env:KEY]}
databases:
  - {name: orders, connection: env:NOT_SET_FOR_THE_ARCHIVER, data_dir: %s, os_user: %s, service: none, socket: %s}
`, s.dataDir, self.Name, s.socket), 0o600))
	return s
}

func (s *site) environment(name string) (string, bool) {
	switch name {
	case "ACCESS", "KEY":
		return "correct horse battery staple", true
	}
	return "", false
}

// run calls the program as PostgreSQL does, and gives its exit code and what it, or
// the lifeboat of the tests, said.
func (s *site) run(t *testing.T, args ...string) (code int, told string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(s.told))
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.bin, "lifeboat-wal"), args...)
	cmd.Dir, cmd.Env = s.dataDir, []string{"ACCESS=correct horse battery staple", "KEY=correct horse battery staple"}
	output, err := cmd.CombinedOutput()
	if err != nil {
		ended, ok := errors.AsType[*exec.ExitError](err)
		require.True(t, ok, err)
		code = ended.ExitCode()
	}
	if code != became {
		require.NoFileExists(t, s.told)
		return code, string(output)
	}
	require.Empty(t, output)
	text, err := os.ReadFile(s.told)
	require.NoError(t, err)
	return code, string(text)
}

func name(n uint64) string { return walfile.Segment{Timeline: 1, Number: n}.Name(size) }

func segment(n uint64) []byte {
	body := make([]byte, size)
	order := binary.NativeEndian
	order.PutUint16(body[0:], 0xD110)
	order.PutUint16(body[2:], 2)
	order.PutUint32(body[4:], 1)
	order.PutUint64(body[8:], n*size)
	order.PutUint64(body[24:], systemID)
	order.PutUint32(body[32:], size)
	body[5000] = byte(n)
	return body
}

// serves runs a worker of the directory until the end of the test.
func (s *site) serves(t *testing.T, change func(*system.System)) {
	t.Helper()
	configured, err := system.LoadStorage(s.config, s.environment)
	require.NoError(t, err)
	database := configured.Databases[0]
	if change != nil {
		change(configured)
	}
	ring, err := keys.NewRing(keys.Config{Secrets: []keys.Secret{keys.NewSecret(make([]byte, 32))}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	server, err := archiver.Listen(ctx, archiver.Config{
		Load: func() (system.System, error) { return *configured, nil },
		Vault: func(context.Context, system.System, func(vault.Fallback)) (*vault.Vault, error) {
			return vault.New(vault.Config{Store: s.store, Keys: ring, Budget: vault.NewBudget(64 << 20)})
		},
		Log: zap.NewNop(),
	}, s.socket, database)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
}

func (s *site) stored(t *testing.T) (segments int) {
	t.Helper()
	for _, err := range s.store.List(t.Context(), "wal/orders/7319874613240918273/00000001/", store.ListOptions{}) {
		require.NoError(t, err)
		segments++
	}
	return segments
}

func TestAFileIsPushedByTheWorkerAndByLifeboatWithoutOne(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.dataDir, "pg_wal", name(3)), segment(3), 0o600))
	code, told := s.run(t, "--config", s.config, "wal-push", "pg_wal/"+name(3))
	require.Equal(t, became, code)
	require.Equal(t, "--config\n"+s.config+"\nwal-push\npg_wal/"+name(3)+"\nsaid=\n", told)
	require.Zero(t, s.stored(t))

	s.serves(t, nil)
	for range 2 {
		code, told = s.run(t, "--config", s.config, "wal-push", "pg_wal/"+name(3))
		require.Zero(t, code, told)
		require.Empty(t, told)
		require.Equal(t, 1, s.stored(t))
	}
	// A file that lies elsewhere, and what the worker refuses, are lifeboat's.
	require.NoError(t, os.WriteFile(filepath.Join(s.dataDir, name(4)), segment(4), 0o600))
	code, told = s.run(t, "--config", s.config, "wal-push", name(4))
	require.Equal(t, became, code)
	require.Contains(t, told, "said=\n")
	code, told = s.run(t, "--config", s.config, "wal-push", "pg_wal/"+name(5))
	require.Equal(t, became, code)
	require.Contains(t, told, "said=ask worker at "+s.socket+": ")
	require.Contains(t, told, "no such file")
	require.Equal(t, 1, s.stored(t))

	// So is a directory that archives to another store.
	require.NoError(t, os.WriteFile(filepath.Join(s.dataDir, local.MarkerName), []byte(`{"home":"replica"}`), 0o600))
	code, told = s.run(t, "--config", s.config, "wal-push", "pg_wal/"+name(3))
	require.Equal(t, became, code)
	require.Contains(t, told, "said=\n")
}

func TestAWorkerThatProtectsSomethingElseIsNotBelieved(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.dataDir, "pg_wal", name(3)), segment(3), 0o600))
	s.serves(t, func(other *system.System) { other.Name = "other" })
	code, told := s.run(t, "--config", s.config, "wal-push", "pg_wal/"+name(3))
	require.Equal(t, became, code)
	require.Contains(t, told, "its configuration has other stores, keys or names than the worker's")
	require.Zero(t, s.stored(t))
}

func TestHalfAnAnswerIsNone(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.dataDir, "pg_wal", name(3)), segment(3), 0o600))
	listener, err := net.Listen("unix", s.socket)
	require.NoError(t, err)
	answers := make(chan string)
	go func() {
		for answer := range answers {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, ask.MaxMessage))
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { close(answers); _ = listener.Close() })
	for _, answer := range []string{"", "d", "done", "done\ndone\n", "\n", "done then\n", strings.Repeat("done\n", 2000)} {
		answers <- answer
		code, told := s.run(t, "--config", s.config, "wal-push", "pg_wal/"+name(3))
		require.Equal(t, became, code, "%q", answer)
		require.Contains(t, told, "said=ask worker at ", "%q", answer)
	}
	answers <- ask.Done + "\n"
	code, told := s.run(t, "--config", s.config, "wal-push", "pg_wal/"+name(3))
	require.Zero(t, code, told)
}

func TestAFileIsTakenFromTheSpoolAndWhateverElseIsLeftToLifeboat(t *testing.T) {
	s := newSite(t)
	run := t.TempDir()
	pin := local.Pin{
		Cluster: "orders", SystemID: fmt.Sprint(systemID), Timeline: 1, Newest: 1, SegmentSize: size,
		History: []local.Branch{{Timeline: 1}}, Start: name(3), End: name(6),
	}
	pinned := filepath.Join(run, "pin.json")
	require.NoError(t, pin.Write(pinned))
	spool := local.SpoolOf(pinned).Dir()
	require.NoError(t, os.Mkdir(spool, 0o700))
	for n := uint64(3); n <= 7; n++ {
		body := segment(n)
		require.NoError(t, os.WriteFile(filepath.Join(spool, local.Spooled(name(n), body)), body, 0o600))
	}
	damaged, err := filepath.Glob(filepath.Join(spool, name(4)+".*"))
	require.NoError(t, err)
	require.NoError(t, os.Truncate(damaged[0], 4096)) // a crash of the host
	dst := filepath.Join(s.dataDir, "pg_wal/RECOVERYXLOG")

	for _, one := range []struct {
		asked string
		code  int
	}{{name(3), 0}, {name(3), became}, {name(4), became}, {name(5), 0}, {name(7), became}, {"00000002.history", became}, {"../../etc/passwd", became}} {
		require.NoError(t, os.RemoveAll(dst))
		code, told := s.run(t, "--config", "nowhere", "--from", "primary", "wal-fetch", "--pin", pinned, one.asked, "pg_wal/RECOVERYXLOG")
		require.Equal(t, one.code, code, "%s: %s", one.asked, told)
		if one.code == became {
			require.Contains(t, told, "wal-fetch\n--pin\n"+pinned+"\n"+one.asked+"\npg_wal/RECOVERYXLOG\nsaid=\n")
			require.NoFileExists(t, dst)
			continue
		}
		got, err := os.ReadFile(dst)
		require.NoError(t, err)
		require.Equal(t, local.Spooled(one.asked, got), local.Spooled(one.asked, segment(uint64(one.asked[23]-'0'))))
	}
}

func TestWithoutALifeboatThereIsNoEndOfTheArchive(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.Remove(filepath.Join(s.bin, "lifeboat")))
	for code, args := range map[int][]string{
		exitStop:      {"--config", s.config, "wal-fetch", name(3), "RECOVERYXLOG", "--pin", "nowhere.json"},
		exitNotPushed: {"--config", s.config, "wal-push", "pg_wal/" + name(3)},
	} {
		got, told := s.run(t, args...)
		require.Equal(t, code, got)
		require.Contains(t, told, "lifeboat-wal: go on as lifeboat: ")
		require.Contains(t, told, "HINT: install lifeboat beside lifeboat-wal")
	}
}

func TestItNeverBecomesItself(t *testing.T) {
	s := newSite(t)
	lifeboat := filepath.Join(s.bin, "lifeboat")
	require.NoError(t, os.Remove(lifeboat))
	require.NoError(t, os.Symlink("lifeboat-wal", lifeboat))
	code, told := s.run(t, "--config", s.config, walPush, "pg_wal/"+name(1))
	require.Equal(t, exitNotPushed, code)
	require.Contains(t, told, "is this program itself")
}

func TestACommandLineThatCouldMeanSomethingElseIsNotUnderstood(t *testing.T) {
	for line, want := range map[string]arguments{
		"wal-push pg_wal/1":                         {command: walPush, rest: []string{"pg_wal/1"}},
		"--config a wal-push --database b pg_wal/1": {command: walPush, rest: []string{"pg_wal/1"}, config: "a", database: "b"},
		"wal-push pg_wal/1 --config=a":              {command: walPush, rest: []string{"pg_wal/1"}, config: "a"},
		"--config a --from b wal-fetch 1 2 --pin=c": {command: walFetch, rest: []string{"1", "2"}, config: "a", from: "b", pin: "c"},
		"wal-fetch --pin c 1 2":                     {command: walFetch, rest: []string{"1", "2"}, pin: "c"},
		"":                                          {}, "wal-push": {}, "wal-push a b": {}, "wal-push -- a": {}, "wal-push -h a": {}, "wal-push --help": {},
		"--from b wal-push pg_wal/1": {}, "wal-push pg_wal/1 --config": {}, "wal-push pg_wal/1 --config=": {},
		"--config a --config b wal-push c": {}, "wal-push a --pin b": {}, "wal-fetch 1 2": {}, "wal-fetch 1 --pin c": {},
		"wal-fetch 1 2 --pin c --database d": {}, "backups list": {}, "--bogus wal-push a": {}, "-c a wal-push b": {},
	} {
		a, understood := parse(strings.Fields(line))
		require.Equal(t, want.command != "", understood, line)
		if understood {
			require.Equal(t, want, a, line)
		}
	}
}

func TestADefectIsLeftToLifeboat(t *testing.T) {
	t.Chdir(t.TempDir())
	said, done := attempt(t.Context(), []string{"wal-push", "pg_wal/" + name(3)}, func(string) (string, bool) { panic("defect") })
	require.False(t, done)
	require.Empty(t, said)
}

func TestItEndsWhenItIsToldTo(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.dataDir, "pg_wal", name(3)), segment(3), 0o600))
	listener, err := net.Listen("unix", s.socket)
	require.NoError(t, err)
	defer listener.Close()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.bin, "lifeboat-wal"), "--config", s.config, "wal-push", "pg_wal/"+name(3))
	cmd.Dir, cmd.Env = s.dataDir, []string{"ACCESS=a", "KEY=correct horse battery staple"}
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Kill() }, time.Second
	require.NoError(t, cmd.Start())
	conn, err := listener.Accept()
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Read(make([]byte, ask.MaxMessage))
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Error(t, cmd.Wait())
	require.Equal(t, exitNotPushed, cmd.ProcessState.ExitCode())
	require.NoFileExists(t, s.told)
}
