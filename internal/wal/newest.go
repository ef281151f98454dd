package wal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/wal/local"
)

// Systems lists the identifiers of the systems that have anything in the archive.
func (a *Archive) Systems(ctx context.Context) ([]string, error) {
	infos, err := a.list(ctx, "wal/"+a.cfg.Cluster+"/", store.ListOptions{Delimiter: "/"})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, info := range infos {
		if id := strings.TrimSuffix(info.Key, "/"); info.IsPrefix && local.CheckSystemID("list", id) == nil {
			found = append(found, id)
		}
	}
	return found, nil
}

// Newest gives the newest segment of a system and when it was stored, by the
// store's clock. known is the one that was found before, or "": an archive of
// weeks is listed from there on. The name is "" when there is none newer.
func (a *Archive) Newest(ctx context.Context, systemID, known string) (name string, at time.Time, err error) {
	if err := local.CheckSystemID("find newest WAL segment of", systemID); err != nil {
		return "", time.Time{}, err
	}
	timelines, err := a.timelines(ctx, a.list, systemID)
	if err != nil {
		return "", time.Time{}, err
	}
	for _, timeline := range slices.Backward(timelines) {
		options := store.ListOptions{}
		if strings.HasPrefix(known, fmt.Sprintf("%08X", timeline)) {
			options.StartAfter = known
		}
		infos, err := a.list(ctx, a.folder(systemID, timeline), options)
		if err != nil {
			return "", time.Time{}, err
		}
		for _, info := range slices.Backward(infos) {
			if postgres.IsSegment(info.Key) {
				return info.Key, info.Modified, nil
			}
		}
		if options.StartAfter != "" {
			return "", time.Time{}, nil // what lies on older timelines was known before
		}
	}
	return "", time.Time{}, nil
}
