package postgres

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/frende/lifeboat/internal/fault"
)

// fenceMark is the first line of a fenced pg_hba.conf.
const fenceMark = "# fenced by lifeboat; the original lies beside, see: "

// fence is the journal of a raised fence.
type fence struct {
	HBA     string `json:"hba"`      // the file that was replaced
	Aside   string `json:"aside"`    // its original
	DataDir string `json:"data_dir"` // of the server, to be told when the fence is lowered
}

// RaiseFence lets no one log in to the server any more but the role of login:
// client authentication is replaced and reloaded, and the original kept beside.
// (A CONNECTION LIMIT would be written to the WAL and come back with a restore.)
// Sessions that exist go on until Terminate. The journal makes LowerFence
// possible for any later process; a fence that another run left behind is taken
// over. It may be called again, and returns when the server refuses others. The
// worker must be on the server's host.
func RaiseFence(ctx context.Context, server *Server, journal string) error {
	const op = "fence"
	path := server.facts.HBAFile
	body, err := os.ReadFile(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path) // a link to it stays one
	}
	if err != nil {
		return fault.New(fault.PathFailed, op, server.facts.HBAFile, err).WithHint("Lifeboat must run on the host of %s to fence it, and be able to change this file", server.String())
	}
	f := fence{HBA: path, Aside: path + ".lifeboat-original", DataDir: server.facts.DataDir}
	if fenced(path) {
		if err := f.note(journal); err != nil {
			return err
		}
	} else {
		door, err := server.door(ctx)
		if err != nil {
			return err
		}
		if err := f.note(journal); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return pathFault(op, path, err)
		}
		if err := copyAs(f.Aside, body, info); err != nil {
			return err
		}
		if err := copyAs(path, []byte(fenceMark+f.Aside+"\n"+door), info); err != nil {
			return err
		}
	}
	if err := server.execute(ctx, "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	return server.login.awaitFence(ctx)
}

// note writes the journal. It stays this process's own: what it says is done
// with this process's rights, and the run's directory is the server account's.
func (f fence) note(journal string) error {
	noted, err := json.Marshal(f)
	if err != nil {
		return fault.New(fault.PathFailed, "fence", journal, err)
	}
	return Account{UID: os.Geteuid(), GID: os.Getegid()}.place(journal, noted, 0o600)
}

// readFence reads a journal that a process with no other rights than this one wrote.
func readFence(journal string) (f fence, found bool, err error) {
	const op = "lower fence"
	info, err := os.Lstat(journal)
	if errors.Is(err, fs.ErrNotExist) {
		return fence{}, false, nil
	}
	if err != nil {
		return fence{}, false, pathFault(op, journal, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || os.Geteuid() == 0 && stat.Uid != 0 {
		return fence{}, false, fault.Newf(fault.TargetRefused, op, journal, "it was not written by this worker's user").
			WithHint("compare pg_hba.conf with the original beside it by hand, then remove this file")
	}
	body, err := os.ReadFile(journal)
	if err != nil {
		return fence{}, false, pathFault(op, journal, err)
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return fence{}, false, fault.New(fault.PathFailed, op, journal, err).WithHint("compare pg_hba.conf with the original beside it by hand")
	}
	return f, true, nil
}

// LowerFence puts the original client authentication back, and tells the server
// in case it runs. Without a raised fence it does nothing, and says so.
func LowerFence(ctx context.Context, journal string) (lowered bool, err error) {
	const op = "lower fence"
	f, found, err := readFence(journal)
	if err != nil || !found {
		return false, err
	}
	original, err := os.ReadFile(f.Aside)
	switch {
	case err == nil:
		current, err := os.ReadFile(f.HBA)
		switch {
		case err == nil && !strings.HasPrefix(string(current), fenceMark):
			// Replaced by someone since, or never fenced: theirs is the newer.
		case err == nil || errors.Is(err, fs.ErrNotExist):
			info, err := os.Stat(f.Aside)
			if err != nil {
				return false, pathFault(op, f.Aside, err)
			}
			if err := copyAs(f.HBA, original, info); err != nil {
				return false, err
			}
			lowered = true
		default:
			return false, pathFault(op, f.HBA, err)
		}
		if err := os.Remove(f.Aside); err != nil {
			return lowered, pathFault(op, f.Aside, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return false, pathFault(op, f.Aside, err)
	case fenced(f.HBA):
		return false, fault.New(fault.PathFailed, op, f.HBA, err).WithHint("it is still fenced, and its original is gone: write it anew, then reload the server")
	}
	if pid, found := postmaster(f.DataDir); found {
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil && !errors.Is(err, syscall.ESRCH) {
			return lowered, fault.New(fault.ServerFailed, op, f.DataDir, err).WithHint("run: SELECT pg_reload_conf()")
		}
	}
	if err := os.Remove(journal); err != nil {
		return lowered, pathFault(op, journal, err)
	}
	return lowered, ctx.Err()
}

// Fenced says whether a fence is raised, or half raised, by its journal.
func Fenced(journal string) bool {
	_, err := os.Stat(journal)
	return err == nil
}

// fenced says whether a file of client authentication is a fence.
func fenced(hba string) bool {
	body, err := os.ReadFile(hba)
	return err == nil && strings.HasPrefix(string(body), fenceMark)
}

// copyAs writes a file whole, with the owner and mode of another.
func copyAs(path string, content []byte, like fs.FileInfo) error {
	a := Account{UID: os.Geteuid(), GID: os.Getegid()}
	if stat, ok := like.Sys().(*syscall.Stat_t); ok {
		a = Account{UID: int(stat.Uid), GID: int(stat.Gid)}
	}
	return a.place(path, content, like.Mode().Perm())
}

const doorSQL = `
SELECT type, database, coalesce(address, ''), coalesce(netmask, ''), auth_method, coalesce(options, '{}')
FROM pg_hba_file_rules
WHERE error IS NULL AND auth_method <> 'reject' AND (user_name @> ARRAY['all'] OR user_name @> ARRAY[$1])`

// door gives the lines of client authentication that let this role in now,
// narrowed to this role, in the order of the view, which is that of the files.
// Everyone else finds no line, and is refused.
func (s *Server) door(ctx context.Context) (string, error) {
	type rule struct {
		Type, Address, Netmask, Method string
		Database, Options              []string
	}
	rules, err := collect(ctx, s, doorSQL, func(row pgx.CollectableRow) (r rule, err error) {
		return r, row.Scan(&r.Type, &r.Database, &r.Address, &r.Netmask, &r.Method, &r.Options)
	}, s.login.User())
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	for _, r := range rules {
		if len(r.Database) == 1 && r.Database[0] == "replication" {
			continue
		}
		fields := []string{r.Type, strings.Join(each(r.Database, quoteHBA), ","), `"` + s.login.User() + `"`}
		if r.Address != "" {
			fields = append(fields, quoteHBA(r.Address))
		}
		if r.Netmask != "" {
			fields = append(fields, r.Netmask)
		}
		fields = append(fields, r.Method)
		fields = append(fields, each(r.Options, quoteHBA)...)
		lines.WriteString(strings.Join(fields, " ") + "\n")
	}
	if lines.Len() == 0 {
		return "", fault.Newf(fault.ServerSettings, "fence", s.String(), "no line of pg_hba.conf names role %s or all", s.login.User()).
			WithHint("add a line for the role of the connection to pg_hba.conf")
	}
	return lines.String(), nil
}

// quoteHBA writes a token of pg_hba.conf. Words that mean something unquoted
// stay so.
func quoteHBA(token string) string {
	switch token {
	case "all", "sameuser", "samerole", "samegroup", "replication", "samehost", "samenet":
		return token
	default:
		return `"` + token + `"`
	}
}

func each(all []string, change func(string) string) []string {
	changed := make([]string, len(all))
	for i, one := range all {
		changed[i] = change(one)
	}
	return changed
}

// awaitFence waits until a login as someone else is refused by client
// authentication itself, and not merely because there is no such role.
func (l Login) awaitFence(ctx context.Context) error {
	stranger := l.config.Copy()
	stranger.User, stranger.Password = "lifeboat_"+strings.ToLower(rand.Text()), ""
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	for {
		conn, err := pgconn.ConnectConfig(ctx, &stranger.Config)
		if err == nil {
			// Can't be: the role does not exist. Whoever answers is no PostgreSQL.
			_ = conn.Close(ctx)
			return fault.Newf(fault.ServerFailed, "fence", l.String(), "a role that does not exist could log in")
		}
		if said, ok := errors.AsType[*pgconn.PgError](err); ok && said.Routine == "ClientAuthentication" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.ServerFailed, "fence", l.String(), ctx.Err()).
				WithHint("the server did not take the new pg_hba.conf; read its log")
		case <-poll.C:
		}
	}
}

// Terminate ends all sessions but this one, again and again until none is left.
// It gives how many it ended.
func (s *Server) Terminate(ctx context.Context) (int, error) {
	total := 0
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	for {
		ended, err := value[int](ctx, s, `
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid()`)
		if err != nil {
			return total, err
		}
		if ended == 0 {
			return total, nil
		}
		total = max(total, ended)
		select {
		case <-ctx.Done():
			return total, fault.Newf(fault.ServerFailed, "terminate sessions of", s.String(), "%d are still there: %w", ended, ctx.Err())
		case <-poll.C:
		}
	}
}

// SwitchWAL ends the current WAL segment, so that it is archived. It gives the
// segment that holds the newest record, and the position after that record. A
// server that wrote nothing since its last switch switches nothing.
func (s *Server) SwitchWAL(ctx context.Context) (Segment, LSN, error) {
	position, err := value[string](ctx, s, "SELECT pg_switch_wal()::text")
	if err != nil {
		return Segment{}, 0, err
	}
	lsn, err := ParseLSN(position)
	return SegmentBefore(s.facts.Timeline, lsn, s.facts.SegmentSize), lsn, err
}

// AwaitArchived waits until archive_command has succeeded for the segment. It
// gives false when that did not happen within the time, which is not an error:
// the caller decides what else saves the segment.
func (s *Server) AwaitArchived(ctx context.Context, segment Segment, within time.Duration) (bool, error) {
	limit := time.NewTimer(within)
	defer limit.Stop()
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	name := segment.Name(s.facts.SegmentSize)
	for {
		newest, err := value[string](ctx, s, "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")
		if err != nil {
			return false, err
		}
		if archivedUpTo(newest, name) {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-limit.C:
			return false, nil
		case <-poll.C:
		}
	}
}

// archivedUpTo compares what was archived last, maybe a backup label, with a
// segment of the same timeline.
func archivedUpTo(newest, name string) bool {
	return len(newest) >= segmentNameLength && newest[:8] == name[:8] && newest[:segmentNameLength] >= name
}
