package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
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
		Args:    exactly("ID"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			c, err := a.temporal(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			described, err := c.DescribeWorkflowExecution(ctx, args[0], "")
			if err != nil {
				return temporal.Named("watch", args[0], err)
			}
			var result json.RawMessage
			if err := a.watchRun(ctx, c, args[0], &result, true); err != nil {
				return err
			}
			if !a.json {
				a.say(ending(args[0], described.GetWorkflowExecutionInfo().GetType().GetName(), result))
			}
			return nil
		}),
	})
}

// ending is the last line of a run that succeeded, as the command that started it has it.
func ending(id, workflow string, result json.RawMessage) string {
	var recovery api.RecoverResult
	var drill api.DrillResult
	var backup api.BackupResult
	var undo api.UndoResult
	var copied api.CopyResult
	read := func(into any) bool { return json.Unmarshal(result, into) == nil }
	switch {
	case workflow == api.DrillSystem && read(&drill):
		return rehearsed(drill)
	case strings.HasPrefix(workflow, "Recover") && read(&recovery):
		return recovered(recovery)
	case workflow == api.CopyDatabase && read(&copied):
		return restoredTo(copied)
	case workflow == api.UndoRecovery && read(&undo):
		return undone(undo)
	case strings.HasPrefix(workflow, "Backup") && read(&backup):
		return backedUp(backup)
	default:
		return "DONE " + id
	}
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
	unwanted, _ := a.Env("NO_COLOR") // https://no-color.org: when it is not empty
	v := &viewer{
		out: a.Stdout, now: a.Now, screen: a.Screen, json: a.json, meters: map[string]*meter{},
		terminal: terminal{out: a.Stdout, colour: unwanted == ""},
	}
	defer v.terminal.leave() // whatever happens
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
				return ctx.Err()
			}
			return err
		case <-ticker.C:
			if !shown {
				continue
			}
			if seen, err := a.poll(ctx, c, id); err == nil {
				v.show(seen)
			} else if ctx.Err() == nil {
				v.silent()
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
