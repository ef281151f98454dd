package postgres

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres/walfile"
)

// fence is the journal of a raised fence.
type fence struct {
	HBA     string `json:"hba"`      // the file that was replaced
	Aside   string `json:"aside"`    // its original
	DataDir string `json:"data_dir"` // of the server, to be told when the fence is lowered
	Account int    `json:"account"`  // whose the file was
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
	facts := server.facts
	unable := func(err error) error {
		return fault.New(fault.PathFailed, op, facts.HBAFile, err).WithHint("Lifeboat must run on the host of %s to fence it, and be able to change this file", server.String())
	}
	path, err := filepath.EvalSymlinks(facts.HBAFile) // a link to it stays one
	if err != nil {
		return unable(err)
	}
	account, err := os.Stat(facts.DataDir)
	if err != nil {
		return unable(err)
	}
	dir, err := openHBADir(filepath.Dir(path))
	if err != nil {
		return unable(err)
	}
	defer dir.close()
	original, err := dir.read(op, filepath.Base(path))
	if err != nil {
		return err
	}
	if err := dir.mayReplace(original, uidOf(account), filepath.Dir(facts.ConfigFile), facts.DataDir); err != nil {
		return err
	}
	var door string
	if !original.fenced() {
		if door, err = server.door(ctx); err != nil {
			return err
		}
	}
	if err := dir.fence(original, door, facts.DataDir, journal); err != nil {
		return err
	}
	if err := server.execute(ctx, "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	return server.login.awaitFence(ctx)
}

// uidOf is the owner of a file; root where the file system gives none.
func uidOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return 0
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
	refused := fault.Newf(fault.TargetRefused, op, journal, "it was not written by this worker's user").
		WithHint("compare pg_hba.conf with the original beside it by hand, then remove this file")
	file, err := os.OpenFile(journal, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fence{}, false, nil
	case errors.Is(err, syscall.ELOOP):
		return fence{}, false, refused
	case err != nil:
		return fence{}, false, pathFault(op, journal, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fence{}, false, pathFault(op, journal, err)
	}
	if !info.Mode().IsRegular() || os.Geteuid() == 0 && uidOf(info) != 0 {
		return fence{}, false, refused
	}
	if err := json.NewDecoder(io.LimitReader(file, longestHBA)).Decode(&f); err != nil {
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
	if lowered, err = f.lower(); err != nil {
		return lowered, err
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

// lower puts the original back and removes it from beside.
func (f fence) lower() (lowered bool, err error) {
	const op = "lower fence"
	dir, err := openHBADir(filepath.Dir(f.HBA))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // gone, with the fence
	}
	if err != nil {
		return false, pathFault(op, f.HBA, err)
	}
	defer dir.close()
	original, err := dir.read(op, filepath.Base(f.Aside))
	aside := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	current, err := dir.read(op, filepath.Base(f.HBA))
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		return false, err
	}
	switch {
	case !aside && current.fenced():
		return false, fault.Newf(fault.PathFailed, op, f.HBA, "its original is gone").WithHint("it is still fenced: write it anew, then reload the server")
	case !aside:
		return false, nil
	case original.owner.UID != f.Account:
		return false, fault.Newf(fault.TargetRefused, op, f.Aside, "it is not the original: it belongs to user %d", original.owner.UID).
			WithHint("find out who exchanged it, write pg_hba.conf anew, then remove it")
	case gone || current.fenced():
		if err := dir.replace(filepath.Base(f.HBA), original.body, original); err != nil {
			return false, err
		}
		lowered = true
	default:
		// Replaced by someone since, or never fenced: theirs is the newer.
	}
	if err := dir.root.Remove(original.name); err != nil {
		return lowered, pathFault(op, f.Aside, err)
	}
	return lowered, nil
}

// Fenced says whether a fence is raised, or half raised, by its journal.
func Fenced(journal string) bool {
	_, err := os.Stat(journal)
	return err == nil
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
	return len(newest) >= walfile.NameLength && newest[:8] == name[:8] && newest[:walfile.NameLength] >= name
}
