package drill

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/activities/services"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/run"
)

// footprint is what tells production from one that was disturbed: of each
// server and service, what may not change while a drill runs, by name.
type footprint map[string]map[string]string

// reached says whether a component's server answered.
func (f footprint) reached(id string) bool { return f[id]["state"] == "running" }

// observe looks at production and touches nothing.
func (d *drill) observe(ctx workflow.Context, when string) (footprint, error) {
	seen := footprint{}
	var looks []func(ctx workflow.Context) error
	for _, database := range d.system.Databases {
		looks = append(looks, func(ctx workflow.Context) error { return d.observeDatabase(ctx, when, database.Name, seen) })
	}
	for _, cache := range d.system.Caches {
		looks = append(looks, func(ctx workflow.Context) error { return d.observeCache(ctx, when, cache, seen) })
	}
	if len(d.system.Services) > 0 {
		looks = append(looks, func(ctx workflow.Context) error { return d.observeServices(ctx, when, seen) })
	}
	return seen, run.All(ctx, looks...)
}

func (d *drill) observeDatabase(ctx workflow.Context, when, name string, seen footprint) error {
	var activities *postgres.Activities
	id := system.ComponentID(system.KindDatabase, name)
	var found postgres.ObserveResult
	if err := d.Do(ctx, run.Step{ID: id + "/observe-" + when, Component: id, Title: "look at production's " + name + ", " + when, Class: run.Quick},
		activities.Observe, postgres.ObserveInput{Ref: postgres.Ref{System: d.system, Component: name, RunID: d.Name()}}, &found,
		func() string {
			return told(found.Reached, fmt.Sprintf("pid %d, timeline %d", found.PID, found.Timeline))
		}); err != nil {
		return err
	}
	seen[id] = map[string]string{"state": "not reached"}
	if found.Reached {
		seen[id] = map[string]string{
			"state": "running", "pid": fmt.Sprint(found.PID), "started": found.Started.String(), "timeline": fmt.Sprint(found.Timeline),
			"system identifier": found.SystemID, "archiving directory": fmt.Sprint(found.Incarnation), "failures to archive": fmt.Sprint(found.Failed),
		}
	}
	return nil
}

func (d *drill) observeCache(ctx workflow.Context, when string, cache system.Cache, seen footprint) error {
	var activities *redis.Activities
	id := system.ComponentID(system.KindCache, cache.Name)
	var found redis.ObserveResult
	if err := d.Do(ctx, run.Step{ID: id + "/observe-" + when, Component: id, Title: "look at production's " + cache.Name + ", " + when, Class: run.Quick},
		activities.Observe, redis.ObserveInput{Cache: cache}, &found,
		func() string { return told(found.Reached, fmt.Sprintf("pid %d, %s", found.PID, found.Role)) }); err != nil {
		return err
	}
	seen[id] = map[string]string{"state": "not reached"}
	if found.Reached {
		seen[id] = map[string]string{"state": "running", "pid": fmt.Sprint(found.PID), "run": found.RunID, "role": found.Role}
	}
	return nil
}

func (d *drill) observeServices(ctx workflow.Context, when string, seen footprint) error {
	var activities *services.Activities
	var found services.Result
	if err := d.Do(ctx, run.Step{ID: "observe-services-" + when, Title: "look at production's services, " + when, Class: run.Quick},
		activities.Status, services.StatusInput{Services: d.system.Services}, &found,
		func() string { return fmt.Sprintf("%d services", len(found.Services)) }); err != nil {
		return err
	}
	for _, one := range found.Services {
		seen["service/"+one.Name] = map[string]string{"state": one.State}
	}
	return nil
}

func told(reached bool, text string) string {
	if !reached {
		return "can't be reached"
	}
	return text
}

// look compares production with what it was before the drill.
func (d *drill) look(ctx workflow.Context) error {
	after, err := d.observe(ctx, "after")
	if err != nil {
		d.check("production untouched", false, run.Reason(err))
		return err
	}
	var changed []string
	unseen := 0
	for _, id := range workflow.DeterministicKeys(d.before) {
		if d.before[id]["state"] == "not reached" {
			unseen++
		}
		for _, what := range workflow.DeterministicKeys(d.before[id]) {
			if was, is := d.before[id][what], after[id][what]; was != is {
				changed = append(changed, fmt.Sprintf("%s: %s was %s and is %s", id, what, was, is))
			}
		}
	}
	if len(changed) > 0 {
		text := strings.Join(changed, "; ")
		d.check("production untouched", false, text)
		return fault.Newf(fault.CheckFailed, "rehearse beside", d.system.Name, "production changed meanwhile: %s", text).
			WithHint("find out whether somebody else restarted or deployed it during the drill; if nobody did, report this before the next drill")
	}
	if unseen > 0 {
		d.note(fmt.Sprintf("%d of production's servers could not be reached, before and after", unseen))
	}
	d.result.Untouched = true
	d.check("production untouched", true, fmt.Sprintf("%d servers and services are what they were: %s", len(d.before), seenText(d.before)))
	return nil
}

// seenText names what was held against each other, for the record.
func seenText(f footprint) string {
	var told []string
	for _, id := range workflow.DeterministicKeys(f) {
		text := id + " " + f[id]["state"]
		for _, what := range workflow.DeterministicKeys(f[id]) {
			if what != "state" && f[id][what] != "" {
				text += ", " + what + " " + f[id][what]
			}
		}
		told = append(told, text)
	}
	return strings.Join(told, "; ")
}

func (d *drill) check(name string, ok bool, message string) {
	d.checks = append(d.checks, report.Check{Name: name, OK: ok, Message: message})
}
