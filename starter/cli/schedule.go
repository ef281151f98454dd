package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
)

func (a *app) schedule() *cobra.Command {
	return group("schedule", "Let backups, drills and reports start by themselves",
		a.scheduleApply(), a.scheduleList(), a.schedulePause(), a.scheduleResume(), a.scheduleTrigger(), a.scheduleBackfill())
}

// scheduling runs do with the configured system and a connection to Temporal.
func (a *app) scheduling(ctx context.Context, do func(c temporal.Client, s system.System) error) error {
	configured, err := a.system()
	if err != nil {
		return err
	}
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c, *configured)
}

func (a *app) scheduleApply() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "apply",
		Short: "Bring Temporal's schedules to what lifeboat.yaml says",
		Long: "Bring Temporal's schedules to what lifeboat.yaml says: create, update, delete.\n" +
			"Applying again changes nothing. A paused schedule stays paused. What was edited\nby hand is put right, and told. Schedules of others are not touched.",
		Example: "  lifeboat schedule apply --dry-run",
		Args:    cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.scheduling(ctx, func(c temporal.Client, s system.System) error {
				changes, err := temporal.Apply(ctx, c, s, dryRun)
				if a.json {
					if printErr := a.printJSON(changes); err == nil {
						err = printErr
					}
					return err
				}
				a.tellChanges(s.Name, changes, dryRun, err == nil)
				return err
			})
		}),
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, and change nothing")
	return a.withJSON(c)
}

func (a *app) tellChanges(of string, changes []temporal.Change, dryRun, all bool) {
	counts := map[temporal.Changed]int{}
	for _, change := range changes {
		counts[change.Kind]++
		paused := ""
		if change.Paused {
			paused = " (paused)"
		}
		fmt.Fprintf(a.Stdout, "%-9s  %s%s\n", change.Kind, change.Name, paused)
		for _, what := range change.Drift {
			fmt.Fprintf(a.Stdout, "           edited by hand: %s\n", what)
		}
		if len(change.Drift) == 0 {
			for _, what := range change.What {
				fmt.Fprintf(a.Stdout, "           %s\n", what)
			}
		}
	}
	if !all {
		return
	}
	var told []string
	for _, kind := range []temporal.Changed{temporal.ScheduleCreated, temporal.ScheduleUpdated, temporal.ScheduleDeleted, temporal.ScheduleUnchanged} {
		if counts[kind] > 0 {
			told = append(told, fmt.Sprintf("%d %s", counts[kind], kind))
		}
	}
	if len(told) == 0 {
		told = []string{"lifeboat.yaml has no schedules"}
	}
	word := "APPLIED"
	if dryRun {
		word = "DRY RUN, nothing was changed:"
	}
	fmt.Fprintf(a.Stdout, "%s %s: %s\n", word, of, strings.Join(told, ", "))
}

// everyOrNamed is the argument of pause and resume: one NAME or --all.
func everyOrNamed(all *bool) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if *all == (len(args) == 1) || len(args) > 1 {
			return fault.Newf(fault.InputInvalid, "read command line", "", "%s needs one NAME, or --all", c.CommandPath()).
				WithHint("see the names with: lifeboat schedule list")
		}
		return nil
	}
}

// chosen gives the names that pause and resume work on: with --all those that
// Temporal has, be they configured still or not.
func chosen(ctx context.Context, c temporal.Client, s system.System, args []string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	all, err := temporal.Schedules(ctx, c, s)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, one := range all {
		if one.Applied {
			names = append(names, one.Name)
		}
	}
	return names, nil
}

// switched is what pause and resume print as JSON.
type switched struct {
	Name   string `json:"name"`
	Paused bool   `json:"paused"`
	Note   string `json:"note"`
}

// switching pauses or resumes; on tells what is said of each.
func (a *app) switching(ctx context.Context, args []string, note string, paused bool, one func(c temporal.Client, s system.System, name string) (said string, err error)) error {
	return a.scheduling(ctx, func(c temporal.Client, s system.System) error {
		names, err := chosen(ctx, c, s, args)
		if err != nil {
			return err
		}
		done := []switched{}
		for _, name := range names {
			said, err := one(c, s, name)
			if err != nil {
				return err
			}
			done = append(done, switched{Name: name, Paused: paused, Note: note})
			if !a.json {
				fmt.Fprintf(a.Stdout, "%s: %s\n", name, said)
			}
		}
		switch {
		case a.json:
			return a.printJSON(done)
		case len(done) == 0:
			fmt.Fprintln(a.Stdout, "no schedule was applied")
		}
		return nil
	})
}

func (a *app) schedulePause() *cobra.Command {
	var all bool
	var reason string
	c := &cobra.Command{
		Use:     "pause [NAME]",
		Short:   "Keep a schedule from starting anything until it is resumed",
		Long:    "Keep a schedule from starting anything until it is resumed. What runs goes on.\nThe pause survives: lifeboat schedule apply.",
		Example: `  lifeboat schedule pause cache --reason "migration until noon"`,
		Args:    everyOrNamed(&all),
		RunE: a.run(func(ctx context.Context, args []string) error {
			note := "paused by " + a.who()
			if reason != "" {
				note += ": " + reason
			}
			return a.switching(ctx, args, note, true, func(c temporal.Client, s system.System, name string) (string, error) {
				return note, temporal.Pause(ctx, c, s, name, note)
			})
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "every schedule of the system")
	c.Flags().StringVar(&reason, "reason", "", "`TEXT` for those who wonder")
	return a.withJSON(c)
}

func (a *app) scheduleResume() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "resume [NAME]",
		Short:   "Let a paused schedule start again",
		Long:    "Let a paused schedule start again. What it did not start meanwhile is not made up for:\nsee lifeboat schedule trigger.",
		Example: "  lifeboat schedule resume --all",
		Args:    everyOrNamed(&all),
		RunE: a.run(func(ctx context.Context, args []string) error {
			note := "resumed by " + a.who()
			return a.switching(ctx, args, note, false, func(c temporal.Client, s system.System, name string) (string, error) {
				was, err := temporal.Resume(ctx, c, s, name, note)
				if !was {
					return "was not paused", err
				}
				return note, err
			})
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "every schedule of the system")
	return a.withJSON(c)
}

func (a *app) scheduleTrigger() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:     "trigger NAME",
		Short:   "Start what a schedule starts, now",
		Long:    "Start what a schedule starts, now, be it paused or not. While a run of it still works,\nthe new one starts as soon as that has ended.",
		Example: "  lifeboat schedule trigger drill",
		Args:    exactly("NAME"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.scheduling(ctx, func(c temporal.Client, s system.System) error {
				triggered, err := temporal.Trigger(ctx, c, s, args[0])
				switch {
				case err != nil:
					return err
				case a.json:
					return a.printJSON(triggered)
				case triggered.Run == nil:
					fmt.Fprintf(a.Stdout, "starts when this has ended: %s\n", strings.Join(triggered.After, ", "))
				default:
					a.warnWithoutWorker(ctx, c)
					fmt.Fprintf(a.Stdout, "started; follow it with: lifeboat watch %s\n", triggered.Run.ID)
				}
				return nil
			})
		}),
	})
}

func (a *app) scheduleBackfill() *cobra.Command {
	var from, to string
	c := &cobra.Command{
		Use:     "backfill NAME",
		Short:   "Start a run for each start that was due in a time that is past",
		Long:    "Start a run for each start that was due in a time that is past, one after the other,\nnow. A backup that is made now holds what is there now, not what was there then.",
		Example: "  lifeboat schedule backfill report-daily --from 2024-01-13T00:00:00Z --to 2024-01-15T00:00:00Z",
		Args:    exactly("NAME"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			first, err := pointInTime("--from", from)
			if err != nil {
				return err
			}
			last, err := pointInTime("--to", to)
			if err != nil {
				return err
			}
			return a.scheduling(ctx, func(c temporal.Client, s system.System) error {
				due, err := temporal.Backfill(ctx, c, s, args[0], first, last, a.Now())
				switch {
				case err != nil:
					return err
				case a.json:
					return a.printJSON(due)
				}
				a.warnWithoutWorker(ctx, c)
				for _, at := range due {
					fmt.Fprintln(a.Stdout, at.UTC().Format(time.RFC3339))
				}
				fmt.Fprintf(a.Stdout, "%s of %s, one after the other; see: lifeboat schedule list\n", counted(len(due), "run"), args[0])
				return nil
			})
		}),
	}
	c.Flags().StringVar(&from, "from", "", "first `TIME` (RFC 3339)")
	c.Flags().StringVar(&to, "to", "", "last `TIME` (RFC 3339)")
	return a.withJSON(c)
}

// pointInTime reads a flag that must be given.
func pointInTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, misread("%s is missing", flag).WithHint("give it with its time zone: %s 2024-01-15T02:10:00Z", flag)
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fault.Newf(fault.InputInvalid, "read time", text, "%s is not written as RFC 3339", flag).
			WithHint("write it with its time zone: %s 2024-01-15T02:10:00Z", flag)
	}
	return at, nil
}
