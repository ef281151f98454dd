package metrics

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"

	"github.com/frende/lifeboat/internal/fault"
)

// Mover is the result of a step that moved bytes.
type Mover interface {
	// Moved says in which direction how many bytes went: "backup", "verify",
	// "replicate" or "restore". Bytes that an earlier attempt moved don't count.
	Moved() (direction string, bytes int64)
}

// Holder is the result of a step that held a WAL archive against its server.
type Holder interface {
	// Held says how many segments are late, had to be pushed again, or are lost.
	Held() (component string, late, again, lost int)
}

// Ender is the input of the step that files the record of a run.
type Ender interface {
	// Ended says how a recovery or a drill to a target ended, how long it took
	// from the disaster or its start, and when; ok is false for other runs.
	Ended() (target, outcome string, rta time.Duration, at time.Time, ok bool)
}

// Interceptor counts every attempt of every step. It stands inside of what turns
// faults into Temporal's failures.
func (m *Metrics) Interceptor() interceptor.WorkerInterceptor { return &counting{metrics: m} }

type counting struct {
	interceptor.WorkerInterceptorBase
	metrics *Metrics
}

func (c *counting) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	inbound := &countingInbound{metrics: c.metrics}
	inbound.Next = next
	return inbound
}

type countingInbound struct {
	interceptor.ActivityInboundInterceptorBase
	metrics *Metrics
}

func (c *countingInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	info := activity.GetInfo(ctx)
	began := time.Now()
	result, err := c.Next.ExecuteActivity(ctx, in)
	c.metrics.attempt(info, time.Since(began), result, err)
	if err != nil {
		return result, err
	}
	for _, arg := range in.Args {
		if ender, ok := arg.(Ender); ok {
			c.metrics.ended(ender)
		}
	}
	return result, nil
}

func (m *Metrics) ended(e Ender) {
	if target, outcome, _, _, ok := e.Ended(); ok {
		m.recoveries.WithLabelValues(target, outcome).Inc()
		m.Remember(e)
	}
}

// succeeded is the outcome that achieved something.
const succeeded = "succeeded"

// Remember shows a recovery as the last one to its target when it succeeded. A
// worker does so with what the ledger has of the time before its start.
func (m *Metrics) Remember(e Ender) {
	target, outcome, rta, at, ok := e.Ended()
	if !ok || outcome != succeeded {
		return
	}
	m.lastRTA.WithLabelValues(target).Set(rta.Seconds())
	m.lastEnd.WithLabelValues(target).Set(float64(at.UnixMilli()) / 1000)
}

func (m *Metrics) attempt(info activity.Info, took time.Duration, result any, err error) {
	step := info.ActivityType.Name
	switch {
	case err == nil:
		m.steps.WithLabelValues(step, "done").Observe(took.Seconds())
		if mover, ok := result.(Mover); ok {
			direction, bytes := mover.Moved()
			m.moved.WithLabelValues(kindOf(info.ActivityID), direction).Add(float64(max(0, bytes)))
		}
		if holder, ok := result.(Holder); ok {
			component, late, again, lost := holder.Held()
			for state, count := range map[string]int{"late": late, "again": again, "lost": lost} {
				m.segments.WithLabelValues(component, state).Set(float64(count))
			}
		}
	case errors.Is(err, context.Canceled):
		m.steps.WithLabelValues(step, "cancelled").Observe(took.Seconds())
	default:
		m.steps.WithLabelValues(step, "failed").Observe(took.Seconds())
		kind := string(fault.KindOf(err))
		if kind == "" {
			kind = "unnamed"
		}
		m.failures.WithLabelValues(step, kind).Inc()
	}
}

// kindOf is the kind of component that a step's ID begins with; a step of no
// component works on a whole store.
func kindOf(stepID string) string {
	if kind, _, ok := strings.Cut(stepID, "/"); ok {
		return kind
	}
	return "store"
}
