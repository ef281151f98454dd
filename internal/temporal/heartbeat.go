package temporal

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
)

// heartbeatEvery keeps well inside the heartbeat timeout of 10 s that long steps have.
const heartbeatEvery = 2 * time.Second

// Heartbeats tells Temporal, at once and then every two seconds, that the
// activity of ctx lives, with what details gives at that moment; that is also
// how the activity hears of its cancellation. details is called from another
// goroutine. stop ends the telling and waits for it.
func Heartbeats(ctx context.Context, details func() any) (stop func()) {
	ended := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		ticker := time.NewTicker(heartbeatEvery)
		defer ticker.Stop()
		for {
			activity.RecordHeartbeat(ctx, details())
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			case <-ended:
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		close(ended)
		telling.Wait()
	})
}
