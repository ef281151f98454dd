package vault

import (
	"context"
	"sync/atomic"

	"github.com/frende/lifeboat/internal/temporal"
)

// heartbeat tells Temporal how far the step is. note may be called concurrently.
func heartbeat(ctx context.Context) (note func(done, total int64), stop func()) {
	var done, total atomic.Int64
	note = func(d, t int64) {
		done.Store(d)
		total.Store(t)
	}
	return note, temporal.Heartbeats(ctx, func() any { return Progress{Done: done.Load(), Total: total.Load()} })
}
