package wal

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/wal/local"
)

// File is a file of the archive that holds WAL, or tells of a backup in it.
type File struct {
	Key      string    // of its object
	Name     string    // a segment's, that of a .partial, or that of a .backup
	Timeline uint32    //
	Number   uint64    // of the segment
	Size     int64     // as stored
	Stored   time.Time // by the store's clock
}

// Files lists what the primary store holds of a system's WAL, the oldest
// positions first: segments, .partial and .backup files. Histories, incarnations
// and restore points are not among them. A name that none of these has is an
// IntegrityError.
func (a *Archive) Files(ctx context.Context, systemID string, segmentSize int64) ([]File, error) {
	if err := local.CheckSystemID("list WAL archive", systemID); err != nil {
		return nil, err
	}
	timelines, err := a.timelines(ctx, a.list, systemID)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, timeline := range timelines {
		infos, err := a.list(ctx, a.folder(systemID, timeline), store.ListOptions{})
		if err != nil {
			return nil, err
		}
		for _, info := range infos {
			if postgres.IsHistory(info.Key) {
				continue
			}
			if !pushable(info.Key) {
				return nil, fault.Newf(fault.IntegrityError, "list WAL archive", a.folder(systemID, timeline)+info.Key, "its name is not that of a WAL file")
			}
			segment, err := postgres.ParseSegment(info.Key[:len(postgres.SegmentName(1, 0, segmentSize))], segmentSize)
			if err != nil {
				return nil, err
			}
			files = append(files, File{
				Key: a.key(systemID, info.Key), Name: info.Key, Timeline: timeline, Number: segment.Number, Size: info.Size, Stored: info.Modified.UTC(),
			})
		}
	}
	slices.SortFunc(files, func(x, y File) int { return cmp.Or(cmp.Compare(x.Number, y.Number), cmp.Compare(x.Name, y.Name)) })
	return files, nil
}
