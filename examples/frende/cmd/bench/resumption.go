package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	slowRestore   = 8 * time.Second // of the database, so that there is a middle to kill the worker in
	killAt        = 0.4             // of the database's bytes
	resumeMost    = 15.0            // s: the heartbeat timeout and 5 s
	patience      = 5 * time.Minute
	stagingPrefix = "data.lifeboat-new-" // what a recovery restores into, beside the data directory
)

// resumption kills the worker in the middle of restores of the database, each of
// which ends before anything in production is touched.
func (b *bench) resumption(ctx context.Context, g *ground) (err error) {
	config := g.variable("LIFEBOAT_CONFIG")
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	// Not with pg_wal, which no backup holds: the kill would come when a server replays, and goes on without the worker.
	whole, err := bytesUnder(g.lab.Path("postgres", "data", "base"))
	if err != nil {
		return err
	}
	slow := fmt.Appendf(text[:len(text):len(text)], "\nlimits: {restore_rate: %d}\n", whole/int64(slowRestore.Seconds()))
	if err := g.lab.Write(config, slow, 0o644); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.lab.Write(config, text, 0o644)) }()
	var all []time.Duration
	for range b.runs {
		took, err := g.killInRestore(ctx, int64(killAt*float64(whole)))
		if err != nil {
			return err
		}
		all = append(all, took)
	}
	longest := all[0]
	for _, took := range all {
		longest = max(longest, took)
	}
	b.note("from kill -9 of the worker to new progress: %s", list(all))
	b.tell(figure{name: "resumption", value: longest.Seconds(), unit: "s", must: resumeMost, aim: 12})
	return nil
}

// killInRestore gives the time from the kill to the first progress after it.
func (g *ground) killInRestore(ctx context.Context, due int64) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	id, err := g.start(ctx, "recover", "database")
	if err != nil {
		return 0, err
	}
	var there int64
	if err := g.awaitRestored(ctx, &there, due); err != nil {
		return 0, err
	}
	killed, err := g.worker.KillAlone(ctx)
	if err != nil {
		return 0, err
	}
	if there, err = g.restored(); err != nil { // nobody writes now
		return 0, err
	}
	if err := g.worker.Start(ctx); err != nil {
		return 0, err
	}
	if err := g.awaitRestored(ctx, new(int64), there+1); err != nil {
		return 0, err
	}
	took := time.Since(killed)
	return took, g.abort(ctx, id)
}

// awaitRestored waits until a restore has written so many bytes.
func (g *ground) awaitRestored(ctx context.Context, there *int64, due int64) error {
	err := await(ctx, lookEvery, func() (_ bool, err error) {
		*there, err = g.restored()
		return *there >= due, err
	})
	if err != nil {
		return fmt.Errorf("%d of %d bytes restored: %w", *there, due, err)
	}
	return nil
}

// restored gives the bytes that the restore which is under way has written.
func (g *ground) restored() (int64, error) {
	staged, err := filepath.Glob(g.lab.Path("postgres", stagingPrefix+"*"))
	var total int64
	for _, dir := range staged {
		size, sizeErr := bytesUnder(dir)
		total, err = total+size, errors.Join(err, sizeErr)
	}
	return total, err
}

// bytesUnder gives what the files under a directory take on the disk. What is
// deleted meanwhile does not count.
func bytesUnder(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				if stat, ok := info.Sys().(*syscall.Stat_t); ok {
					total += stat.Blocks * 512
				}
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return total, err
}
