package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// A standby is mute when it has replayed all its WAL and lets nobody in: a
// transaction with more than 64 subtransactions was open when the WAL ended, and
// the server, started within it, can't know which rows to show until it has ended
// (manual, "Hot Standby", "Administrator's Overview"). It never ends, but by a
// promotion.

// muteTime is how long a server may stand at the end of its WAL before it is
// taken for mute: longer than it waits between two looks for more WAL (5 s).
const muteTime = 10 * time.Second

// Standby is a restored server that its own service starts.
type Standby struct {
	Login       Login
	DataDir     string
	BinDir      string
	Owner       Account
	LSN         LSN // that it has to reach
	SegmentSize int64
}

// WithMutePromoted runs step, which waits for the server to answer. Should the
// server be mute meanwhile, it is promoted by file and signal. No WAL is given
// up by that: a promoted server first replays what lies in its pg_wal (manual,
// "Standby Server Operation"), and does not start when that ends before the
// minimum of its control file. CheckPromotedAt says where it left the old timeline.
func (s Standby) WithMutePromoted(ctx context.Context, step func() error) error {
	watching, stop := context.WithCancel(ctx)
	watched := make(chan error, 1)
	go func() { watched <- s.promoteMute(watching) }()
	err := step()
	ended := watching.Err()
	stop()
	failed := <-watched
	if err != nil && failed != nil && ended == nil && !errors.Is(failed, context.Canceled) {
		return errors.Join(err, failed)
	}
	return err
}

// promoteMute watches until the context ends, and promotes once at most.
func (s Standby) promoteMute(ctx context.Context) error {
	poll := time.NewTicker(time.Second)
	defer poll.Stop()
	var since time.Time
	for {
		switch {
		case !s.ended() || !s.starting(ctx):
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= muteTime:
			_, err := command.Run(ctx, command.Config{
				Argv: []string{filepath.Join(s.BinDir, "pg_ctl"), "promote", "-D", s.DataDir, "-t", strconv.Itoa(promoteTime)},
				User: s.Owner.Name, Env: cLocale(),
			})
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
}

// starting says whether the server answers that it lets nobody in yet.
func (s Standby) starting(ctx context.Context) bool {
	conn, err := pgconn.ConnectConfig(ctx, &s.Login.config.Config)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		_ = conn.Close(ctx) // nothing depends on the goodbye
		return false
	}
	said, ok := errors.AsType[*pgconn.PgError](err)
	return ok && said.Code == stateStarting
}

// ended says whether the startup process has come to the segment that holds LSN:
// its title names the one that it replays or waits for.
func (s Standby) ended() bool {
	pids, err := workers(s.DataDir)
	if err != nil {
		return false // they are looked at again
	}
	for _, pid := range pids {
		title, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err != nil {
			continue
		}
		words := strings.Fields(strings.TrimRight(string(title), "\x00"))
		at := len(words) - 1
		if at < 2 || words[at-2] != "startup" {
			continue
		}
		segment, err := ParseSegment(words[at], s.SegmentSize)
		return err == nil && segment.Number >= uint64(max(s.LSN, 1)-1)/uint64(s.SegmentSize)
	}
	return false
}

// CheckPromotedAt fails with WALShort when the server in dataDir left the
// timeline before lsn. One that is still on it has not left.
func CheckPromotedAt(dataDir string, restored, now uint32, lsn LSN) error {
	if now <= restored {
		return nil
	}
	const op = "promote"
	path := filepath.Join(dataDir, "pg_wal", HistoryName(now))
	body, err := os.ReadFile(path)
	if err != nil {
		return pathFault(op, path, err)
	}
	for line := range strings.Lines(string(body)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != strconv.FormatUint(uint64(restored), 10) {
			continue
		}
		left, err := ParseLSN(fields[1])
		if err != nil {
			return err
		}
		if left < lsn {
			return fault.Newf(fault.WALShort, op, dataDir, "it was promoted at %s, the recovery point is %s", left, lsn).
				WithHint("what was committed between the two is missing: read the server's log, and recover once more")
		}
		return nil
	}
	return fault.Newf(fault.WALShort, op, path, "it does not say where timeline %d was left", restored)
}

// mute says whether the server has replayed all its WAL, consistently, and lets
// nobody in. Its log tells: its words are in English, and of its last start.
func (i *Instance) mute() (bool, error) {
	log, err := i.log()
	if err != nil {
		return false, err
	}
	return strings.Contains(log, "LOG:  consistent recovery state reached") &&
		!strings.Contains(log, "LOG:  database system is ready to accept read-only connections"), nil
}

// standstill gives where a mute server has come to. It is stopped for that, and
// stays so: its control file tells. nil: it has to go on first, as a stop that
// takes up a newer restart point does not write down the last position.
func (i *Instance) standstill(ctx context.Context) (*Replayed, error) {
	before, err := ReadControl(ctx, i.config.BinDir, i.config.DataDir)
	if err != nil {
		return nil, err
	}
	if err := EndProcesses(ctx, i.config.DataDir); err != nil {
		return nil, err
	}
	after, err := ReadControl(ctx, i.config.BinDir, i.config.DataDir)
	if err != nil {
		return nil, err
	}
	if after.Checkpoint == before.Checkpoint && after.State == "shut down in recovery" {
		return &Replayed{LSN: after.Minimum}, nil
	}
	argv, err := i.arguments(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := i.furnish(argv); err != nil {
		return nil, err
	}
	return nil, i.start(ctx, argv)
}

// log is what the server said since it was last started.
func (i *Instance) log() (string, error) {
	body, err := os.ReadFile(i.LogFile())
	if err != nil {
		return "", pathFault("read", i.LogFile(), err)
	}
	log := string(body)
	return log[max(strings.LastIndex(log, "LOG:  starting PostgreSQL "), 0):], nil
}
