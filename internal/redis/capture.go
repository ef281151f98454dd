package redis

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/frende/lifeboat/internal/fault"
)

// attempts is how often CaptureRDB begins again when another save overtakes its own.
const attempts = 5

// Capture says what an RDB holds. The data set is that of one moment between
// Started and Forked.
type Capture struct {
	Facts         // right after the fork
	Slack   int64 // most keys that may have come or gone between the fork and the count
	Bytes   int64 // of the RDB
	Dir     Owner // who owns the data directory
	File    Owner // who owns the RDB
	Started time.Time
	Forked  time.Time
	Done    time.Time // when the server had finished the RDB
}

// CaptureRDB has the server save, and copies the RDB to w. A save that runs
// already is waited out. The data directory must be on this host.
//
// Errors: ServerUnavailable, ServerRefused; ServerFailed when the save fails
// (the server's log says why: often memory or disk); ServerSettings when the
// data directory is not on this host; w's own.
func (s *Server) CaptureRDB(ctx context.Context, w io.Writer, progress func(done, total int64)) (Capture, error) {
	facts, err := s.Facts(ctx)
	if err != nil {
		return Capture{}, err
	}
	dir, err := s.dataDir(facts)
	if err != nil {
		return Capture{}, err
	}
	for range attempts {
		capture, file, err := s.save(ctx, facts)
		if err != nil {
			return Capture{}, err
		}
		if file == nil {
			continue // another save came between
		}
		capture.Dir = dir
		err = capture.copy(ctx, file, w, progress)
		return capture, errors.Join(err, file.Close())
	}
	return Capture{}, fault.Newf(fault.SourceChanged, "save redis", s.config.Address, "another save overtook ours %d times", attempts).
		WithHint("another program keeps sending SAVE or BGSAVE to this server; find it")
}

// save makes the server write an RDB and opens exactly that one. No file and no
// error: another save has replaced it.
func (s *Server) save(ctx context.Context, facts Facts) (Capture, *os.File, error) {
	idle, err := s.waitIdle(ctx)
	if err != nil {
		return Capture{}, nil, err
	}
	capture := Capture{Facts: facts, Started: time.Now().UTC()}
	before, after, err := s.fork(ctx)
	if err != nil || after == nil {
		return Capture{}, nil, err
	}
	capture.Forked = time.Now().UTC()
	capture.Keys, capture.KeysByDB, capture.Expires = after.keyspace()
	capture.Slack = changes(before, after)
	saved, err := s.waitIdle(ctx)
	if err != nil {
		return Capture{}, nil, err
	}
	capture.Done = time.Now().UTC()
	if saved["run_id"] != idle["run_id"] {
		return Capture{}, nil, fault.Newf(fault.ServerFailed, "save redis", s.config.Address, "the server was restarted meanwhile")
	}
	if saved["rdb_last_bgsave_status"] != "ok" {
		return Capture{}, nil, fault.Newf(fault.ServerFailed, "save redis", s.config.Address, "the server could not write its RDB").
			WithHint("read the log of the server: the usual reasons are no memory for the fork, and no disk space")
	}
	file, err := s.openRDB(facts)
	if err != nil {
		return Capture{}, nil, err
	}
	done, err := s.info(ctx)
	if err != nil || !onlyOne(idle, done) {
		return Capture{}, nil, errors.Join(err, file.Close())
	}
	capture.Mark = mark(before, after, done)
	return capture, file, nil
}

// waitIdle waits until no save runs.
func (s *Server) waitIdle(ctx context.Context) (info, error) {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		i, err := s.info(ctx)
		if err != nil {
			return nil, err
		}
		if i.on("loading") {
			return nil, fault.Newf(fault.ServerUnavailable, "save redis", s.config.Address, "it is still loading its data")
		}
		if !i.on("rdb_bgsave_in_progress") && !i.on("aof_rewrite_in_progress") && !i.on("aof_rewrite_scheduled") {
			return i, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
}

// fork sends BGSAVE between two looks, in one go. The reply to BGSAVE comes after
// the fork. No answer and no error: somebody else's save came between.
func (s *Server) fork(ctx context.Context) (before, after info, err error) {
	var first, last *goredis.StringCmd
	var save *goredis.StatusCmd
	_, err = s.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		first, save, last = p.Info(ctx), p.BgSave(ctx), p.Info(ctx)
		return nil
	})
	if saveErr := save.Err(); saveErr != nil && strings.Contains(saveErr.Error(), "in progress") {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, s.failed("save redis", err)
	}
	if !strings.Contains(save.Val(), "started") {
		return nil, nil, nil
	}
	return parseInfo(first.Val()), parseInfo(last.Val()), nil
}

// changes is how many keys may have come or gone between two looks.
func changes(before, after info) int64 {
	var sum int64
	for _, name := range []string{"rdb_changes_since_last_save", "expired_keys", "evicted_keys"} {
		sum += after.number(name) - before.number(name)
	}
	return sum
}

// onlyOne says whether exactly one save has happened since, and none is running:
// then the RDB at its path is ours. The child renames it before the server counts.
func onlyOne(idle, now info) bool {
	if now["run_id"] != idle["run_id"] || now.on("rdb_bgsave_in_progress") {
		return false
	}
	if _, counted := now["rdb_saves"]; counted { // since Redis 7.0
		return now.number("rdb_saves") == idle.number("rdb_saves")+1
	}
	return now.number("rdb_last_save_time") > idle.number("rdb_last_save_time")
}

// dataDir makes sure that the server's data directory is this host's.
func (s *Server) dataDir(facts Facts) (Owner, error) {
	owner, err := ownerOf(facts.Dir)
	if err == nil {
		return owner, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Owner{}, fault.Newf(fault.ServerSettings, "save redis", s.config.Address, "its data directory %s is not on this host", facts.Dir).
			WithHint("run a worker on the host of the Redis server, or mount its data directory here under the same path")
	}
	return Owner{}, err
}

func (s *Server) openRDB(facts Facts) (*os.File, error) {
	name := filepath.Join(facts.Dir, facts.Layout.DBFilename)
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Newf(fault.ServerSettings, "save redis", s.config.Address, "the RDB it has just written is not at %s on this host", name).
			WithHint("run a worker on the host of the Redis server, or mount its data directory here under the same path")
	}
	if err != nil {
		return nil, fault.New(fault.PathFailed, "open RDB", name, err).WithHint("let the worker's user read the data directory of Redis")
	}
	return file, nil
}

// copy streams the open RDB. A later save replaces the name, not this file.
func (c *Capture) copy(ctx context.Context, file *os.File, w io.Writer, progress func(done, total int64)) error {
	owner, err := ownerOf(file.Name())
	if err != nil {
		return err
	}
	c.File = owner
	info, err := file.Stat()
	if err != nil {
		return fault.New(fault.PathFailed, "look at", file.Name(), err)
	}
	c.Bytes = info.Size()
	magic := make([]byte, 5)
	if _, err := file.ReadAt(magic, 0); err != nil || string(magic) != "REDIS" {
		return fault.Newf(fault.ServerSettings, "read", file.Name(), "it is no RDB").WithHint("another program writes to this path")
	}
	buffer := make([]byte, 1<<20)
	for done := int64(0); done < c.Bytes; {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := buffer[:min(int64(len(buffer)), c.Bytes-done)]
		if _, err := file.ReadAt(piece, done); err != nil {
			return fault.New(fault.PathFailed, "read", file.Name(), err)
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		done += int64(len(piece))
		if progress != nil {
			progress(done, c.Bytes)
		}
	}
	return nil
}
