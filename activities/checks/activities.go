package checks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/check"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// beat is how often Health says that it lives while checks are tried.
const beat = 2 * time.Second

// Deps are what the activities need of their host.
type Deps struct {
	Secret func(system.SecretRef) ([]byte, error) // reads a secret on this host
}

// Activities run checks.
type Activities struct{ deps Deps }

// New returns the activities.
func New(deps Deps) *Activities { return &Activities{deps: deps} }

// Health runs all checks at once, each until it is true or its window has
// passed. When one or more stay false it fails with CheckFailed, which says
// what each of them saw; the results are returned all the same, and are the
// last heartbeat.
func (a *Activities) Health(ctx context.Context, in HealthInput) (HealthResult, error) {
	deps := check.Deps{Databases: in.Databases, Caches: in.Caches, Secret: a.deps.Secret}
	results := make([]Result, len(in.Checks))
	errs := make([]error, len(in.Checks))
	ended := make(chan int)
	var running sync.WaitGroup
	for i, c := range in.Checks {
		results[i] = Result{Name: c.Name}
		running.Go(func() {
			var found check.Result
			found, errs[i] = check.Run(ctx, c, deps)
			results[i] = Result{
				Name: found.Name, OK: found.OK, Tries: found.Tries,
				Latency: system.Duration(found.Latency.Round(time.Millisecond)), Message: found.Message,
			}
			ended <- i
		})
	}
	go func() { running.Wait(); close(ended) }()
	a.await(ctx, in.Checks, results, ended)
	return HealthResult{Results: results}, verdict(results, errs)
}

// await gives a heartbeat for every check that ends, and in between.
func (a *Activities) await(ctx context.Context, all []system.Check, results []Result, ended <-chan int) {
	finished := make([]Result, 0, len(all))
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case i, more := <-ended:
			if !more {
				return
			}
			finished = append(finished, results[i])
		case <-ticker.C:
		}
		activity.RecordHeartbeat(ctx, HealthResult{Results: finished})
	}
}

// verdict is nil when all are true. What can't be asked at all goes before what
// was asked and is false.
func verdict(results []Result, errs []error) error {
	var names, seen []string
	for i, err := range errs {
		if err == nil {
			continue
		}
		if !fault.Has(err, fault.CheckFailed) {
			return err
		}
		names = append(names, results[i].Name)
		seen = append(seen, fmt.Sprintf("%s: %s", results[i].Name, results[i].Message))
	}
	if len(names) == 0 {
		return nil
	}
	return fault.New(fault.CheckFailed, "check", strings.Join(names, ", "), errors.New(strings.Join(seen, "; ")))
}
