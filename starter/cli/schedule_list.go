package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
)

func (a *app) scheduleList() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "list",
		Short: "List the schedules, their last and next runs, and what is not right with them",
		Long: "List the schedules, their last and next runs, and what is not right with them: paused,\n" +
			"edited by hand, not applied, starts that were missed or skipped. Times are UTC.",
		Example: "  lifeboat schedule list",
		Args:    cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.scheduling(ctx, func(c temporal.Client, s system.System) error {
				all, err := temporal.Schedules(ctx, c, s)
				switch {
				case err != nil:
					return err
				case a.json:
					return a.printJSON(all)
				case len(all) == 0:
					fmt.Fprintln(a.Stdout, "lifeboat.yaml has no schedules")
					return nil
				}
				return a.tellSchedules(all)
			})
		}),
	})
}

func (a *app) tellSchedules(all []temporal.Schedule) error {
	table := a.table()
	for _, one := range all {
		next := "not applied"
		switch {
		case one.Paused:
			next = "PAUSED"
		case one.Next != nil:
			next = "next " + minute(*one.Next)
		case one.Applied:
			next = "never again"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", one.Name, next, lastRun(one.Last), one.Starts)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, one := range all {
		for _, remark := range remarks(one) {
			fmt.Fprintf(a.Stdout, "%s: %s\n", one.Name, remark)
		}
	}
	return nil
}

func minute(at time.Time) string { return at.UTC().Format("2006-01-02 15:04") }

func lastRun(last *temporal.Started) string {
	switch {
	case last == nil:
		return "has not run"
	case last.Finished == nil:
		return fmt.Sprintf("last %s, %s", minute(last.Started), last.Status)
	default:
		return fmt.Sprintf("last %s, %s in %s", minute(last.Started), last.Status, brief(last.Finished.Sub(last.Started)))
	}
}

// remarks are what a person should know of a schedule, the worst first.
func remarks(one temporal.Schedule) []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	switch {
	case !one.Applied:
		add("starts nothing until: lifeboat schedule apply")
	case !one.Configured:
		add("is no longer in lifeboat.yaml; delete it with: lifeboat schedule apply")
	}
	if one.Paused {
		add("%s; start it again with: lifeboat schedule resume %s", one.Note, one.Name)
	}
	if len(one.Drift) > 0 {
		add("edited by hand: %s; put it right with: lifeboat schedule apply", strings.Join(one.Drift, "; "))
	}
	if len(one.Unapplied) > 0 {
		add("lifeboat.yaml has changed since: %s; bring it to Temporal with: lifeboat schedule apply", strings.Join(one.Unapplied, "; "))
	}
	if one.Last != nil && one.Last.Outcome != "" {
		add("%s: %s", one.Last.Status, one.Last.Outcome)
	}
	if one.Missed > 0 {
		add("%s missed since %s: Temporal was down for longer than the catch-up window", counted(one.Missed, "start"), minute(*one.Since))
	}
	if one.Skipped > 0 {
		add("%s skipped since %s: the run before still worked", counted(one.Skipped, "start"), minute(*one.Since))
	}
	if len(one.Running) > 0 {
		add("running: %s", strings.Join(one.Running, ", "))
	}
	return all
}

// timetable prints the configured schedules in words, with their next start.
func (a *app) timetable(s *system.System) error {
	table := a.table()
	for _, one := range s.Schedules {
		of := one.Of
		if of != "" {
			of = " of " + of
		}
		fmt.Fprintf(table, "  %s\t%s%s\tnext %s\t%s\n", one.Name, one.Workflow, of, minute(one.Next(a.Now())), one.Starts())
	}
	return table.Flush()
}
