package postgres

import (
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/vault"
)

// spaceFloor is the free space that is left to production: a staged server lies on
// its disk, which it must not fill.
const spaceFloor = 256 << 20

// needs lists what will be written beside each directory: the backup, or what has
// grown from it since; and beside the data directory the WAL that is staged at one
// time, and a margin.
func (j *job) needs(manifest *vault.Manifest, found RestorePreflightResult) ([]target.Place, error) {
	base, err := manifest.Stream(postgres.StreamBase)
	if err != nil {
		return nil, err
	}
	grown, err := j.grown(j.production().DataDir)
	if err != nil {
		return nil, err
	}
	staged, err := stagedWAL(found)
	if err != nil {
		return nil, err
	}
	places := []target.Place{{Dir: found.Place.Live, Need: uint64(max(base.Bytes, grown) + staged + postgres.StagedMargin)}}
	for n, space := range found.Place.Tablespaces {
		stream, err := manifest.Stream(streamOf(space))
		if err != nil {
			return nil, err
		}
		grown, err := j.grown(filepath.Clean(found.Facts.Tablespaces[n].Location))
		if err != nil {
			return nil, err
		}
		places = append(places, target.Place{Dir: space.Live, Need: uint64(max(stream.Bytes, grown))})
	}
	return places, nil
}

// grown is what a directory of production holds now, where a replay may come as far. One that
// ends right behind its backup does not.
func (j *job) grown(dir string) (int64, error) {
	if j.ref.Scratch && j.ref.Until != "" {
		return 0, nil
	}
	return postgres.DataBytes(dir)
}

// backupBytes is the size of all that a backup restores.
func backupBytes(manifest *vault.Manifest, place Place) (int64, error) {
	base, err := manifest.Stream(postgres.StreamBase)
	if err != nil {
		return 0, err
	}
	bytes := base.Bytes
	for _, space := range place.Tablespaces {
		stream, err := manifest.Stream(streamOf(space))
		if err != nil {
			return 0, err
		}
		bytes += stream.Bytes
	}
	return bytes, nil
}

// stagedWAL is how much WAL the staged server holds at most at one time.
func stagedWAL(found RestorePreflightResult) (int64, error) {
	first, err := postgres.ParseSegment(found.Span.First, found.Facts.SegmentSize)
	if err != nil {
		return 0, err
	}
	last, err := postgres.ParseSegment(found.Span.Last, found.Facts.SegmentSize)
	if err != nil {
		return 0, err
	}
	all := int64(last.Number-first.Number+1) * found.Facts.SegmentSize
	return postgres.HeldWAL(all, found.Facts.MaxWALSize, found.Facts.SegmentSize), nil
}

// room fails with NoSpace when a file system that the staged server writes to has
// less free space than the floor.
func (j *job) room(place Place) error {
	dirs := []string{place.Staging}
	for _, space := range place.Tablespaces {
		dirs = append(dirs, space.Staging)
	}
	for _, dir := range dirs {
		free, err := target.Space(dir)
		if err != nil {
			return err
		}
		if free < j.deps.Floor {
			return fault.Newf(fault.NoSpace, "replay in", dir, "%d MiB free, fewer than the %d MiB that are left to production: the staged server was stopped", free>>20, j.deps.Floor>>20).
				WithHint("free space on the file system of %s, and start the recovery again", dir)
		}
	}
	return nil
}
