package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

// reportSteps is how many steps the run has, at least, that is told.
const reportSteps = 200

// report measures what it takes to tell a large run as a page. It needs no server.
func (b *bench) report(context.Context) error {
	told, err := largeRun()
	if err != nil {
		return err
	}
	var page bytes.Buffer
	var times []time.Duration
	for range b.runs {
		page.Reset()
		began := time.Now()
		if err := report.HTML(&page, told, told.Finished); err != nil {
			return err
		}
		times = append(times, time.Since(began))
	}
	b.note("report of %d steps of %d components: %s", len(told.Steps), len(told.Points), list(times))
	b.tell(figure{name: "report_html_200_steps", value: median(times).Seconds() * 1000, unit: "ms", must: 1000, aim: 100})
	b.tell(figure{name: "report_html_200_steps_size", value: float64(page.Len()) / 1000, unit: "KB", must: 1000, aim: 300})
	return nil
}

// largeRun is the record of a recovery of many databases, with the steps that its plan has.
func largeRun() (*report.Run, error) {
	began := time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)
	objective := system.Duration(15 * time.Minute)
	s := system.System{
		Name: "fleet", Objectives: system.Objectives{RTO: system.RTO{System: system.Duration(time.Hour)}},
		Targets: []system.Target{{Name: "production", Kind: system.TargetProduction}},
	}
	var planned plan.Plan
	for n := 1; len(planned.Steps) < reportSteps; n++ {
		s.Databases = append(s.Databases, system.Database{Name: fmt.Sprintf("shard-%02d", n), Critical: true, RTO: objective, RPO: objective, DataDir: "/srv/postgres"})
		var err error
		if planned, err = plan.Recovery(s, plan.Options{}); err != nil {
			return nil, err
		}
	}
	run := &report.Run{
		System: s.Name, ID: "recover/fleet", RunID: "01a2094d-647f-7b08-95df-2cd5bb53b952", Kind: "RecoverSystem", Target: "production", By: "dba@frende.com",
		Phase: "recovered", Outcome: report.Succeeded, Disaster: began, Started: began.Add(time.Minute), Objective: planned.Objective,
	}
	took := map[string]time.Duration{}
	ends := map[string]time.Time{}
	for i, step := range planned.Steps {
		started := run.Started
		for _, before := range step.After {
			if ends[before].After(started) {
				started = ends[before]
			}
		}
		took[step.ID] = time.Duration(1+i%23) * 317 * time.Millisecond
		ends[step.ID] = started.Add(took[step.ID])
		run.Steps = append(run.Steps, report.Step{
			ID: step.ID, Component: step.Component, Title: step.Title, Phase: string(step.Phase), Outcome: report.Succeeded, Started: started, Finished: ends[step.ID],
			Attempts: 1 + i%2, Retried: "get object database-backups/2024/01/15/chunk/1/000041: store can't be reached or answers with errors",
			Bytes: int64(i) << 24, Total: int64(i) << 24, Rate: 1 << 27, Detail: "replayed to 0/8D000000 on timeline 1, last commit 2024-01-15 01:59:38.191",
		})
		if ends[step.ID].After(run.Finished) {
			run.Finished = ends[step.ID]
		}
	}
	path, length := planned.CriticalPath(took)
	run.Critical = system.Duration(length)
	onPath := map[string]bool{}
	for _, id := range path {
		onPath[id] = true
	}
	for i := range run.Steps {
		run.Steps[i].Critical = onPath[run.Steps[i].ID]
	}
	for _, c := range planned.Components {
		run.Clocks = append(run.Clocks, report.Clock{Name: c.ID, Objective: c.RTO, Since: began, Took: system.Duration(run.Finished.Sub(began))})
		run.Points = append(run.Points, report.Point{
			Component: c.ID, Kind: string(c.Kind), Backup: "database-backups/2024/01/15/" + c.Name + "_db_backup_20240115_013000.base",
			Timeline: 1, LSN: "0/8D000000", Time: began.Add(-22 * time.Second), RPA: system.Duration(22 * time.Second), Objective: c.RPO, Proof: "L1",
		})
	}
	return run, nil
}
