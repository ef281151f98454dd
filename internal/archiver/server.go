package archiver

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/archiver/ask"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

// requestTime is how long a request may take to be read.
const requestTime = 2 * time.Second

// Config is what a server needs. All of it is needed.
type Config struct {
	Load  func() (system.System, error) // reads what reaching the stores needs, anew for each request
	Vault func(ctx context.Context, s system.System, onFallback func(vault.Fallback)) (*vault.Vault, error)
	Log   *zap.Logger
}

// Server answers wal-push for one database.
type Server struct {
	cfg      Config
	socket   string
	database system.Database
	listener *net.UnixListener
	file     os.FileInfo // of the socket

	mu      sync.Mutex // one file at a time is asked for: PostgreSQL has one archiver
	ahead   *wal.Ahead
	archive string // that ahead pushes to
}

// Listen takes the socket of a database: from a worker that died, and from one that
// lives. It does not make the folder.
func Listen(ctx context.Context, c Config, socket string, d system.Database) (*Server, error) {
	const op = "listen at"
	account, err := postgres.OwnerOf(d.DataDir, d.OSUser)
	if err != nil {
		return nil, err
	}
	// It comes into sight under its name when its mode and owner are right.
	beside := fmt.Sprintf("%s.%d", socket, os.Getpid())
	if err := os.Remove(beside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.PathFailed, op, socket, err)
	}
	opened, err := new(net.ListenConfig).Listen(ctx, "unix", beside)
	if err != nil {
		return nil, fault.New(fault.PathFailed, op, socket, err).
			WithHint("make %s, or name another socket at the database; until then each wal-push goes to the store itself", filepath.Dir(socket))
	}
	listener, ok := opened.(*net.UnixListener)
	if !ok {
		return nil, fault.Newf(fault.PathFailed, op, socket, "it is no Unix socket")
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(beside, 0o600)
	if err == nil && os.Geteuid() == 0 {
		err = os.Lchown(beside, account.UID, account.GID)
	}
	var file os.FileInfo
	if err == nil {
		file, err = os.Lstat(beside)
	}
	if err == nil {
		err = os.Rename(beside, socket)
	}
	if err != nil {
		return nil, fault.New(fault.PathFailed, op, socket, errors.Join(err, listener.Close(), os.Remove(beside)))
	}
	return &Server{cfg: c, socket: socket, database: d, listener: listener, file: file}, nil
}

// Serve answers until ctx ends, and removes the socket.
func (s *Server) Serve(ctx context.Context) error {
	var answering sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() }) // Accept tells
	defer stop()
	for {
		conn, err := s.listener.AcceptUnix()
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				s.cfg.Log.Warn("wal-push was not heard", zap.Error(err))
				select {
				case <-time.After(requestTime): // files are closed meanwhile, and wal-push goes to the store itself
				case <-ctx.Done():
				}
				continue
			}
			return errors.Join(fault.New(fault.PathFailed, "listen at", s.socket, err), s.end(&answering))
		}
		answering.Go(func() { s.answer(ctx, conn) })
	}
	return s.end(&answering)
}

// end closes what is open, and leaves the socket of a worker that took over.
func (s *Server) end(answering *sync.WaitGroup) error {
	var errs []error
	if found, err := os.Lstat(s.socket); err == nil && os.SameFile(found, s.file) {
		errs = append(errs, os.Remove(s.socket))
	}
	answering.Wait()
	errs = append(errs, s.use(nil, ""))
	return errors.Join(errs...)
}

// use replaces the directory that is pushed from.
func (s *Server) use(ahead *wal.Ahead, archive string) error {
	old := s.ahead
	s.ahead, s.archive = ahead, archive
	if old == nil {
		return nil
	}
	return old.Close()
}

func (s *Server) answer(ctx context.Context, conn *net.UnixConn) {
	defer func() { _ = conn.Close() }() // what was said is sent
	ctx, cancel := context.WithTimeout(ctx, ask.AnswerTime)
	defer cancel()
	said := ask.Done
	r, err := s.read(conn)
	if err == nil {
		err = s.push(ctx, r)
	}
	if err != nil {
		said = strings.ReplaceAll(err.Error(), "\n", " ")
		said = said[:min(len(said), ask.MaxMessage-1)]
		s.cfg.Log.Warn("WAL was not pushed for PostgreSQL, which goes to the store itself", zap.String("file", r.Name), zap.Error(err))
	}
	if _, err := io.WriteString(conn, said+"\n"); err != nil {
		s.cfg.Log.Info("wal-push did not wait for its answer", zap.String("file", r.Name), zap.Error(err))
	}
}

func (s *Server) read(conn *net.UnixConn) (ask.Request, error) {
	const op = "read request at"
	info, err := os.Stat(s.database.DataDir)
	if err != nil {
		return ask.Request{}, fault.New(fault.PathFailed, "look at", s.database.DataDir, err)
	}
	uid, err := ask.Peer(conn)
	if err != nil {
		return ask.Request{}, fault.New(fault.InputInvalid, op, s.socket, err)
	}
	if !ask.Trusted(uid, ask.Owner(info)) {
		return ask.Request{}, fault.Newf(fault.InputInvalid, op, s.socket, "account %d is neither root nor the owner of the data directory", uid)
	}
	if err := conn.SetDeadline(time.Now().Add(requestTime)); err != nil {
		return ask.Request{}, fault.New(fault.InputInvalid, op, s.socket, err)
	}
	line, err := bufio.NewReader(io.LimitReader(conn, ask.MaxMessage)).ReadBytes('\n')
	if err != nil {
		return ask.Request{}, fault.New(fault.InputInvalid, op, s.socket, err)
	}
	var r ask.Request
	if err := json.Unmarshal(line, &r); err != nil {
		return ask.Request{}, fault.New(fault.InputInvalid, op, s.socket, err)
	}
	if err := conn.SetDeadline(time.Now().Add(ask.AnswerTime + requestTime)); err != nil {
		return ask.Request{}, fault.New(fault.InputInvalid, op, s.socket, err)
	}
	return r, nil
}

func (s *Server) push(ctx context.Context, r ask.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.turnTo(r); err != nil {
		return err
	}
	return s.ahead.Push(ctx, r.Name)
}

// turnTo opens what the request is about, when it is what this worker protects.
func (s *Server) turnTo(r ask.Request) error {
	refuse := func(kind fault.Kind, format string, args ...any) error {
		return fault.Newf(kind, "push WAL for", r.Database, format, args...)
	}
	configured, err := s.cfg.Load()
	if err != nil {
		return err
	}
	if r.Database != s.database.Name {
		return refuse(fault.InputInvalid, "this socket is that of %s", s.database.Name)
	}
	d, err := configured.Database(r.Database)
	if err != nil {
		return err
	}
	home, err := wal.HomeOf(d.DataDir)
	if err != nil {
		return err
	}
	if home != "" {
		if configured, err = configured.Alone(home); err != nil {
			return err
		}
	}
	archive, err := ask.ArchiveOf(configured, d)
	if err != nil {
		return err
	}
	if archive != r.Archive {
		return refuse(fault.ConfigInvalid, "its configuration has other stores, keys or names than the worker's")
	}
	if s.ahead != nil && s.archive == archive && s.isAt(r) {
		return nil
	}
	v, err := s.cfg.Vault(context.Background(), configured, nil)
	if err != nil {
		return err
	}
	opened, err := wal.New(wal.Config{Vault: v, Cluster: d.Cluster})
	if err != nil {
		return err
	}
	ahead, err := opened.Ahead(context.Background(), d.DataDir) // ended by use
	if err != nil {
		return err
	}
	if err := s.use(ahead, archive); err != nil {
		return err
	}
	if !s.isAt(r) {
		return errors.Join(refuse(fault.WrongServer, "it does not run in %s", d.DataDir), s.use(nil, ""))
	}
	s.cfg.Log.Info("taking WAL from PostgreSQL", zap.String("data_dir", d.DataDir), zap.String("store", v.Store().Name()))
	return nil
}

// isAt says whether the directory that is open is the one of the request.
func (s *Server) isAt(r ask.Request) bool {
	info, err := s.ahead.Directory()
	if err != nil {
		return false
	}
	device, inode := ask.Place(info)
	return device == r.Device && inode == r.Inode
}
