package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
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

	for _, part := range []struct {
		figures []string
		measure func(context.Context, *peers) error
	}{
		{[]string{"backup_pgbackrest", "stored_pgbackrest"}, b.fullBackups},
		{[]string{"restore_pgbackrest"}, b.restores},
		{[]string{"delta_restore"}, b.deltaRestores},
		{[]string{"repeat_unchanged"}, b.repeatUnchanged},
		{[]string{"repeat_uniform_pgbackrest", "repeat_clustered_pgbackrest"}, b.repeatChanged},
		{[]string{"memory_cluster"}, b.memoryOfCluster},
	} {
		if !b.wants(part.figures...) {
			continue
		}
		if err := part.measure(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", part.figures[0], err)
		}
	}
	return nil
}

// fullBackups compares backups that store everything.
func (b *bench) fullBackups(ctx context.Context, p *peers) error {
	var ours, theirs, proven []time.Duration
	for range b.runs {
		if err := p.archiveBy(ctx, p.ours); err != nil {
			return err
		}
		took, whole, err := p.backUp(ctx, "--full")
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
	p.backedUp = true
	b.note("backup: lifeboat %s (with the proof L1: %s), pgbackrest %s", list(ours), list(proven), list(theirs))
	b.tell(figure{name: "backup_pgbackrest", value: ratio(ours, theirs), must: 0.7, aim: 0.55})
	return b.stored(ctx, p)
}

// stored compares the room that the newest full backup of each takes.
func (b *bench) stored(ctx context.Context, p *peers) error {
	ours, err := p.newestOurs(ctx)
	if err != nil {
		return err
	}
	theirs, err := p.newestTheirs(ctx, p.theirConfig)
	if err != nil {
		return err
	}
	b.note("stored: lifeboat %d of %d bytes, pgbackrest %d of %d", ours.stored, ours.bytes, theirs.stored, theirs.bytes)
	b.tell(figure{name: "stored_pgbackrest", value: float64(ours.stored) / float64(theirs.stored), must: 1.05, aim: 1})
	return nil
}

// taken is the size of a cluster, and what a backup of it added to its store, in bytes.
type taken struct{ bytes, stored int64 }

// newestOurs asks lifeboat for its newest backup.
func (p *peers) newestOurs(ctx context.Context) (taken, error) {
	raw, err := p.lifeboat(ctx, "backups", "list", "--json")
	if err != nil {
		return taken{}, err
	}
	var listed []struct {
		Bytes  int64 `json:"bytes"`
		Stored int64 `json:"stored"`
	}
	if err := json.Unmarshal(raw, &listed); err != nil {
		return taken{}, err
	}
	if len(listed) == 0 {
		return taken{}, errors.New("lifeboat lists no backup")
	}
	return taken{bytes: listed[0].Bytes, stored: listed[0].Stored}, nil
}

// newestTheirs asks pgBackRest for its newest backup.
func (p *peers) newestTheirs(ctx context.Context, config string) (taken, error) {
	said, err := p.lab.Command(ctx, "pgbackrest", "--config="+config, "--stanza="+stanza, "--output=json", "info").Output()
	if err != nil {
		return taken{}, err
	}
	var listed []struct {
		Backup []struct {
			Info struct {
				Size       int64 `json:"size"`
				Repository struct {
					Delta int64 `json:"delta"`
				} `json:"repository"`
			} `json:"info"`
		} `json:"backup"`
	}
	if err := json.Unmarshal(said, &listed); err != nil {
		return taken{}, err
	}
	if len(listed) == 0 || len(listed[0].Backup) == 0 {
		return taken{}, errors.New("pgBackRest lists no backup")
	}
	newest := listed[0].Backup[len(listed[0].Backup)-1].Info
	return taken{bytes: newest.Size, stored: newest.Repository.Delta}, nil
}

// restores compares restores into an empty directory, each fsynced. What was restored
// stays on disk until the last is measured: ext4 without a journal keeps away from inodes
// that were removed within a minute, and looks at each of them for each new file. But it leaves
// memory: what a virtual machine is given anew costs as much as what is measured.
func (b *bench) restores(ctx context.Context, p *peers) (err error) {
	if err := p.both(ctx); err != nil {
		return err
	}
	var dirs []string
	defer func() {
		for _, dir := range dirs {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	var ours, theirs []time.Duration
	for i := range b.runs {
		dir := filepath.Join(p.lab.Dir, "postgres", fmt.Sprintf("ours-%d", i))
		dirs = append(dirs, dir)
		took, err := p.restoreTo(ctx, dir)
		if err != nil {
			return err
		}
		ours = append(ours, took)
		if err := dropCached(dir); err != nil {
			return err
		}
		dir, took, err = p.theirsIn(ctx, fmt.Sprintf("theirs-%d", i))
		dirs = append(dirs, dir)
		if err != nil {
			return err
		}
		theirs = append(theirs, took)
		if err := dropCached(dir); err != nil {
			return err
		}
	}
	b.note("restore: lifeboat %s, pgbackrest %s", list(ours), list(theirs))
	b.tell(figure{name: "restore_pgbackrest", value: ratio(ours, theirs), must: 0.75, aim: 0.6})
	return nil
}

// dropCached has the page cache forget the files of a directory, which were synced.
func dropCached(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED), file.Close())
	})
}

// both makes a full backup with each, when there is none yet.
func (p *peers) both(ctx context.Context) error {
	if p.backedUp {
		return nil
	}
	p.backedUp = true
	if err := p.archiveBy(ctx, p.ours); err != nil {
		return err
	}
	if _, _, err := p.backUp(ctx, "--full"); err != nil {
		return err
	}
	if err := p.archiveBy(ctx, p.theirs); err != nil {
		return err
	}
	_, err := p.pgbackrest(ctx, "--type=full", "backup")
	return err
}

func ratio(ours, theirs []time.Duration) float64 {
	return median(ours).Seconds() / median(theirs).Seconds()
}

// backUp makes a backup with Lifeboat, which shares what it can without --full: the time until it is committed, and
// until every byte of it was read back.
func (p *peers) backUp(ctx context.Context, flags ...string) (committed, proven time.Duration, err error) {
	unix.Sync() // nobody pays for what another one wrote
	id, err := p.start(ctx, append([]string{"backup", "database"}, flags...)...)
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

// pgbackrest runs a command of pgBackRest to its end.
func (p *peers) pgbackrest(ctx context.Context, args ...string) (time.Duration, error) {
	return p.pgbackrestAs(ctx, p.theirConfig, args...)
}

func (p *peers) pgbackrestAs(ctx context.Context, config string, args ...string) (time.Duration, error) {
	cmd := p.lab.Command(ctx, "pgbackrest", append([]string{"--config=" + config, "--stanza=" + stanza}, args...)...)
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
