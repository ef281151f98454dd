package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/workflows/api"
)

// dumps measures logical dumps and their restore against what the plan's scripts do.
func (b *bench) dumps(ctx context.Context) (err error) {
	dir := filepath.Join(b.dir, "dumps")
	defer func() { err = removeLab(ctx, dir, err) }()
	p, err := b.layOurs(ctx, dir, b.cluster)
	if err != nil {
		return err
	}
	defer p.client.Close()
	folder, err := p.lab.Folder("scripts")
	if err != nil {
		return err
	}
	script := filepath.Join(folder, "frende.sql.gz")
	b.note("dumps: PostgreSQL cluster of %d MB, load average %s", p.size/1_000_000, loadAverage())
	b.note("lifeboat: custom format and sql.gz, sealed, to one versitygw over TLS; the scripts: pg_dump | gzip to a file, gunzip | psql from it")

	taken, keys := map[string][]time.Duration{}, map[string]string{}
	var scripts []time.Duration
	for range b.runs {
		for _, format := range []string{"custom", "sql.gz"} {
			took, key, err := p.dump(ctx, format)
			if err != nil {
				return err
			}
			taken[format], keys[format] = append(taken[format], took), key
		}
		took, err := p.script(ctx, "", `pg_dump --dbname "$PGDATABASE" | gzip > "$FILE"`, script)
		if err != nil {
			return err
		}
		scripts = append(scripts, took)
	}
	b.note("dump: lifeboat %s (sql.gz: %s), pg_dump | gzip %s", list(taken["custom"]), list(taken["sql.gz"]), list(scripts))
	b.tell(figure{name: "dump", value: ratio(taken["custom"], scripts), must: 0.4, aim: 0.25})

	restored, proven := map[string][]time.Duration{}, map[string][]time.Duration{}
	scripts = nil
	for range b.runs {
		for _, format := range []string{"custom", "sql.gz"} {
			took, whole, err := p.restoreDump(ctx, keys[format])
			if err != nil {
				return err
			}
			restored[format], proven[format] = append(restored[format], took), append(proven[format], whole)
		}
		took, err := p.script(ctx, "by_script", `gunzip --stdout "$FILE" | psql --no-psqlrc --quiet --output /dev/null --dbname "$PGDATABASE"`, script)
		if err != nil {
			return err
		}
		scripts = append(scripts, took)
	}
	b.note("restore: lifeboat %s, proven after %s (sql.gz: %s, proven after %s), gunzip | psql %s",
		list(restored["custom"]), list(proven["custom"]), list(restored["sql.gz"]), list(proven["sql.gz"]), list(scripts))
	b.tell(figure{name: "restore_dump", value: ratio(restored["custom"], scripts), must: 0.8, aim: 0.6})
	return nil
}

// dump takes a dump with Lifeboat: the time until it is committed, and its key.
func (p *peers) dump(ctx context.Context, format string) (time.Duration, string, error) {
	unix.Sync()
	id, err := p.start(ctx, "backup", "database", "--dump="+format)
	if err != nil {
		return 0, "", err
	}
	took, err := awaitActivity(ctx, p.client, id, "database/frende/dump")
	if err != nil {
		return 0, "", err
	}
	var result api.BackupResult
	if err := p.client.GetWorkflow(ctx, id, "").Get(ctx, &result); err != nil {
		return 0, "", err
	}
	return took, result.Backups[0].Key, awaitQuiet(ctx, p.client)
}

// restoreDump restores a dump beside the living database with Lifeboat, and goes no
// further: the time until it is restored, and until it is proven.
func (p *peers) restoreDump(ctx context.Context, key string) (restored, proven time.Duration, err error) {
	unix.Sync()
	id, err := p.start(ctx, "recover", "database", "--to", "backup:"+key)
	if err != nil {
		return 0, 0, err
	}
	if proven, err = awaitActivity(ctx, p.client, id, "database/frende/verify"); err != nil {
		return 0, 0, err
	}
	if restored, err = awaitActivity(ctx, p.client, id, "database/frende/restore"); err != nil {
		return 0, 0, err
	}
	return restored, proven, p.abort(ctx, id)
}

// script runs a pipe as the plan's scripts do: of Frende's database, or into an
// empty one that is dropped afterwards.
func (p *peers) script(ctx context.Context, into, pipe, file string) (time.Duration, error) {
	database := "frende"
	if into != "" {
		database = into
		if err := p.sql(ctx, p.postgres.DSN, "create database "+into); err != nil {
			return 0, err
		}
	}
	cmd := p.lab.Command(ctx, "bash", "-c", "set -o pipefail; "+pipe)
	cmd.Env = append(cmd.Env, "FILE="+file, "PATH="+p.postgres.BinDir+":"+os.Getenv("PATH"), "PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", p.postgres.Port),
		"PGUSER=postgres", "PGPASSWORD="+p.postgres.Password, "PGDATABASE="+database)
	unix.Sync()
	began := time.Now()
	output, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", pipe, err, tail(string(output), 5))
	}
	if into != "" {
		return took, p.sql(ctx, p.postgres.DSN, "drop database "+into)
	}
	return took, nil
}
