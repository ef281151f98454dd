package recovery

import (
	"fmt"
	"path"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// done tells the coordinator that the component is back, and ends the child.
func (c *component) done(ctx workflow.Context) {
	c.outcome.RTA = system.Duration(c.Elapsed(ctx))
	known := c.outcome
	c.tell(ctx, Report{Gate: api.GateDone, Outcome: &known})
	c.Finish(ctx, api.PhaseRecovered)
	c.settle(ctx)
}

// keepUndo remembers an old directory that was kept; "" is none.
func (c *component) keepUndo(old string) {
	if old != "" {
		c.outcome.Undo = append(c.outcome.Undo, old)
	}
}

// moved says how many bytes were restored, how many of them by an earlier
// attempt, and how many objects had to come from the replica.
func moved(bytes, resumed int64, fromReplica int) string {
	told := system.Bytes(bytes).Human()
	if resumed > 0 {
		told += fmt.Sprintf(", of which %s were there from an attempt that was cut off", system.Bytes(resumed).Human())
	}
	if fromReplica > 0 {
		told += fmt.Sprintf(", %d objects read from the replica", fromReplica)
	}
	return told
}

// chosen names a backup, and what newer ones were passed over for it.
func (c *component) chosen(key string, future []string, incomplete []report.PassedOver) string {
	c.outcome.PassedOver = nil
	for _, one := range future {
		c.outcome.PassedOver = append(c.outcome.PassedOver, api.PassedOver{Backup: one, Why: "it is dated in the future"})
	}
	for _, one := range incomplete {
		c.outcome.PassedOver = append(c.outcome.PassedOver, api.PassedOver(one))
	}
	told := path.Base(key)
	for _, one := range c.outcome.PassedOver {
		told += "; " + path.Base(one.Backup) + " was passed over: " + one.Why
	}
	return told
}

func kept(old string) string {
	if old == "" {
		return "there was nothing in its place"
	}
	return "the old one is kept as " + old
}

func fallbacks(found []report.Fallback) []api.Fallback {
	told := make([]api.Fallback, 0, len(found))
	for _, f := range found {
		told = append(told, api.Fallback(f))
	}
	return told
}
