package run

import (
	"errors"

	"go.temporal.io/sdk/workflow"
)

// All does everything at once and waits for all of it, whatever fails. The error
// is that of the first in the order given, joined with those of the others.
func All(ctx workflow.Context, all ...func(ctx workflow.Context) error) error {
	failed := make([]error, len(all))
	done := workflow.NewWaitGroup(ctx)
	for i, one := range all {
		done.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer done.Done()
			failed[i] = one(ctx)
		})
	}
	done.Wait(ctx)
	return errors.Join(failed...)
}
