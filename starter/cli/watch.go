package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

const (
	pollEvery   = 500 * time.Millisecond
	pollTimeout = 5 * time.Second
	// outage is how long Temporal may be away before watching ends; the run itself goes on when it is back.
	outage = 5 * time.Minute
)

func (a *app) watch() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "watch ID",
		Short: "Show a run live, until it ends",
		Long: "Show a run live, until it ends: each step with rate, remaining time and objective.\n" +
			"The exit code is the run's. With --json, one object per change.",
		Example: "  lifeboat watch recover/frende",
		Args:    cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			c, err := a.temporal(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.DescribeWorkflowExecution(ctx, args[0], ""); err != nil {
				return temporal.Named("watch", args[0], err)
			}
			var result json.RawMessage
			if err := a.watchRun(ctx, c, args[0], &result, true); err != nil {
				return err
			}
			if !a.json {
				fmt.Fprintf(a.Stdout, "DONE %s\n", args[0])
			}
			return nil
		}),
	})
}

// follow shows a run that this command started, and decodes its result. With
// --json it shows nothing: the caller prints the result.
func (a *app) follow(ctx context.Context, c client.Client, id string, result any) error {
	return a.watchRun(ctx, c, id, result, !a.json)
}

// watchRun waits for a run's end and returns its error. An outage of Temporal is sat out.
func (a *app) watchRun(ctx context.Context, c client.Client, id string, result any, shown bool) error {
	ended := make(chan error, 1)
	go func() { ended <- a.await(ctx, c, id, result) }()
	v := &viewer{out: a.Stdout, now: a.Now, width: a.Screen, json: a.json, meters: map[string]*meter{}}
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			if shown {
				if seen, pollErr := a.poll(context.WithoutCancel(ctx), c, id); pollErr == nil {
					v.show(seen)
				}
				v.leave()
			}
			if ctx.Err() != nil {
				a.told = true
				fmt.Fprintf(a.Stderr, "lifeboat: the run goes on; see it with: lifeboat watch %s\n", id)
			}
			return err
		case <-ticker.C:
			if !shown {
				continue
			}
			if seen, err := a.poll(ctx, c, id); err == nil {
				v.show(seen)
			} else if ctx.Err() == nil {
				v.silent(err)
			}
		}
	}
}

// await blocks until the run ends.
func (a *app) await(ctx context.Context, c client.Client, id string, result any) error {
	var since time.Time
	for {
		err := c.GetWorkflow(ctx, id, "").Get(ctx, result)
		if err == nil {
			return nil
		}
		err = named("watch", id, err)
		if !fault.Has(err, fault.TemporalUnavailable) || ctx.Err() != nil {
			return err
		}
		if since.IsZero() {
			since = a.Now()
		}
		if a.Now().Sub(since) > outage {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// seen is a run at one moment.
type seen struct {
	api.Progress
	activities map[string]activity // by workflow ID and activity ID
}

// activity is what Temporal knows of an activity that has not ended.
type activity struct {
	done, total int64 // bytes
	attempt     int32
	failure     string // why the attempt before failed
}

func activityKey(workflowID, activityID string) string { return workflowID + "\x00" + activityID }

// poll asks the run where it stands, and Temporal how its activities and its children's are doing.
func (a *app) poll(ctx context.Context, c client.Client, id string) (seen, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	now := seen{activities: map[string]activity{}}
	answer, err := c.QueryWorkflow(ctx, id, "", api.QueryProgress)
	if err != nil {
		return now, err
	}
	if err := answer.Get(&now.Progress); err != nil {
		return now, err
	}
	if now.Finished != nil {
		return now, nil
	}
	for _, workflowID := range append([]string{id}, now.Children...) {
		described, err := c.DescribeWorkflowExecution(ctx, workflowID, "")
		if err != nil {
			return now, err
		}
		for _, pending := range described.GetPendingActivities() {
			one := activity{attempt: pending.GetAttempt(), failure: a.payloads.Message(pending.GetLastFailure())}
			var told struct{ Done, Total int64 }
			if heartbeat := pending.GetHeartbeatDetails(); heartbeat != nil && a.payloads.Value(heartbeat, &told) == nil {
				one.done, one.total = told.Done, told.Total
			}
			now.activities[activityKey(workflowID, pending.GetActivityId())] = one
		}
	}
	return now, nil
}
