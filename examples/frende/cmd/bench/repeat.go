package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// change is a way in which 15 % of the pages of the largest table change; the
// number in its statement is the round's.
type change struct{ figure, name, sql string }

func changes() []change {
	return []change{
		{"repeat_uniform_pgbackrest", "pages chosen uniformly", `update messages set body = body
		where (ctid::text::point)[1] = 1 and abs(hashint8((ctid::text::point)[0]::bigint * 1000 + %d)) %% 100 < 15`},
		{"repeat_clustered_pgbackrest", "pages in runs of 256", `update messages set body = body
		where (ctid::text::point)[1] = 1 and abs(hashint8((ctid::text::point)[0]::bigint / 256 * 1000 + %d)) %% 100 < 15`},
	}
}

// repeatChanged compares repeat backups with pgBackRest's block incremental ones.
func (b *bench) repeatChanged(ctx context.Context, p *peers) error {
	if err := p.layBlocks(ctx); err != nil {
		return err
	}
	if _, err := p.pgbackrestBlocks(ctx, "--type=full"); err != nil {
		return err
	}
	if err := p.archiveBy(ctx, p.ours); err != nil {
		return err
	}
	if _, _, err := p.backUp(ctx); err != nil {
		return err
	}
	round := 0
	for _, change := range changes() {
		if !b.wants(change.figure) {
			continue
		}
		var ours, theirs []time.Duration
		for range b.runs {
			round++
			if err := p.sql(ctx, p.database(), fmt.Sprintf(change.sql, round), "checkpoint"); err != nil {
				return err
			}
			took, _, err := p.backUp(ctx)
			if err != nil {
				return err
			}
			ours = append(ours, took)
			if took, err = p.pgbackrestBlocks(ctx, "--type=incr"); err != nil {
				return err
			}
			theirs = append(theirs, took)
		}
		b.note("repeat backup, %s: lifeboat %s, pgbackrest block incremental %s", change.name, list(ours), list(theirs))
		b.tell(figure{name: change.figure, value: ratio(ours, theirs), must: 0.8, aim: 0.5})
	}
	return nil
}

// repeatUnchanged compares a repeat backup of a cluster that nobody writes to with
// reading the cluster alone: the server's own backup, which it throws away itself.
func (b *bench) repeatUnchanged(ctx context.Context, p *peers) error {
	if err := p.archiveBy(ctx, p.ours); err != nil {
		return err
	}
	if _, _, err := p.backUp(ctx); err != nil {
		return err
	}
	var ours, nowhere []time.Duration
	for range b.runs {
		took, _, err := p.backUp(ctx)
		if err != nil {
			return err
		}
		ours = append(ours, took)
		unix.Sync()
		began := time.Now()
		cmd := exec.CommandContext(ctx, p.postgres.BinDir+"/pg_basebackup", "--target=blackhole", "--wal-method=none", "--checkpoint=fast", "--dbname="+p.postgres.DSN)
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("pg_basebackup: %w: %s", err, tail(string(output), 3))
		}
		nowhere = append(nowhere, time.Since(began))
	}
	b.note("repeat backup, nothing changed: lifeboat %s, BASE_BACKUP to nowhere %s", list(ours), list(nowhere))
	b.tell(figure{name: "repeat_unchanged", value: ratio(ours, nowhere), must: 1.5, aim: 1.2})
	return nil
}
