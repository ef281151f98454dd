package ask

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// EnvSaid is the variable that holds what the worker said to lifeboat-wal: lifeboat,
// which that becomes, tells it and does not ask again.
const EnvSaid = "LIFEBOAT_WORKER_SAID"

// ForFile asks the worker for a file of the working directory's pg_wal, as
// archive_command is given it, and says whether it is in the store. refused is what
// a person should know of: no worker is no news, nor is a file that lies elsewhere.
func ForFile(ctx context.Context, s system.System, d system.Database, path string) (done bool, refused error) {
	given, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return false, nil //nolint:nilerr // whoever pushes it says so
	}
	if own, err := os.Stat("pg_wal"); err != nil || !os.SameFile(given, own) {
		return false, nil //nolint:nilerr // the same
	}
	request, err := For(s, d, ".", filepath.Base(path))
	if err != nil {
		return false, nil //nolint:nilerr // the same
	}
	err = Worker(ctx, s.WALSocket(d), ".", request)
	if fault.Has(err, fault.ServerUnavailable) {
		return false, nil
	}
	return err == nil, err
}

// Worker has the worker at the socket push a file of dataDir, and waits at most 20
// seconds. nil: it is in the store. Otherwise nothing is known of it; the fault
// is ServerUnavailable when nobody listens, and ServerFailed for everything else.
func Worker(ctx context.Context, socket, dataDir string, r Request) error {
	const op = "ask worker at"
	dial, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	opened, err := new(net.Dialer).DialContext(dial, "unix", socket)
	if err != nil {
		return fault.New(fault.ServerUnavailable, op, socket, err)
	}
	defer opened.Close()
	failed := func(format string, args ...any) error {
		return fault.Newf(fault.ServerFailed, op, socket, format, args...).WithHint("read the worker's log; without it, each call pushes its file itself")
	}
	conn, ok := opened.(*net.UnixConn)
	if !ok {
		return failed("it is no Unix socket")
	}
	info, err := os.Stat(dataDir)
	if err != nil {
		return fault.New(fault.PathFailed, "look at", dataDir, err)
	}
	switch uid, err := Peer(conn); {
	case err != nil:
		return failed("who listens is not known: %v", err)
	case !Trusted(uid, Owner(info)):
		return failed("account %d listens, which is neither root nor the owner of the data directory", uid)
	}
	if err := conn.SetDeadline(time.Now().Add(AnswerTime)); err != nil {
		return failed("%v", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // it was just set
	defer stop()
	text, err := json.Marshal(r)
	if err != nil {
		return failed("%v", err)
	}
	if _, err := conn.Write(append(text, '\n')); err != nil {
		return failed("%v", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, MaxMessage))
	if err != nil {
		return failed("it did not answer: %v", err)
	}
	if string(answer) != Done+"\n" {
		return failed("%s", strings.TrimSpace(string(answer)))
	}
	return nil
}
