package archiver

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// Ask has the worker at the socket push a file of dataDir, and waits at most 20
// seconds. nil: it is in the store. Otherwise nothing is known of it; the fault
// is ServerUnavailable when nobody listens, and ServerFailed for everything else.
func Ask(ctx context.Context, socket, dataDir string, r Request) error {
	return ask(ctx, socket, dataDir, r, answerTime)
}

func ask(ctx context.Context, socket, dataDir string, r Request, patience time.Duration) error {
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
	switch uid, err := peer(conn); {
	case err != nil:
		return failed("who listens is not known: %v", err)
	case !trusted(uid, owner(info)):
		return failed("account %d listens, which is neither root nor the owner of the data directory", uid)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return failed("%v", err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return failed("%v", err)
	}
	if _, err := conn.Write(append(text, '\n')); err != nil {
		return failed("%v", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxMessage))
	if err != nil {
		return failed("it did not answer: %v", err)
	}
	if string(answer) != done+"\n" {
		return failed("%s", strings.TrimSpace(string(answer)))
	}
	return nil
}
