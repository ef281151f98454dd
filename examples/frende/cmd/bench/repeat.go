package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// change is a way in which 15 % of the pages of the largest table change: of each, its
// first row does. It says of a page and the round whether that is one of them, from 0 to 99.
type change struct{ figure, name, chosen string }

func changes() []change {
	return []change{
		{"repeat_uniform_pgbackrest", "pages chosen uniformly", "page * 1000 + %d"},
		{"repeat_clustered_pgbackrest", "pages in runs of 256", "page / 256 * 1000 + %d"},
	}
}

// sql makes the change of a round.
func (c change) sql(round int) string {
	return fmt.Sprintf(`update messages set body = body where ctid = any (array(select first
		from (select min(ctid) as first, (ctid::text::point)[0]::bigint as page from messages group by page) as pages
		where abs(hashint8(`+c.chosen+`)) %% 100 < 15))`, round)
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
		var stored []string
		for range b.runs {
			round++
			// What an update leaves behind is cleaned up at once, and not by whoever reads the table first, between the two.
			if err := p.sql(ctx, p.database(), change.sql(round), "vacuum messages", "checkpoint"); err != nil {
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
			mine, err := p.newestOurs(ctx)
			if err != nil {
				return err
			}
			other, err := p.newestTheirs(ctx, p.theirBlocks)
			if err != nil {
				return err
			}
			stored = append(stored, fmt.Sprintf("%d and %d of %d", mine.stored/1e6, other.stored/1e6, mine.bytes/1e6))
		}
		b.note("stored, %s: lifeboat and pgbackrest %s MB", change.name, strings.Join(stored, ", "))
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
