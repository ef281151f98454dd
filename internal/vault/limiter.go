package vault

import (
	"context"
	"sync"
	"time"
)

// limiter spaces reads out to a rate. A nil limiter does not limit.
type limiter struct {
	perSecond int64

	mu   sync.Mutex
	next time.Time // when what was let through so far will have been paid for
}

func newLimiter(perSecond int64) *limiter {
	if perSecond <= 0 {
		return nil
	}
	return &limiter{perSecond: perSecond}
}

// wait returns when n more bytes may be read.
func (l *limiter) wait(ctx context.Context, n int) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	now := time.Now()
	if l.next.Before(now) {
		l.next = now
	}
	delay := l.next.Sub(now)
	l.next = l.next.Add(time.Duration(int64(n) * int64(time.Second) / l.perSecond))
	l.mu.Unlock()
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
