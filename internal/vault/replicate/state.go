package replicate

import (
	"context"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/store"
)

// State is how far a replica is behind.
type State struct {
	Missing    int64         // objects that it lacks
	Bytes      int64         // of those
	Lag        time.Duration // age of the oldest of them, by the source's clock
	Incomplete []string      // complete backups of the source of which it lacks something, by key
}

// Look compares a store with its replica and copies nothing: so a bucket that
// is replicated by its provider is watched. A different object under a key is a
// BackupConflict.
func Look(ctx context.Context, c Config) (State, error) {
	r := begin(c)
	var state State
	lacking := map[string]bool{}
	var order []string
	err := join(ctx, r.From, r.To, "", "", func(info, there store.Info, present bool) error {
		backup := backupOf(info.Key)
		if isManifest(info.Key) {
			order = append(order, backup)
		}
		switch {
		case !present:
			state.Missing++
			state.Bytes += info.Size
			state.Lag = max(state.Lag, r.Now().Sub(info.Modified))
			lacking[backup] = true
		case there.Size != info.Size:
			return r.conflict(info.Key)
		}
		return nil
	})
	for _, backup := range order {
		if lacking[backup] {
			state.Incomplete = append(state.Incomplete, backup)
		}
	}
	return state, err
}

// backupOf gives the backup that a key belongs to: kind, year, month, day, name.
func backupOf(key string) string {
	parts := strings.SplitN(key, "/", 6)
	if len(parts) < 6 {
		return ""
	}
	return strings.Join(parts[:5], "/")
}
