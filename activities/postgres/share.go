package postgres

import (
	"cmp"
	"context"
	"strings"
	"sync"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/postgres"
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

// look begins to look for the earlier backup that a new one shares frames with, and gives
// what waits for it and, in the end, ends it. nil: the new one stores everything.
func (a *Activities) look(ctx context.Context, j *job, opened *vault.Vault, writer *vault.Writer, systemID string) (found func() (*earlier, error), end func()) {
	ctx, cancel := context.WithCancel(ctx)
	found = sync.OnceValues(func() (*earlier, error) {
		e, err := a.earlier(ctx, j, opened, systemID)
		if err != nil || e == nil {
			return nil, err
		}
		return e, writer.Share(e.donor)
	})
	go func() { _, _ = found() }() // who waits for it hears of it
	return found, func() {
		cancel()
		_, _ = found() // it is of no more use
	}
}

// unfit is why a backup is not shared with, in words for the log.
type unfit string

func (u unfit) Error() string { return string(u) }

func (a *Activities) findEarlier(ctx context.Context, j *job, opened *vault.Vault, systemID string) (*earlier, error) {
	primary := opened.WithStores(opened.Store(), nil)
	newest, err := primary.OpenLatest(ctx, vault.Filter{Folder: Folder, Component: j.database.Name})
	if err != nil {
		return nil, err
	}
	if len(newest.Incomplete) > 0 { // what is wrong there may lie in what it shares with this one
		passed := newest.Incomplete[0]
		return nil, unfit("a newer backup, " + passed.Backup + ", was passed over: " + passed.Why)
	}
	manifest := newest.Manifest()
	if codec := string(j.ref.System.Backup.Compression); manifest.Kind != kind || manifest.Codec != codec {
		return nil, unfit(manifest.Key + " was compressed with " + manifest.Codec + ", and this one is with " + codec)
	}
	var facts Facts
	if err := manifest.Fact(FactsName, &facts); err != nil {
		return nil, err
	}
	if facts.SystemID != systemID {
		return nil, unfit(manifest.Key + " is of another cluster, " + facts.SystemID)
	}
	level, err := a.deps.Proof(ctx, j.ref.System, manifest.Key)
	if err != nil {
		return nil, err
	}
	if level < "L1" {
		return nil, unfit(manifest.Key + " was not read back whole: its proof is " + cmp.Or(level, "none"))
	}
	e := &earlier{donor: newest.Donor(), places: map[string]map[string]place{}}
	for _, stream := range manifest.Streams {
		name, isTable := strings.CutSuffix(stream.Name, tableSuffix)
		if !isTable {
			continue
		}
		entries, err := tableOf(ctx, newest.Backup, name)
		if err != nil {
			return nil, err
		}
		e.places[name] = map[string]place{}
		for _, entry := range entries {
			if entry.Kind == tree.File {
				e.places[name][entry.Path] = place{begin: entry.Offset, end: postgres.ContentEnd(entry)}
			}
		}
	}
	return e, nil
}

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
	s.Content("")
	return s
}

// Content begins a frame of its own.
func (s *sorted) Content(path string) {
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
