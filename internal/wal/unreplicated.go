package wal

import (
	"context"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/wal/local"
)

// Replicated says what the replica has of the WAL that the primary store has.
type Replicated struct {
	Newest string   // segment in the replica, of the server's timeline; "": none
	Lacks  []string // segments that are in the primary store alone, in order
	Late   []string // of these, what has been there for longer than it may, by that store's clock
}

// Replicated holds the replica against the primary store, from the newest base backup
// on. The archive's vault has to have a replica.
func (a *Archive) Replicated(ctx context.Context, b Believed, late time.Duration) (Replicated, error) {
	const op = "examine WAL in replica"
	replica := a.cfg.Vault.Replica()
	if replica == nil {
		return Replicated{}, fault.Newf(fault.InputInvalid, op, a.cfg.Cluster, "the store has no replica")
	}
	if err := local.CheckSystemID(op, b.SystemID); err != nil {
		return Replicated{}, err
	}
	first := uint64(b.LSN) / uint64(b.SegmentSize)
	timelines, err := a.timelines(ctx, a.primary, b.SystemID)
	if err != nil {
		return Replicated{}, err
	}
	var found Replicated
	for _, timeline := range timelines {
		if timeline < b.Point.Timeline || timeline > b.Timeline {
			continue
		}
		options := store.ListOptions{}
		if first > 0 {
			options.StartAfter = postgres.Segment{Timeline: timeline, Number: first - 1}.Name(b.SegmentSize)
		}
		folder := a.folder(b.SystemID, timeline)
		copied, err := listIn(ctx, replica, folder, options) // first: what is copied meanwhile is no finding
		if err != nil {
			return Replicated{}, err
		}
		there := map[string]bool{}
		for _, info := range copied {
			if there[info.Key] = true; timeline == b.Timeline && postgres.IsSegment(info.Key) {
				found.Newest = info.Key
			}
		}
		held, err := a.primary(ctx, folder, options)
		if err != nil {
			return Replicated{}, err
		}
		for _, info := range held {
			if !postgres.IsSegment(info.Key) || there[info.Key] {
				continue
			}
			found.Lacks = append(found.Lacks, info.Key)
			if a.cfg.Now().Sub(info.Modified) > late {
				found.Late = append(found.Late, info.Key)
			}
		}
	}
	return found, nil
}
