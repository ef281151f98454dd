package run

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// Clocks measures objectives and raises a notice at 50, 80 and 100 % of each.
// A breached objective is told and reported; it never stops anything.
type Clocks struct {
	run    *Run
	stops  map[string]workflow.CancelFunc
	notify func(ctx workflow.Context, notice string)
}

// NewClocks makes the clocks of a run. notify is called in a coroutine of the
// workflow for each mark passed.
func (r *Run) NewClocks(notify func(ctx workflow.Context, notice string)) *Clocks {
	return &Clocks{run: r, stops: map[string]workflow.CancelFunc{}, notify: notify}
}

// Start starts one clock from its Since. A clock without an objective shows
// time and never breaches.
func (c *Clocks) Start(ctx workflow.Context, clock api.Clock) {
	c.run.Progress.Clocks = append(c.run.Progress.Clocks, clock)
	i := len(c.run.Progress.Clocks) - 1
	c.run.Show(ctx)
	c.run.mirror(ctx)
	if clock.Objective <= 0 {
		return
	}
	clockCtx, stop := workflow.WithCancel(ctx)
	c.stops[clock.Name] = stop
	workflow.GoNamed(clockCtx, "clock "+clock.Name, func(ctx workflow.Context) { c.tick(ctx, i) })
}

func (c *Clocks) tick(ctx workflow.Context, i int) {
	name, since := c.run.Progress.Clocks[i].Name, c.run.Progress.Clocks[i].Since
	objective := time.Duration(c.run.Progress.Clocks[i].Objective)
	for _, mark := range []int{50, 80, 100} {
		wait := since.Add(objective * time.Duration(mark) / 100).Sub(workflow.Now(ctx))
		if wait > 0 {
			summary := fmt.Sprintf("%d %% of %s, the objective of %s", mark, system.Duration(objective), name)
			timer := workflow.NewTimerWithOptions(ctx, wait, workflow.TimerOptions{Summary: summary})
			if timer.Get(ctx, nil) != nil {
				return // stopped: its part is back
			}
		}
		if c.run.Progress.Clocks[i].Stopped != nil {
			return
		}
		c.run.Progress.Clocks[i].Reached = mark
		c.run.Show(ctx)
		c.run.mirror(ctx)
		c.notify(ctx, notice(name, mark, objective))
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

// Silence stops every timer without saying that anything is back.
func (c *Clocks) Silence() {
	for _, clock := range c.run.Progress.Clocks {
		if stop := c.stops[clock.Name]; stop != nil {
			stop()
		}
	}
}
