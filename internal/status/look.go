package status

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

const (
	defaultLimit = 3 * time.Second
	grace        = 100 * time.Millisecond // for a source that ends with its context
	day          = 24 * time.Hour
)

// reader is the name under which the ledger is read. It is never written to.
const reader = "status"

// Temporal is the source that knows what runs.
const Temporal = "Temporal"

// Deps are what a look needs of the process. Vault and Ledger are needed.
type Deps struct {
	Vault   func(ctx context.Context, s system.System, onFallback func(vault.Fallback)) (*vault.Vault, error)
	Ledger  func(ctx context.Context, s system.System, writer string) (*ledger.Ledger, error)
	Running func(ctx context.Context, s system.System) ([]Run, error) // nil: it is not asked
	Limit   time.Duration                                             // for each of three stages: opening, stores, ledger; 0: 3 s
	Now     func() time.Time                                          // nil: time.Now
}

// looking is one look at a system.
type looking struct {
	Deps
	system    system.System
	status    Status
	knowsRuns bool  // the ledger has told of every run that schedules started
	sealed    error // why a record of the ledger can't be opened with the keys at hand
}

// Look asks every source at once, each for a few seconds at most.
func Look(ctx context.Context, deps Deps, s system.System) Status {
	deps.Limit = cmp.Or(deps.Limit, defaultLimit)
	if deps.Now == nil {
		deps.Now = time.Now
	}
	began := deps.Now().UTC()
	l := &looking{Deps: deps, system: s, status: Status{
		System: s.Name, At: began, Review: s.Plan.NextReview, Running: []Run{}, Problems: []Problem{}, Components: []Component{},
	}}
	for _, c := range s.Components() {
		l.status.Components = append(l.status.Components, Component{ID: c.ID, Objective: c.RPO})
	}
	var asking sync.WaitGroup
	var running answer[[]Run]
	if l.Running != nil {
		asking.Go(func() {
			running = within(ctx, l.Limit, Temporal, func(ctx context.Context) ([]Run, error) { return l.Running(ctx, s) })
		})
	}
	l.stores(ctx)
	l.records(ctx)
	asking.Wait()
	if running.err != nil {
		l.away(Temporal, running.err, "lifeboat doctor --only temporal")
	}
	l.status.Running = append(l.status.Running, running.value...)
	l.judge()
	l.status.Took = system.Duration(l.Now().Sub(began).Round(time.Millisecond))
	return l.status
}

// away notes a source that gave no answer.
func (l *looking) away(source string, err error, mend string) {
	l.status.Away = append(l.status.Away, Away{Source: source, Why: reason(err)})
	l.problem(Wrong, mend, "%s can't be reached: %s", source, reason(err))
}

// answer is what a source said.
type answer[T any] struct {
	value T
	err   error
}

// within asks a source, and leaves it behind when it does not come back in time:
// a dead file system holds whoever touches it.
func within[T any](ctx context.Context, limit time.Duration, source string, ask func(ctx context.Context) (T, error)) answer[T] {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answers := make(chan answer[T], 1)
	go func() {
		value, err := ask(limited)
		answers <- answer[T]{value, err}
	}()
	var given answer[T]
	select {
	case given = <-answers:
	case <-limited.Done():
		select {
		case given = <-answers:
		case <-time.After(grace):
			given.err = limited.Err()
		}
	}
	if given.err != nil && limited.Err() != nil {
		given.err = fault.Newf(fault.StorageUnavailable, "ask", source, "no answer within %s", limit)
	}
	return given
}

// locked says whether a fault is that the key at hand is not the one it takes.
func locked(kind fault.Kind) bool { return kind == fault.KeyUnavailable || kind == fault.KeyWrong }

// unreachable says whether an error is of the source as a whole.
func unreachable(err error) bool {
	switch fault.KindOf(err) {
	case fault.StorageUnavailable, fault.StorageDenied, fault.StorageMissing, fault.SecretUnavailable, fault.ConfigInvalid, "":
		return true
	}
	return false
}
