package recovery

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/checks"
	"github.com/frende/lifeboat/activities/services"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// production says whether the run replaces what serves people. A sandbox has no
// services of its own yet, and must never touch production's.
func (c *coordinator) production() bool { return c.target.Kind != system.TargetSandbox }

// stopServices stops the application, after noting what of it was running.
func (c *coordinator) stopServices(ctx workflow.Context) error {
	all := c.system.Applications()
	if !c.production() || len(all) == 0 {
		return nil
	}
	var activities *services.Activities
	var before services.Result
	if err := c.Do(ctx, run.Step{ID: "services-status", Title: "note which services run", Class: run.Quick}, activities.Status,
		services.StatusInput{Services: all}, &before, func() string { return states(before) }); err != nil {
		return err
	}
	for _, outcome := range before.Services {
		if outcome.State == "running" {
			c.running = append(c.running, outcome.Name)
		}
	}
	var stopped services.Result
	return c.Do(ctx, run.Step{ID: "stop-services", Title: "stop services", Class: run.Long}, activities.Stop,
		services.StopInput{Services: all}, &stopped, func() string { return states(stopped) })
}

// restartServices starts again what this run stopped, after it failed or was
// called off: the old system goes on as it was.
func (c *coordinator) restartServices(ctx workflow.Context) error {
	if len(c.running) == 0 {
		return nil
	}
	var again []system.Service
	for _, service := range c.system.Applications() {
		for _, name := range c.running {
			if service.Name == name {
				again = append(again, service)
			}
		}
	}
	var activities *services.Activities
	var result services.Result
	return c.Do(ctx, run.Step{ID: "restart-services", Title: "start the old system's services again", Class: run.Long}, activities.Start,
		services.StartInput{Services: again}, &result, func() string { return states(result) })
}

// reopen migrates, starts the services and asks whether they do their work.
func (c *coordinator) reopen(ctx workflow.Context) error {
	if !c.production() && len(c.at.Services)+len(c.at.Checks) == 0 {
		return nil
	}
	c.clocks.Start(ctx, api.Clock{Name: "application", Objective: c.at.Objectives.RTO.Application, Since: workflow.Now(ctx).UTC()})
	c.Enter(ctx, api.PhaseMigrating)
	if err := c.migrate(ctx); err != nil {
		return err
	}
	c.Enter(ctx, api.PhaseStarting)
	var serviceActivities *services.Activities
	if all := c.at.Applications(); len(all) > 0 {
		var result services.Result
		if err := c.Do(ctx, run.Step{ID: "start-services", Title: "start services", Class: run.Long}, serviceActivities.Start,
			services.StartInput{Services: all}, &result, func() string { return states(result) }); err != nil {
			return err
		}
	}
	c.Enter(ctx, api.PhaseChecking)
	if len(c.at.Checks) == 0 {
		return nil
	}
	var checkActivities *checks.Activities
	var health checks.HealthResult
	err := c.Do(ctx, run.Step{ID: "health-checks", Title: "run health checks", Class: run.Long}, checkActivities.Health,
		checks.HealthInput{Checks: c.at.Checks, Databases: c.at.Databases, Caches: c.at.Caches}, &health,
		func() string { return passed(len(health.Results)) })
	for _, result := range health.Results {
		c.checks = append(c.checks, report.Check{Name: result.Name, OK: result.OK, Latency: result.Latency, Message: result.Message})
	}
	return err
}

// migrate runs the migrations of the databases that this run recovered.
func (c *coordinator) migrate(ctx workflow.Context) error {
	var activities *services.Activities
	for _, migration := range c.at.Migrations {
		if !c.recovers(system.ComponentID(system.KindDatabase, migration.Database)) {
			continue
		}
		database, err := c.at.Database(migration.Database)
		if err != nil {
			return err
		}
		var result services.MigrateResult
		if err := c.Do(ctx, run.Step{ID: "migrate/" + migration.Name, Title: "migrate " + migration.Database + " (" + migration.Name + ")", Class: run.Long},
			activities.Migrate, services.MigrateInput{Migration: migration, Database: database}, &result,
			func() string { return "took " + result.Took.String() }); err != nil {
			return err
		}
	}
	return nil
}

func (c *coordinator) recovers(componentID string) bool {
	for _, one := range c.children {
		if one.component.ID == componentID {
			return true
		}
	}
	return false
}

func states(result services.Result) string {
	told := make([]string, 0, len(result.Services))
	for _, outcome := range result.Services {
		told = append(told, outcome.Name+" "+outcome.State)
	}
	return strings.Join(told, ", ")
}

// passed tells how many checks did.
func passed(checks int) string {
	if checks == 1 {
		return "1 check passed"
	}
	return fmt.Sprintf("%d checks passed", checks)
}
