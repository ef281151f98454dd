package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/lab"
)

const (
	// The chaos comes after a random share between these of the database is
	// restored, and a random moment later; it has to be inside the promised span.
	chaosFrom, chaosTo       = 0.22, 0.45
	chaosEarliest, chaosLast = 0.20, 0.80
)

// restore is how long a restore shall last for this chaos.
func (c chaos) restore() time.Duration {
	if c == chaosTemporal {
		return 25 * time.Second
	}
	return 8 * time.Second
}

// outage is how long the victim is away: a worker until its supervisor notices;
// Temporal until the heartbeats that it misses have timed out.
func (c chaos) outage() time.Duration {
	if c == chaosTemporal {
		return 12 * time.Second
	}
	return 100 * time.Millisecond
}

// struck is what was seen when the chaos came.
type struck struct {
	what  string
	share float64 // of the database's bytes that were restored
}

// disasterAndRecovery is the second half of the story. It gives the last line.
func (d *demo) disasterAndRecovery(ctx context.Context) (string, error) {
	whole, err := bytesUnder(d.postgres.DataDir, "pg_wal")
	if err != nil {
		return "", err
	}
	at, err := d.strike(ctx)
	if err != nil {
		return "", fmt.Errorf("disaster: %w", err)
	}
	d.say("recover the system: lifeboat %srecover system --since %s --yes-destroy frende", d.fromFlag(), at.Format(time.RFC3339Nano))
	d.noteWhere()
	hit, failure := d.recover(ctx, at, whole)
	if d.chaos == chaosChunks {
		return "", d.concludeUnharmed(ctx, failure)
	}
	if failure != nil {
		return "", failure
	}
	return d.conclude(ctx, at, hit)
}

// strike is the disaster: it kills the servers and deletes what they kept. The
// application goes on running, without anything to run on. With chunks, the
// directories stay, for there will be no recovery.
func (d *demo) strike(ctx context.Context) (time.Time, error) {
	d.say("DISASTER")
	args := []string{"host", "--kill", d.postgres.Name() + "," + d.redis.Name()}
	if d.chaos != chaosChunks {
		args = append(args, "--remove", strings.Join([]string{d.postgres.DataDir, d.photos, d.config, d.redis.Dir}, ","))
	}
	done, err := d.wreck(ctx, args...)
	if err != nil {
		return done.At, err
	}
	d.note("%s: kill -9 of %s", done.At.UTC().Format(time.RFC3339Nano), strings.Join(done.Killed, ", "))
	if d.disaster == disasterRegion {
		if err := d.loseRegion(ctx); err != nil {
			return done.At, err
		}
	}
	for _, path := range done.Removed {
		d.note("deleted %s", path)
	}
	if err := d.oracle.Stop(ctx); err != nil {
		return done.At, err
	}
	logged, err := d.logged()
	d.note("the oracle has stopped: %d writes were acknowledged", logged)
	return done.At.UTC(), err
}

// recover runs the recovery, and the chaos beside it.
func (d *demo) recover(ctx context.Context, at time.Time, whole int64) (struck, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var hit struck
	beside, watching := errgroup.WithContext(watching)
	beside.Go(func() (err error) {
		switch d.chaos {
		case chaosWorker:
			hit, err = d.strikeAgain(watching, whole, d.worker)
		case chaosTemporal:
			hit, err = d.strikeAgain(watching, whole, d.temporal.Service)
		}
		return err
	})
	err := d.follow(d.left(watching, "recover", "system", "--since", at.Format(time.RFC3339Nano), "--yes-destroy", "frende"))
	stop()
	if besideErr := beside.Wait(); besideErr != nil {
		return hit, errors.Join(fmt.Errorf("the chaos did not come as planned: %w", besideErr), err)
	}
	return hit, err
}

// recoveryID is the workflow ID of the recovery.
func (d *demo) recoveryID() string {
	if d.disaster == disasterTable {
		return "recover/frende/database"
	}
	return "recover/frende"
}

func (d *demo) noteWhere() {
	d.note("live in the Temporal Web UI: %s/namespaces/%s/workflows/%s", d.temporal.UIAddress, d.temporal.Namespace, strings.ReplaceAll(d.recoveryID(), "/", "%2F"))
}

// follow runs a recovery on the terminal. Its error is what lifeboat said.
func (d *demo) follow(cmd *exec.Cmd) error {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = d.out, io.MultiWriter(d.out, &said)
	err := cmd.Run()
	if err == nil {
		return nil
	}
	line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
	return fmt.Errorf("%s (%w)", strings.TrimPrefix(line, "lifeboat: "), err)
}

// strikeAgain waits until a random share of the database is restored, kills a
// service, and starts it again, as its supervisor would.
func (d *demo) strikeAgain(ctx context.Context, whole int64, victim *lab.Service) (struck, error) {
	hit := struck{what: victim.Name()}
	due := chaosFrom + d.random.Float64()*(chaosTo-chaosFrom)
	err := await(ctx, func() (bool, error) {
		there, err := bytesUnder(filepath.Dir(d.postgres.DataDir), "pg_wal")
		hit.share = float64(there) / float64(whole)
		return hit.share >= due, err
	})
	if err != nil {
		return hit, fmt.Errorf("the recovery ended, or never came to %.0f %% of the database: %w", due*100, err)
	}
	// The process alone: whatever it has started is left for its successor.
	if _, err := victim.KillAlone(ctx); err != nil {
		return hit, err
	}
	there, err := bytesUnder(filepath.Dir(d.postgres.DataDir), "pg_wal")
	if err != nil {
		return hit, err
	}
	hit.share = float64(there) / float64(whole)
	if hit.share < chaosEarliest || hit.share > chaosLast {
		return hit, fmt.Errorf("%.0f %% of the database were restored, which is not between 20 and 80 %%", hit.share*100)
	}
	d.note("CHAOS: kill -9 of %s when %.0f %% of the database were restored", victim.Name(), hit.share*100)
	if err := pause(ctx, d.chaos.outage()); err != nil {
		return hit, err
	}
	if err := victim.Start(ctx); err != nil {
		return hit, err
	}
	d.note("CHAOS: %s is started again", victim.Name())
	return hit, nil
}

// bytesUnder gives what the files under a directory take on the disk, without
// the folders of the name left out. What is deleted meanwhile does not count.
func bytesUnder(dir, leftOut string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.IsDir() {
			if e.Name() == leftOut {
				return fs.SkipDir
			}
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			total += stat.Blocks * 512
		}
		return nil
	})
	return total, err
}
