package extract

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// copying is an extraction of a whole cluster, as a data directory.
type copying struct {
	*extraction
	dir  string
	made api.CopyResult
}

// Copy restores a database, as it was at a point, to a directory apart from
// production, as a data directory that a person starts (workflow type CopyDatabase).
func Copy(ctx workflow.Context, in api.Input[api.CopyInput]) (api.CopyResult, error) {
	r, err := run.Begin(ctx, api.PhaseExtracting)
	if err != nil {
		return api.CopyResult{}, err
	}
	c := &copying{extraction: &extraction{Run: r}}
	err = c.copy(ctx, in)
	disconnected, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	c.End(disconnected, err)
	c.file(disconnected, err)
	c.made.System, c.made.Component, c.made.Backup, c.made.Asked, c.made.Point = c.result.System, c.result.Component, c.result.Backup, c.result.Asked, c.result.Point
	c.made.Started, c.made.Finished = r.Progress.Started, *r.Progress.Finished
	return c.made, run.Failure(err)
}

func (c *copying) copy(ctx workflow.Context, in api.Input[api.CopyInput]) error {
	asked, err := in.Checked(api.CopyDatabase)
	if err != nil {
		return err
	}
	if asked.Dir == "" {
		return fault.Newf(fault.InputInvalid, "read input of", api.CopyDatabase, "it names no directory").WithHint("name one on the worker's host: --to-dir /var/tmp/frende")
	}
	c.dir = asked.Dir
	c.in = api.ExtractInput{System: asked.System, Component: asked.Component, To: asked.To, By: asked.By, From: asked.From}
	if err := c.choose(ctx); err != nil {
		return err
	}
	c.ref.Dir, c.ref.Delta = c.dir, asked.Delta
	var activities *postgres.Activities
	if err := c.Do(ctx, c.step("directory", "see that a copy can be put at "+c.dir, run.Quick), activities.CheckCopy, postgres.CheckCopyInput{Ref: c.ref}, nil, nil); err != nil {
		return err
	}
	err = c.put(ctx)
	// Whatever happened, and whoever cancelled: nothing but the copy stays.
	outlasting, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	var left postgres.DiscardResult
	discardErr := c.Do(outlasting, c.step("discard", "end the server and remove what is left beside the copy", run.Long), activities.DiscardScratch,
		postgres.DiscardScratchInput{Ref: c.ref}, &left, func() string {
			if err == nil {
				return ""
			}
			return c.older(left)
		})
	if err == nil {
		return discardErr
	}
	if note := c.older(left); note != "" {
		c.notes = append(c.notes, note)
		err = run.WithNote(err, note)
	}
	return errors.Join(err, discardErr)
}

// older says what became of the older copy, when the new one has not come.
func (c *copying) older(left postgres.DiscardResult) string {
	switch left.Older {
	case postgres.OlderWhole:
		return "the older copy at " + c.dir + " is as it was"
	case postgres.OlderBack:
		return "the older copy is back at " + c.dir
	case postgres.OlderSpent:
		return "the older copy at " + c.dir + " is spent: files of it were changed in place, and no server may be started there; " +
			"the same command takes from it what is still right, or remove it"
	}
	return ""
}

func (c *copying) put(ctx workflow.Context) error {
	ready, err := c.replayed(ctx)
	if err != nil {
		return err
	}
	var activities *postgres.Activities
	var put postgres.PutCopyResult
	if err := c.Do(ctx, c.step("put", "promote the copy, shut it down and put it at "+c.dir, run.Long), activities.PutCopy,
		postgres.PutCopyInput{Ref: c.ref, Place: ready.Place, Facts: ready.Facts}, &put, func() string {
			return fmt.Sprintf("shut down on timeline %d, which no archive knows; start it with: %s", put.Timeline, put.Start)
		}); err != nil {
		return err
	}
	c.made.Dir, c.made.Tablespaces, c.made.Timeline, c.made.Start, c.made.Bytes = put.Dir, put.Tablespaces, put.Timeline, put.Start, ready.Bytes
	c.made.Kept, c.made.Taken = c.kept, c.taken
	return nil
}
