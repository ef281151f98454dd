package temporal

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
)

// heartbeatEvery keeps well inside the heartbeat timeout of 10 s that steps have.
const heartbeatEvery = 2 * time.Second

// Heartbeats tells Temporal, at once and then every two seconds, how far the
// activity of ctx is: what details gives at that moment. details is called from
// another goroutine. stop ends the telling and waits for it.
func Heartbeats(ctx context.Context, details func() any) (stop func()) {
	return every(ctx, func(ctx context.Context) { activity.RecordHeartbeat(ctx, details()) })
}

// every calls do, at once and then every two seconds, until ctx or stop ends it.
func every(ctx context.Context, do func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		ticker := time.NewTicker(heartbeatEvery)
		defer ticker.Stop()
		for {
			do(ctx)
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		telling.Wait()
	}
}

// pulse sees to it that Temporal hears of every activity, also of one that waits
// for a server which never answers, and of one that cleans up after it was
// cancelled. That is how Temporal tells a slow step from a lost worker, and how
// the activity hears of its cancellation.
type pulse struct {
	interceptor.ActivityOutboundInterceptorBase

	mu      sync.Mutex
	details []any // of the activity's last own heartbeat
	told    time.Time
}

// RecordHeartbeat passes the activity's own heartbeat on.
func (p *pulse) RecordHeartbeat(ctx context.Context, details ...any) {
	p.mu.Lock()
	p.details, p.told = details, time.Now()
	p.mu.Unlock()
	p.Next.RecordHeartbeat(ctx, details...)
}

// keep beats until stop, whatever becomes of ctx. What the activity told last is told again.
func (p *pulse) keep(ctx context.Context) (stop func()) {
	return every(context.WithoutCancel(ctx), func(ctx context.Context) {
		p.mu.Lock()
		details, told := p.details, p.told
		p.mu.Unlock()
		if time.Since(told) >= heartbeatEvery {
			p.Next.RecordHeartbeat(ctx, details...)
		}
	})
}
