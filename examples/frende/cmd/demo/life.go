package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/lab"
)

const (
	oracleStart  = time.Minute // until the oracle has logged its first writes
	oracleWrites = 20          // that it has logged then
	lookEvery    = 20 * time.Millisecond
)

// fill loads Frende with data.
func (d *demo) fill(ctx context.Context) error {
	cmd := d.lab.Command(ctx, d.program("load"), "--config", d.config, "--database", fmt.Sprintf("%dMiB", d.megabytes),
		"--photos", strconv.Itoa(d.photoCount), "--keys", strconv.Itoa(d.keys), "--seed", strconv.FormatUint(d.seed, 10))
	return d.shown(cmd)
}

// shown runs a command with its output on the terminal.
func (d *demo) shown(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = d.out, d.out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	return nil
}

func (d *demo) oracleLog() string { return d.lab.Path("oracle", "log") }

// startOracle returns when the first writes are acknowledged and logged.
func (d *demo) startOracle(ctx context.Context) (err error) {
	if _, err := d.lab.Folder("oracle"); err != nil {
		return err
	}
	d.oracle, err = d.lab.Define(lab.Program{
		Name: "oracle",
		Args: []string{d.program("oracle"), "record", "--config", d.config, "--app", "http://" + d.frontend, "--log", d.oracleLog()},
	})
	if err != nil {
		return err
	}
	if err := d.oracle.Start(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, oracleStart)
	defer cancel()
	return await(ctx, func() (bool, error) {
		running, err := d.oracle.Running()
		if err != nil || !running {
			return false, errors.Join(err, fmt.Errorf("the oracle ended; see %s", d.oracle.LogFile()))
		}
		logged, err := d.logged()
		return logged >= oracleWrites, err
	})
}

// logged counts the acknowledged writes in the oracle's log.
func (d *demo) logged() (int, error) {
	raw, err := os.ReadFile(d.oracleLog())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	return max(0, bytes.Count(raw, []byte{'\n'})-1), err // the first line is no write
}

// lifeboat prepares a lifeboat command line, as the operator would type it.
func (d *demo) lifeboat(ctx context.Context, args ...string) *exec.Cmd {
	cmd := d.lab.Command(ctx, d.program("lifeboat"), args...)
	cmd.Env = append(cmd.Env, d.lifeboatEnv()...)
	return cmd
}

func (d *demo) backUp(ctx context.Context) error { return d.shown(d.lifeboat(ctx, "backup", "system")) }

// live waits for the moment of the disaster. Nothing forces a WAL switch or a
// backup in this time; only PostgreSQL's own archive_timeout does.
func (d *demo) live(ctx context.Context) error {
	span := d.settle
	if d.spread > 0 {
		span += time.Duration(d.random.Int64N(int64(d.spread)))
	}
	before, err := d.logged()
	if err != nil {
		return err
	}
	d.note("for %.1fs, a random moment of seed %d", span.Seconds(), d.seed)
	if err := pause(ctx, span); err != nil {
		return err
	}
	after, err := d.logged()
	d.note("%d writes were acknowledged meanwhile, %d since the start", after-before, after)
	return err
}

// pause lets time pass, which is what happens here.
func pause(ctx context.Context, span time.Duration) error {
	over := time.NewTimer(span)
	defer over.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-over.C:
		return nil
	}
}

// damage is what wreck says it did.
type damage struct {
	At      time.Time `json:"at"`
	Killed  []string  `json:"killed"`
	Removed []string  `json:"removed"`
	Dropped string    `json:"dropped"`
	Object  string    `json:"object"`
	Offset  int64     `json:"offset"`
}

func (d *demo) wreck(ctx context.Context, args ...string) (damage, error) {
	cmd := d.lab.Command(ctx, d.program("wreck"), append([]string{"--lab", d.lab.Dir}, args...)...)
	var failure bytes.Buffer
	cmd.Stderr = &failure
	output, err := cmd.Output()
	if err != nil {
		return damage{}, fmt.Errorf("wreck: %w: %s", err, failure.Bytes())
	}
	var done damage
	return done, json.Unmarshal(output, &done)
}

// prepareChaos makes sure that the chaos finds what it needs.
func (d *demo) prepareChaos(ctx context.Context) error {
	switch d.chaos {
	case chaosChunk, chaosChunks:
		return d.damageChunk(ctx)
	case chaosWorker, chaosTemporal:
		return d.slowDown()
	}
	if d.disaster == disasterRegion {
		return d.followReplica(ctx)
	}
	d.note("there is none; see CHAOS in README.md")
	return nil
}

// slowDown limits how fast a restore reads, so that it has a middle. The next
// run takes the configuration as it is then.
func (d *demo) slowDown() error {
	stored, err := bytesUnder(filepath.Join(d.regions[0].Dir, primaryBucket), "wal")
	if err != nil {
		return err
	}
	d.restoreRate = stored / int64(d.chaos.restore().Seconds())
	text, err := d.lifeboatConfiguration()
	if err != nil {
		return err
	}
	d.note("restores are limited to %.1f MB/s, to last about %s", float64(d.restoreRate)/1e6, d.chaos.restore())
	return d.lab.Write(d.lifeboatYAML(), text, 0o644)
}

// damageChunk flips a bit of the newest database backup, in one region or in both.
func (d *demo) damageChunk(ctx context.Context) error {
	primary := filepath.Join(d.regions[0].Dir, primaryBucket)
	backups, err := filepath.Glob(filepath.Join(primary, "database-backups", "*", "*", "*", "*.base"))
	if err != nil {
		return err
	}
	if len(backups) == 0 {
		return fmt.Errorf("%s holds no backup of the database", primary)
	}
	key, err := filepath.Rel(primary, slices.Max(backups)) // names carry the time
	if err != nil {
		return err
	}
	stores := []string{primary}
	if d.chaos == chaosChunks {
		stores = append(stores, filepath.Join(d.regions[1].Dir, replicaBucket))
	}
	done, err := d.wreck(ctx, "chunk", "--store", strings.Join(stores, ","), "--under", filepath.ToSlash(key))
	if err != nil {
		return err
	}
	d.harmed = done.Object
	d.note("damaged one bit at offset %d of %s, in %d of 2 regions", done.Offset, done.Object, len(stores))
	return nil
}

// await looks again and again until done says so, fails, or the context ends.
func await(ctx context.Context, done func() (bool, error)) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		ok, err := done()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
