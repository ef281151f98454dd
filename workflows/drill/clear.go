package drill

import (
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/activities/sandbox"
	"github.com/frende/lifeboat/activities/services"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// clear ends all that the drill started and removes all that it made. What can't
// be ended by its own command is ended with the sandbox; what is left then is told.
func (d *drill) clear(ctx workflow.Context) error {
	d.Enter(ctx, api.PhaseClearing)
	var failed []error
	mapped, _, err := d.system.ForTarget(d.target.Name)
	if err != nil {
		return err
	}
	var serviceActivities *services.Activities
	if len(mapped.Services) > 0 {
		failed = append(failed, d.Do(ctx, run.Step{ID: "stop-sandbox-services", Title: "stop the sandbox's services", Class: run.Quick},
			serviceActivities.Stop, services.StopInput{Services: mapped.Services}, nil, nil))
	}
	var ends []func(ctx workflow.Context) error
	attempt := func(step run.Step, activity, input any) {
		ends = append(ends, func(ctx workflow.Context) error { return d.Do(ctx, step, activity, input, nil, nil) })
	}
	var postgresActivities *postgres.Activities
	for _, database := range mapped.Databases {
		id := system.ComponentID(system.KindDatabase, database.Name)
		attempt(run.Step{ID: id + "/end-sandbox", Component: id, Title: "end the sandbox's " + database.Name, Class: run.Quick},
			postgresActivities.EndSandbox, postgres.EndSandboxInput{Ref: postgres.Ref{System: d.system, Component: database.Name, Target: d.target.Name, RunID: d.Name()}})
	}
	var redisActivities *redis.Activities
	for _, cache := range mapped.Caches {
		id := system.ComponentID(system.KindCache, cache.Name)
		attempt(run.Step{ID: id + "/end-sandbox", Component: id, Title: "end the sandbox's " + cache.Name, Class: run.Quick},
			redisActivities.EndSandbox, redis.EndSandboxInput{Target: d.target, Cache: cache})
	}
	failed = append(failed, run.All(ctx, ends...))
	var sandboxes *sandbox.Activities
	var cleared sandbox.ClearResult
	if err := d.Do(ctx, run.Step{ID: "clear-sandbox", Title: "remove the sandbox " + d.target.Root, Class: run.Long}, sandboxes.Clear,
		sandbox.ClearInput{System: d.system, Target: d.target}, &cleared, func() string {
			if len(cleared.Left) > 0 {
				return "left behind: " + strings.Join(cleared.Left, ", ")
			}
			return "nothing is left behind"
		}); err != nil {
		d.check("nothing left behind", false, run.Reason(err))
		return errors.Join(append(failed, err)...)
	}
	if len(cleared.Left) > 0 {
		left := strings.Join(cleared.Left, ", ")
		d.check("nothing left behind", false, left)
		failed = append(failed, fault.Newf(fault.CheckFailed, "clear sandbox", d.target.Root, "the drill left behind: %s", left).
			WithHint("end and remove it by hand: the next drill begins with an empty sandbox"))
		return errors.Join(failed...)
	}
	d.result.Clean = true
	message := "no file, no process, no port"
	if cleared.Ended > 0 {
		message += fmt.Sprintf("; %d processes had to be ended by a signal", cleared.Ended)
	}
	d.check("nothing left behind", true, message)
	return errors.Join(failed...)
}
