package archiver

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/frende/lifeboat/internal/archiver/ask"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/faulty"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

const (
	systemID = uint64(7319874613240918273)
	size     = 1 << 20
)

// site is a data directory, a store, and a worker that takes WAL between them.
type site struct {
	system  system.System
	socket  string
	dataDir string
	store   *faulty.Store
	cfg     Config
	log     *observer.ObservedLogs
	stop    func()
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"global", "pg_wal/archive_status"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, folder), 0o700))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "global/pg_control"), binary.NativeEndian.AppendUint64(nil, systemID), 0o600))
	self, err := postgres.OwnerOf(dir, "nobody") // not this test's account, when that is root
	require.NoError(t, err)
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(dir, self.UID, self.GID))
	}
	s := &site{dataDir: dir, socket: filepath.Join(t.TempDir(), "wal.sock"), store: faulty.New(t, mem.New("primary"))}
	s.system = system.System{
		Name: "shop", Stores: []system.Store{{Name: "primary", Bucket: "shop"}},
		Databases: []system.Database{{Name: "orders", Cluster: "orders", DataDir: dir, OSUser: self.Name, Socket: s.socket}},
	}
	ring, err := keys.NewRing(keys.Config{Secrets: []keys.Secret{keys.NewSecret([]byte(strings.Repeat("ab", 32)))}})
	require.NoError(t, err)
	budget := vault.NewBudget(64 << 20)
	core, log := observer.New(zapcore.InfoLevel)
	s.log = log
	s.cfg = Config{
		Load: func() (system.System, error) { return s.system, nil },
		Vault: func(context.Context, system.System, func(vault.Fallback)) (*vault.Vault, error) {
			return vault.New(vault.Config{Store: s.store, Keys: ring, Budget: budget})
		},
		Log: zap.New(core),
	}
	return s
}

// serve starts the worker's side, until stop or the end of the test.
func (s *site) serve(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	server, err := Listen(ctx, s.cfg, s.socket, s.system.Databases[0])
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()
	stopped := false
	s.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-ended)
		}
	}
	t.Cleanup(s.stop)
}

func name(n uint64) string { return postgres.Segment{Timeline: 1, Number: n}.Name(size) }

// completed writes the n-th segment as a server leaves it.
func (s *site) completed(t *testing.T, n uint64) {
	t.Helper()
	body := make([]byte, size)
	order := binary.NativeEndian
	order.PutUint16(body[0:], 0xD110)
	order.PutUint16(body[2:], 2)
	order.PutUint32(body[4:], 1)
	order.PutUint64(body[8:], n*size)
	order.PutUint64(body[24:], systemID)
	order.PutUint32(body[32:], size)
	require.NoError(t, os.WriteFile(filepath.Join(s.dataDir, "pg_wal", name(n)), body, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(s.dataDir, "pg_wal/archive_status", name(n)+".ready"), nil, 0o600))
}

func (s *site) request(t *testing.T, file string) ask.Request {
	t.Helper()
	r, err := ask.For(s.system, s.system.Databases[0], s.dataDir, file)
	require.NoError(t, err)
	return r
}

func (s *site) stored(t *testing.T) int {
	t.Helper()
	count := 0
	for _, err := range s.store.List(t.Context(), "wal/orders/7319874613240918273/00000001/", store.ListOptions{}) {
		require.NoError(t, err)
		count++
	}
	return count
}

func TestWorkerPushesWhatItIsAskedForAndWhatComesNext(t *testing.T) {
	s := newSite(t)
	s.serve(t)
	for n := uint64(3); n <= 6; n++ {
		s.completed(t, n)
	}
	require.NoError(t, ask.Worker(t.Context(), s.socket, s.dataDir, s.request(t, name(3))))
	require.Eventually(t, func() bool { return s.stored(t) == 4 }, 10*time.Second, time.Millisecond)
	for n := uint64(4); n <= 6; n++ {
		require.NoError(t, ask.Worker(t.Context(), s.socket, s.dataDir, s.request(t, name(n))))
	}
	require.Equal(t, 1, s.log.FilterMessage("taking WAL from PostgreSQL").Len())

	info, err := os.Stat(s.socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	data, err := os.Stat(s.dataDir)
	require.NoError(t, err)
	require.Equal(t, ask.Owner(data), ask.Owner(info))
	s.stop()
	require.NoFileExists(t, s.socket)
	err = ask.Worker(t.Context(), s.socket, s.dataDir, s.request(t, name(3)))
	require.Equal(t, fault.ServerUnavailable, fault.KindOf(err))
}

func TestWorkerSaysDoneForNothingElse(t *testing.T) {
	s := newSite(t)
	s.serve(t)
	s.completed(t, 3)
	for told, change := range map[string]func(*ask.Request){
		"this socket is that of orders":              func(r *ask.Request) { r.Database = "other" },
		"other stores, keys or names":                func(r *ask.Request) { r.Archive = "other" },
		"it does not run in " + s.dataDir:            func(r *ask.Request) { r.Inode++ },
		"its name is not that of a WAL file":         func(r *ask.Request) { r.Name = "../global/pg_control" },
		"00000001000000000000000F: no such file":     func(r *ask.Request) { r.Name = "00000001000000000000000F" },
		"input is not valid: unexpected end of JSON": nil,
	} {
		t.Run(told, func(t *testing.T) {
			r := s.request(t, name(3))
			if change != nil {
				change(&r)
				err := ask.Worker(t.Context(), s.socket, s.dataDir, r)
				require.Equal(t, fault.ServerFailed, fault.KindOf(err))
				require.ErrorContains(t, err, told)
			} else {
				conn, err := net.Dial("unix", s.socket)
				require.NoError(t, err)
				defer conn.Close()
				_, err = conn.Write([]byte("{\n"))
				require.NoError(t, err)
				answer, err := io.ReadAll(conn)
				require.NoError(t, err)
				require.Contains(t, string(answer), told)
			}
			require.Zero(t, s.stored(t))
		})
	}
	s.store.Queue(faulty.Fault{Op: faulty.Put, Key: name(3), Err: fault.Newf(fault.StorageUnavailable, "put", "object", "on purpose")})
	require.ErrorContains(t, ask.Worker(t.Context(), s.socket, s.dataDir, s.request(t, name(3))), "on purpose")
	require.NoError(t, ask.Worker(t.Context(), s.socket, s.dataDir, s.request(t, name(3))))
}

func TestWorkerThatHangsIsNotWaitedFor(t *testing.T) {
	s := newSite(t)
	s.serve(t)
	s.completed(t, 3)
	hold := make(chan struct{})
	s.store.Queue(faulty.Fault{Op: faulty.Put, Key: name(3), Hold: hold})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := ask.Worker(ctx, s.socket, s.dataDir, s.request(t, name(3)))
	require.Equal(t, fault.ServerFailed, fault.KindOf(err))
	require.ErrorContains(t, err, "it did not answer")
	close(hold)
	require.NoError(t, ask.Worker(t.Context(), s.socket, s.dataDir, s.request(t, name(3))))
}

func TestSocketOfADeadWorkerIsTakenAndThatOfALivingOneGoesOver(t *testing.T) {
	s := newSite(t)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.socket, Net: "unix"})
	require.NoError(t, err)
	stale.SetUnlinkOnClose(false)
	require.NoError(t, stale.Close())
	s.completed(t, 3)
	s.serve(t)
	first := s.stop
	s.serve(t) // the successor begins before its predecessor has ended
	first()
	require.FileExists(t, s.socket)
	require.NoError(t, ask.Worker(t.Context(), s.socket, s.dataDir, s.request(t, name(3))))

	s.system.Databases[0].Socket = filepath.Join(t.TempDir(), "nowhere", "wal.sock")
	_, err = Listen(t.Context(), s.cfg, s.system.Databases[0].Socket, s.system.Databases[0])
	require.Equal(t, fault.PathFailed, fault.KindOf(err))
	require.ErrorIs(t, err, os.ErrNotExist)
}
