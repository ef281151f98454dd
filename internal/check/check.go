package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// What holds for a check that was configured without it.
const (
	defaultTimeout = 5 * time.Second
	firstPause     = 100 * time.Millisecond // between two tries; doubled up to
	longestPause   = 2 * time.Second
)

// Deps are the components that checks ask, and the way to their secrets.
type Deps struct {
	Databases []system.Database
	Caches    []system.Cache
	Secret    func(system.SecretRef) ([]byte, error)
}

// Result says how a check ended.
type Result struct {
	Name    string
	OK      bool
	Tries   int
	Latency time.Duration // of the last try
	Message string        // what the last try saw
}

// Run tries the check until it is true or its window has passed. A check that
// stays false is CheckFailed, with the Result filled in; one that can't be
// asked at all is ConfigInvalid or SecretUnavailable, at once.
func Run(ctx context.Context, c system.Check, deps Deps) (Result, error) {
	result := Result{Name: c.Name}
	try, err := prober(c, deps)
	if err != nil {
		return result, err
	}
	deadline := time.Now().Add(time.Duration(c.Within))
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		result.Tries++
		started := time.Now()
		result.Message, err = once(ctx, c, try)
		result.Latency = time.Since(started)
		switch {
		case ctx.Err() != nil:
			return result, ctx.Err()
		case err == nil:
			result.OK = true
			return result, nil
		case fault.Has(err, fault.ConfigInvalid), fault.Has(err, fault.SecretUnavailable):
			return result, err
		}
		result.Message = err.Error()
		left := time.Until(deadline)
		if left <= 0 {
			return result, fault.New(fault.CheckFailed, "check", c.Name, err)
		}
		timer := time.NewTimer(min(pause, left))
		select {
		case <-ctx.Done():
			timer.Stop()
			return result, ctx.Err()
		case <-timer.C:
		}
	}
}

// probe asks once: what it saw when that is right, an error when it is not.
type probe func(ctx context.Context) (string, error)

// once is one try, in its own time.
func once(ctx context.Context, c system.Check, try probe) (string, error) {
	limit := time.Duration(c.Timeout)
	if limit == 0 {
		limit = defaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	message, err := try(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return "", fmt.Errorf("no answer within %s", limit)
	}
	return message, err
}

func prober(c system.Check, deps Deps) (probe, error) {
	switch c.Kind {
	case system.CheckHTTP:
		return probeHTTP(c), nil
	case system.CheckTCP:
		return probeTCP(c), nil
	case system.CheckSQL:
		for _, database := range deps.Databases {
			if database.Name == c.Database {
				return probeSQL(c, database, deps.Secret), nil
			}
		}
		return nil, unknown(c, "database", c.Database)
	case system.CheckRedis:
		for _, cache := range deps.Caches {
			if cache.Name == c.Cache {
				return probeRedis(cache, deps.Secret), nil
			}
		}
		return nil, unknown(c, "cache", c.Cache)
	case system.CheckCommand:
		return probeCommand(c), nil
	default:
		return nil, fault.Newf(fault.ConfigInvalid, "check", c.Name, "kind %q does not exist", c.Kind)
	}
}

func unknown(c system.Check, what, name string) error {
	return fault.Newf(fault.ConfigInvalid, "check", c.Name, "%s %q is not configured", what, name)
}

// reason drops what an error repeats of the request: addresses may hold credentials.
func reason(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
