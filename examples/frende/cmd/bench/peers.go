package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// peers measures Lifeboat and pgBackRest side by side, turn by turn.
func (b *bench) peers(ctx context.Context) (err error) {
	dir := filepath.Join(b.dir, "peers")
	defer func() { err = removeLab(ctx, dir, err) }()
	p, err := b.layPeers(ctx, dir)
	if err != nil {
		return err
	}
	defer p.client.Close()
	b.note("peers: PostgreSQL cluster of %d MB on one versitygw over TLS, load average %s", p.size/1_000_000, loadAverage())
	b.note("lifeboat: defaults (zstd, AES-256-GCM, %d transfers at once)", p.parallel)
	b.note("pgbackrest: %s", pgbackrestSettings)

	var ours, theirs, proven []time.Duration
	for range b.runs {
		if err := p.archiveBy(ctx, p.ours); err != nil {
			return err
		}
		took, whole, err := p.backUp(ctx)
		if err != nil {
			return err
		}
		ours, proven = append(ours, took), append(proven, whole)
		if err := p.archiveBy(ctx, p.theirs); err != nil {
			return err
		}
		took, err = p.pgbackrest(ctx, "--type=full", "backup")
		if err != nil {
			return err
		}
		theirs = append(theirs, took)
	}
	b.note("backup: lifeboat %s (with the proof L1: %s), pgbackrest %s", list(ours), list(proven), list(theirs))
	b.tell(figure{name: "backup_pgbackrest", value: ratio(ours, theirs), must: 1.0, aim: 0.7})

	ours, theirs = nil, nil
	for range b.runs {
		took, err := p.restore(ctx)
		if err != nil {
			return err
		}
		ours = append(ours, took)
		if took, err = p.restoreTheirs(ctx); err != nil {
			return err
		}
		theirs = append(theirs, took)
	}
	b.note("restore: lifeboat %s, pgbackrest %s", list(ours), list(theirs))
	b.tell(figure{name: "restore_pgbackrest", value: ratio(ours, theirs), must: 1.0, aim: 0.7})
	return nil
}

func ratio(ours, theirs []time.Duration) float64 {
	return median(ours).Seconds() / median(theirs).Seconds()
}

// backUp makes a full backup with Lifeboat: the time until it is committed, and
// until every byte of it was read back.
func (p *peers) backUp(ctx context.Context) (committed, proven time.Duration, err error) {
	unix.Sync() // nobody pays for what another one wrote
	id, err := p.start(ctx, "backup", "database")
	if err != nil {
		return 0, 0, err
	}
	if proven, err = awaitActivity(ctx, p.client, id, "database/frende/read-back"); err != nil {
		return 0, 0, err
	}
	if committed, err = awaitActivity(ctx, p.client, id, "database/frende/base-backup"); err != nil {
		return 0, 0, err
	}
	return committed, proven, awaitQuiet(ctx, p.client)
}

// restore restores the newest backup beside the running cluster with Lifeboat,
// and goes no further.
func (p *peers) restore(ctx context.Context) (time.Duration, error) {
	unix.Sync()
	id, err := p.start(ctx, "recover", "database")
	if err != nil {
		return 0, err
	}
	took, err := awaitActivity(ctx, p.client, id, "database/frende/restore")
	if err != nil {
		return 0, err
	}
	return took, p.abort(ctx, id)
}

// pgbackrest runs a command of pgBackRest to its end.
func (p *peers) pgbackrest(ctx context.Context, args ...string) (time.Duration, error) {
	cmd := p.lab.Command(ctx, "pgbackrest", append([]string{"--config=" + p.theirConfig, "--stanza=" + stanza}, args...)...)
	cmd.Env = append(cmd.Env, "PGPASSWORD="+p.postgres.Password)
	unix.Sync()
	began := time.Now()
	output, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("pgbackrest %v: %w: %s", args, err, tail(string(output), 5))
	}
	return took, nil
}
