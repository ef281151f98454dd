package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// deltaRestores compares restores over a directory that holds what was backed up
// already, each fsynced.
func (b *bench) deltaRestores(ctx context.Context, p *peers) error {
	if err := p.both(ctx); err != nil {
		return err
	}
	dir := filepath.Join(p.lab.Dir, "postgres", "delta")
	if _, err := p.restoreTo(ctx, dir); err != nil {
		return err
	}
	const name = "theirs-delta"
	others, _, err := p.theirsIn(ctx, name)
	if err != nil {
		return err
	}
	var ours, theirs []time.Duration
	for range b.runs {
		took, err := p.restoreTo(ctx, dir, "--delta")
		if err != nil {
			return err
		}
		ours = append(ours, took)
		if _, took, err = p.theirsIn(ctx, name, "--delta"); err != nil {
			return err
		}
		theirs = append(theirs, took)
	}
	b.note("delta restore: lifeboat %s, pgbackrest --delta %s", list(ours), list(theirs))
	b.tell(figure{name: "delta_restore", value: ratio(ours, theirs), must: 1, aim: 0.5})
	return errors.Join(os.RemoveAll(dir), os.RemoveAll(others))
}

// restoreTo restores a copy to a directory with Lifeboat: the time of the step that
// does what pgBackRest does.
func (p *peers) restoreTo(ctx context.Context, dir string, flags ...string) (time.Duration, error) {
	unix.Sync()
	id, err := p.start(ctx, append([]string{"recover", "database", "--to-dir", dir}, flags...)...)
	if err != nil {
		return 0, err
	}
	took, err := awaitActivity(ctx, p.client, id, "database/frende/restore")
	if err != nil {
		return 0, err
	}
	return took, p.client.GetWorkflow(ctx, id, "").Get(ctx, nil)
}
