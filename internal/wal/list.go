package wal

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/wal/local"
)

// listing gives what lies under a prefix, keys without it.
type listing func(ctx context.Context, prefix string, o store.ListOptions) ([]store.Info, error)

func listIn(ctx context.Context, s store.Store, prefix string, o store.ListOptions) ([]store.Info, error) {
	if o.StartAfter != "" {
		o.StartAfter = prefix + o.StartAfter
	}
	var infos []store.Info
	for info, err := range s.List(ctx, prefix, o) {
		if err != nil {
			return nil, err
		}
		info.Key = strings.TrimPrefix(info.Key, prefix)
		infos = append(infos, info)
	}
	return infos, nil
}

func byKey(x, y store.Info) int { return strings.Compare(x.Key, y.Key) }

// timelines lists the timelines that have anything in the archive, oldest first.
func (a *Archive) timelines(ctx context.Context, list listing, systemID string) ([]uint32, error) {
	infos, err := list(ctx, a.root(systemID), store.ListOptions{Delimiter: "/"})
	if err != nil {
		return nil, err
	}
	var found []uint32
	for _, info := range infos {
		name := strings.TrimSuffix(info.Key, "/")
		if timeline, err := strconv.ParseUint(name, 16, 32); err == nil && info.IsPrefix && len(name) == 8 {
			found = append(found, uint32(timeline))
		}
	}
	slices.Sort(found)
	return found, nil
}

// Span is what the archive holds of one timeline.
type Span struct {
	Timeline uint32    `json:"timeline"`
	First    string    `json:"first"` // names of segments
	Last     string    `json:"last"`
	Segments int       `json:"segments"`
	At       time.Time `json:"at"` // when the last one was stored, by the store's clock
}

// Window says what the archive holds of each timeline, oldest first. Holes
// show as fewer Segments than there are from First to Last.
func (a *Archive) Window(ctx context.Context, systemID string) ([]Span, error) {
	if err := local.CheckSystemID("list WAL archive", systemID); err != nil {
		return nil, err
	}
	timelines, err := a.timelines(ctx, a.list, systemID)
	if err != nil {
		return nil, err
	}
	var spans []Span
	for _, timeline := range timelines {
		infos, err := a.list(ctx, a.folder(systemID, timeline), store.ListOptions{})
		if err != nil {
			return nil, err
		}
		infos = slices.DeleteFunc(infos, func(i store.Info) bool { return !postgres.IsSegment(i.Key) })
		if len(infos) == 0 {
			continue
		}
		last := infos[len(infos)-1]
		spans = append(spans, Span{Timeline: timeline, First: infos[0].Key, Last: last.Key, Segments: len(infos), At: last.Modified})
	}
	return spans, nil
}

// LastArchived is the newest segment of the newest timeline, and when it was
// stored. WALGap when the archive holds no segment.
func (a *Archive) LastArchived(ctx context.Context, systemID string) (name string, at time.Time, err error) {
	spans, err := a.Window(ctx, systemID)
	if err != nil {
		return "", time.Time{}, err
	}
	if len(spans) == 0 {
		return "", time.Time{}, fault.Newf(fault.WALGap, "find last WAL segment", a.root(systemID), "the archive holds no segment").
			WithHint("set archive_mode = on and archive_command = 'lifeboat wal-push %%p', then look at pg_stat_archiver")
	}
	last := spans[len(spans)-1]
	return last.Last, last.At, nil
}

// Stored is when the last segment of a pin was stored, by the clock of the
// archive's first store. ObjectMissing when that store does not have it.
func (a *Archive) Stored(ctx context.Context, pin Pin) (time.Time, error) {
	info, err := a.cfg.Vault.Store().Head(ctx, a.key(pin.SystemID, pin.End))
	return info.Modified, err
}

// Holds says whether the primary store has the file. It asks for its name alone
// and reads nothing of it.
func (a *Archive) Holds(ctx context.Context, systemID, name string) (bool, error) {
	if err := local.CheckSystemID("look for WAL in", systemID); err != nil {
		return false, err
	}
	if !pushable(name) {
		return false, fault.Newf(fault.InputInvalid, "look for WAL", name, "its name is not that of a WAL file")
	}
	_, err := a.cfg.Vault.Store().Head(ctx, a.key(systemID, name))
	if fault.Has(err, fault.ObjectMissing) {
		return false, nil
	}
	return err == nil, err
}
