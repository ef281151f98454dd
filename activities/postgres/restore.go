package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/tree"
	"github.com/frende/lifeboat/internal/vault"
)

// Restore puts the backup's files into the staging directories, chunks in
// parallel and in any order, the control file last. An attempt after a killed
// one writes only what is missing.
func (a *Activities) Restore(ctx context.Context, in RestoreInput) (result RestoreResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return RestoreResult{}, err
	}
	opened, err := j.vault(ctx)
	if err != nil {
		return RestoreResult{}, err
	}
	backup, err := opened.Open(ctx, in.Key)
	if err != nil {
		return RestoreResult{}, err
	}
	owner, err := in.Place.owner()
	if err != nil {
		return RestoreResult{}, err
	}
	if in.Scratch {
		err = j.makeScratch(owner)
	} else {
		err = makeParents(in.Place, owner)
	}
	if err != nil {
		return RestoreResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		r := &restoring{backup: backup, key: in.Key, place: in.Place, owner: owner, started: time.Now()}
		if in.Delta {
			if err := errors.Join(notStarted(in.Place), j.alone()); err != nil {
				return err
			}
			if r.takes, err = j.mayRestoreOver(ctx, in.Place, in.Facts); err != nil {
				return err
			}
			r.older = in.Dir
		}
		result, err = r.run(ctx)
		return err
	})
	result.Fallbacks = j.fellBack()
	return result, err
}

// restoring is one attempt to restore.
type restoring struct {
	backup  *vault.Backup
	key     string
	place   Place
	owner   postgres.Account
	started time.Time

	older   string       // directory of an older copy; "": there is none
	takes   bool         // what is whole in it may be taken over
	kept    atomic.Int64 // bytes that it had, and that were written
	taken   int64        // bytes that were taken over
	shared  []shared     // files that it has, too
	done    atomic.Int64 // bytes in place, those of earlier attempts too
	resumed int64
}

func (r *restoring) run(ctx context.Context) (RestoreResult, error) {
	if err := r.owner.MakeRunDir(r.place.Run); err != nil {
		return RestoreResult{}, err
	}
	var total int64
	streams := []string{postgres.StreamBase}
	for _, space := range r.place.Tablespaces {
		streams = append(streams, streamOf(space))
	}
	for _, name := range streams {
		stream, err := r.backup.Manifest().Stream(name)
		if err != nil {
			return RestoreResult{}, err
		}
		total += stream.Bytes
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{Done: r.done.Load(), Total: total} })
	defer stop()

	// The data directory comes last, and its control file after all else.
	for _, space := range r.place.Tablespaces {
		if err := r.extract(ctx, streamOf(space), space.Staging, ""); err != nil {
			return RestoreResult{}, err
		}
	}
	if err := r.extract(ctx, postgres.StreamBase, r.place.Staging, postgres.ControlFile); err != nil {
		return RestoreResult{}, err
	}
	if err := r.noteShared(); err != nil {
		return RestoreResult{}, err
	}
	if r.done.Load() > r.resumed {
		if err := os.Remove(r.place.verified()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return RestoreResult{}, fault.New(fault.PathFailed, "remove", r.place.verified(), err)
		}
	}
	if err := r.keep(ctx, postgres.StreamManifest, r.place.manifest()); err != nil {
		return RestoreResult{}, err
	}
	if _, err := r.backup.Manifest().Stream(settingsStream); err == nil { // of a standby
		if err := r.keep(ctx, settingsStream, r.place.settings()); err != nil {
			return RestoreResult{}, err
		}
	}
	if err := postgres.LinkTablespaces(r.place.Staging, r.owner, r.place.links(staged)); err != nil {
		return RestoreResult{}, err
	}
	elapsed := time.Since(r.started)
	return RestoreResult{
		Bytes: total, Resumed: r.resumed, Kept: r.kept.Load() + r.taken, Taken: r.taken, Elapsed: system.Duration(elapsed),
		Rate: float64(r.done.Load()-r.resumed) / max(elapsed.Seconds(), 1e-3),
	}, nil
}

// extract restores one tar stream into a directory.
func (r *restoring) extract(ctx context.Context, stream, root, last string) (err error) {
	entries, err := tableOf(ctx, r.backup, stream)
	if err != nil {
		return err
	}
	described, err := r.backup.Manifest().Stream(stream)
	if err != nil {
		return err
	}
	// The server's stream leaves its root out.
	entries = append(entries, tree.Entry{
		Path: ".", Kind: tree.Dir, Mode: 0o700, UID: r.owner.UID, GID: r.owner.GID, ModTime: r.backup.Manifest().Started,
	})
	config := tree.Config{
		Root: root, Entries: entries, Stream: described.Bytes, Backup: r.key, Last: last,
		Journal: filepath.Join(r.place.Run, stream+".journal"), Owner: tree.OwnerAs(r.owner.UID, r.owner.GID),
	}
	older, err := openOlder(r.olderDir(stream), entries)
	if err != nil {
		return err
	}
	if older != nil {
		defer older.close()
		if r.takes {
			config.Older = older.root.Name()
		}
	}
	extraction, err := tree.NewExtraction(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, extraction.Close()) }()
	r.resumed += extraction.Resumed()
	r.done.Add(extraction.Resumed())
	if config.Older != "" && !extraction.Settled() {
		if err := r.takeOver(ctx, stream, older, extraction); err != nil {
			return err
		}
	}
	if err := extraction.Settle(); err != nil {
		return err
	}
	r.taken += extraction.Taken()
	if err := r.write(ctx, described, older, extraction); err != nil {
		return err
	}
	if err := extraction.Finish(ctx); err != nil {
		return err
	}
	if twins := extraction.Twins(); len(twins) > 0 {
		r.shared = append(r.shared, shared{Root: root, Older: config.Older, Twins: twins})
	}
	return nil
}

// tableOf reads what a tar stream of a backup holds.
func tableOf(ctx context.Context, backup *vault.Backup, stream string) (_ []tree.Entry, err error) {
	reader, err := backup.Open(ctx, stream+tableSuffix)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	return tree.DecodeTable(reader)
}

// keep puts a stream where a later step reads it: the server's own manifest for
// VerifyFiles, the primary's settings for the replay.
func (r *restoring) keep(ctx context.Context, stream, path string) (err error) {
	reader, err := r.backup.Open(ctx, stream)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	body, err := io.ReadAll(reader)
	if err != nil {
		return err
	}
	return r.owner.PlaceFile(path, body)
}

// makeParents makes the directories that hold the live ones, when the disaster
// took them along.
func makeParents(place Place, owner postgres.Account) error {
	dirs := []string{place.Live}
	for _, space := range place.Tablespaces {
		dirs = append(dirs, space.Live)
	}
	for _, dir := range dirs {
		if err := owner.MakeParents(dir); err != nil {
			return err
		}
	}
	return nil
}

// VerifyFiles compares the restored files with the server's own manifest.
func (a *Activities) VerifyFiles(ctx context.Context, in VerifyFilesInput) (result VerifyFilesResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return VerifyFilesResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		// Once replay has begun the files are others; what was found is kept.
		if body, err := os.ReadFile(in.Place.verified()); err == nil {
			return json.Unmarshal(body, &result)
		}
		stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
		defer stop()
		verified, err := postgres.VerifyFiles(ctx, in.Place.BinDir, in.Place.Staging, in.Place.manifest(), in.Place.verifyLog())
		if err != nil {
			return err
		}
		result = VerifyFilesResult{Files: verified.Files, Bytes: verified.Bytes}
		body, err := json.Marshal(result)
		if err != nil {
			return fault.New(fault.PathFailed, "write", in.Place.verified(), err)
		}
		owner, err := in.Place.owner()
		if err != nil {
			return err
		}
		return owner.PlaceFile(in.Place.verified(), body)
	})
	return result, err
}
