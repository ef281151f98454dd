package postgres

import (
	"context"
	"strings"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/tree"
	"github.com/frende/lifeboat/internal/vault"
)

// frameSize is the least of a database that two backups share: eight pages. Smaller
// frames find more that has not changed and compress worse.
const frameSize = 64 << 10

// earlier is a backup that a new one may share frames with.
type earlier struct {
	donor  *vault.Donor
	places map[string]map[string]place // by stream and path
}

// place is where a file's content lies in a stream.
type place struct{ begin, end int64 }

// earlier opens the newest backup of this cluster that is whole in the primary
// store, if every byte of it was proven, and was compressed as the new one. Whatever
// keeps it from being used is no fault: the new backup then stores everything, and the log says why.
func (a *Activities) earlier(ctx context.Context, j *job, opened *vault.Vault, systemID string) (*earlier, error) {
	if a.deps.Proof == nil {
		return nil, nil
	}
	found, err := a.findEarlier(ctx, j, opened, systemID)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		activity.GetLogger(ctx).Info("this base backup stores everything", "component", j.database.Name, "why", err.Error())
		return nil, nil
	}
	return found, nil
}

func (a *Activities) findEarlier(ctx context.Context, j *job, opened *vault.Vault, systemID string) (*earlier, error) {
	const op = "share frames with"
	primary := opened.WithStores(opened.Store(), nil)
	newest, err := primary.OpenLatest(ctx, vault.Filter{Folder: Folder, Component: j.database.Name})
	if err != nil {
		return nil, err
	}
	if len(newest.Incomplete) > 0 { // what is wrong there may lie in what it shares with this one
		passed := newest.Incomplete[0]
		return nil, fault.Newf(fault.BackupIncomplete, op, newest.Manifest().Key, "a newer one, %s, was passed over: %s", passed.Backup, passed.Why)
	}
	manifest := newest.Manifest()
	if manifest.Kind != kind || manifest.Codec != string(j.ref.System.Backup.Compression) {
		return nil, fault.Newf(fault.Unsupported, op, manifest.Key, "it is a %s compressed with %s", manifest.Kind, manifest.Codec)
	}
	var facts Facts
	if err := manifest.Fact(FactsName, &facts); err != nil {
		return nil, err
	}
	if facts.SystemID != systemID {
		return nil, fault.Newf(fault.ForeignCluster, op, manifest.Key, "it is of cluster %s", facts.SystemID)
	}
	level, err := a.deps.Proof(ctx, j.ref.System, manifest.Key)
	if err != nil {
		return nil, err
	}
	if level < "L1" {
		return nil, fault.Newf(fault.VerificationFailed, op, manifest.Key, "not every byte of it is proven")
	}
	e := &earlier{places: map[string]map[string]place{}}
	if e.donor, err = primary.OpenDonor(ctx, manifest.Key); err != nil {
		return nil, err
	}
	for _, stream := range manifest.Streams {
		name, ok := strings.CutSuffix(stream.Name, tableSuffix)
		if !ok {
			continue
		}
		if e.places[name], err = placesIn(ctx, newest.Backup, stream.Name); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// placesIn reads where the contents of files lie.
func placesIn(ctx context.Context, backup *vault.Backup, table string) (places map[string]place, err error) {
	reader, err := backup.Open(ctx, table)
	if err != nil {
		return nil, err
	}
	entries, err := tree.DecodeTable(reader)
	if closeErr := reader.Close(); err == nil {
		err = closeErr
	}
	places = map[string]place{}
	for _, entry := range entries {
		if entry.Kind == tree.File {
			places[entry.Path] = place{begin: entry.Offset, end: entry.Offset + (entry.Size+tarBlock-1)/tarBlock*tarBlock}
		}
	}
	return places, err
}

// tarBlock is what a content in a tar stream is padded to.
const tarBlock = 512

// sorted is a stream whose bytes are looked for in an earlier backup: a file's where
// the file is there, and what lies between two of them behind the first one.
type sorted struct {
	*vault.StreamWriter
	places map[string]place
	last   place // of the file that was written last, in the earlier backup
	known  bool
}

func newSorted(stream *vault.StreamWriter, places map[string]place) *sorted {
	s := &sorted{StreamWriter: stream, places: places, known: places != nil}
	s.Content("", 0)
	return s
}

// Content begins a frame of its own.
func (s *sorted) Content(path string, _ int64) {
	at := s.last.end
	if path != "" {
		s.last, s.known = s.places[path]
		at = s.last.begin
	}
	if !s.known {
		s.Align("", 0)
		return
	}
	s.Align(s.Name(), at)
}
