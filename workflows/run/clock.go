package run

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// marks are the shares of an objective, in percent, at which people are told.
var marks = [...]int{50, 80, 100}

// Clocks measures objectives and raises a notice at 50, 80 and 100 % of each.
// A breached objective is told and reported; it never stops anything.
type Clocks struct {
	run    *Run
	stops  map[string]workflow.CancelFunc
	notify func(ctx workflow.Context, notice string)
}

// StartClocks starts a clock for each objective, from the run's Since. notify
// is called in a coroutine of the workflow for each mark passed.
func (r *Run) StartClocks(ctx workflow.Context, clocks []api.Clock, notify func(ctx workflow.Context, notice string)) *Clocks {
	c := &Clocks{run: r, stops: map[string]workflow.CancelFunc{}, notify: notify}
	r.Progress.Clocks = clocks
	for i := range clocks {
		if clocks[i].Objective <= 0 {
			continue
		}
		clockCtx, stop := workflow.WithCancel(ctx)
		c.stops[clocks[i].Name] = stop
		workflow.GoNamed(clockCtx, "clock "+clocks[i].Name, func(ctx workflow.Context) { c.tick(ctx, i) })
	}
	r.Show(ctx)
	return c
}

func (c *Clocks) tick(ctx workflow.Context, i int) {
	clock := &c.run.Progress.Clocks[i]
	objective := time.Duration(clock.Objective)
	for _, mark := range marks {
		wait := c.run.Progress.Since.Add(objective * time.Duration(mark) / 100).Sub(workflow.Now(ctx))
		if wait > 0 {
			summary := fmt.Sprintf("%d %% of %s, the objective of %s", mark, system.Duration(objective), clock.Name)
			timer := workflow.NewTimerWithOptions(ctx, wait, workflow.TimerOptions{Summary: summary})
			if timer.Get(ctx, nil) != nil {
				return // stopped: its part is back
			}
		}
		if clock.Stopped != nil {
			return
		}
		clock.Reached = mark
		c.run.Show(ctx)
		c.notify(ctx, notice(clock.Name, mark, objective))
	}
}

func notice(name string, mark int, objective time.Duration) string {
	if mark >= 100 {
		return fmt.Sprintf("the recovery time objective of %s (%s) is breached; the recovery goes on", name, system.Duration(objective))
	}
	return fmt.Sprintf("%d %% of the recovery time objective of %s (%s) have passed", mark, name, system.Duration(objective))
}

// Stop stops one clock: its part is back. Stopping twice changes nothing.
func (c *Clocks) Stop(ctx workflow.Context, name string) {
	for i := range c.run.Progress.Clocks {
		clock := &c.run.Progress.Clocks[i]
		if clock.Name != name || clock.Stopped != nil {
			continue
		}
		now := workflow.Now(ctx).UTC()
		clock.Stopped = &now
		if stop := c.stops[name]; stop != nil {
			stop()
		}
	}
	c.run.Show(ctx)
}

// Silence stops all timers without saying that anything is back.
func (c *Clocks) Silence() {
	for i := range c.run.Progress.Clocks {
		if stop := c.stops[c.run.Progress.Clocks[i].Name]; stop != nil {
			stop()
		}
	}
}
