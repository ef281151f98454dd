package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// kindRun is the kind under which the ledger keeps the record of a run.
const kindRun = "run"

// reader is the ledger's writer name of this command, which never writes.
const reader = "lifeboat"

// lastRuns is how many runs are listed.
const lastRuns = 20

// reportForm is how a run is told.
type reportForm struct{ markdown, html, open bool }

func (a *app) report() *cobra.Command {
	var form reportForm
	c := &cobra.Command{
		Use:   "report [ID]",
		Short: "Tell a run that ended, from the ledger; without ID, list the last runs",
		Long: "Tell a run that ended: steps, attempts, objectives, recovery points. Without an ID,\n" +
			"list the last runs. Of several runs with one ID it is the newest; ID@RUN, as listed, is another.\n" +
			"All comes from the ledger in the store: Temporal need not be there.",
		Example: "  lifeboat report recover/frende --open\n  lifeboat report recover/frende --markdown > report.md",
		Args: func(c *cobra.Command, args []string) error {
			for flag, chosen := range map[string]bool{"html": form.html, "markdown": form.markdown} {
				if chosen && len(args) == 2 {
					return misread("--%s takes no file: it prints", flag).WithHint("send it there: lifeboat report %s --%s > %s", args[0], flag, args[1])
				}
			}
			return atMost("ID")(c, args)
		},
		RunE: a.run(func(ctx context.Context, args []string) error {
			if len(args) == 0 {
				return a.listRuns(ctx, form)
			}
			return a.tellRun(ctx, args[0], form)
		}),
	}
	c.Flags().BoolVar(&form.markdown, "markdown", false, "print Markdown")
	c.Flags().BoolVar(&form.html, "html", false, "print one HTML page that needs nothing else and can be printed")
	c.Flags().BoolVar(&form.open, "open", false, "show that page in a browser")
	a.withJSON(c)
	c.MarkFlagsMutuallyExclusive("json", "markdown", "html", "open")
	return c
}

// ledger opens the records of the configured system; Temporal is not needed to read them.
func (a *app) ledger(ctx context.Context) (*ledger.Ledger, error) {
	s, opened, err := a.storage()
	if err != nil {
		return nil, err
	}
	a.readable(s)
	return opened.Ledger(ctx, *s, reader)
}

func (a *app) tellRun(ctx context.Context, id string, form reportForm) error {
	records, err := a.ledger(ctx)
	if err != nil {
		return err
	}
	found, err := findRun(ctx, records, id)
	if fault.Has(err, fault.RunUnknown) {
		return a.unreported(id)
	}
	if err != nil {
		return err
	}
	for _, unreadable := range found.Unreadable {
		fmt.Fprintf(a.Stderr, "lifeboat: a record was stepped over, and may be a newer one of this run: %v\n", unreadable)
	}
	run := found.run
	switch {
	case a.json:
		return report.JSON(a.Stdout, &run)
	case form.markdown:
		return report.Markdown(a.Stdout, &run, a.Now())
	case form.html:
		return report.HTML(a.Stdout, &run, a.Now())
	case form.open:
		return a.openReport(ctx, &run)
	default:
		return report.Text(a.Stdout, &run, a.Now())
	}
}

// foundRun is the record of a run, and what had to be stepped over on the way to it.
type foundRun struct {
	run        report.Run
	Unreadable []error
}

// findRun gives the newest run of an ID, or of ID@RUN the one whose run ID ends in RUN.
func findRun(ctx context.Context, records *ledger.Ledger, id string) (foundRun, error) {
	newest, err := records.FindRun(ctx, kindRun, id)
	found := foundRun{Unreadable: newest.Unreadable}
	if err == nil {
		err = newest.Decode(&found.run)
	}
	return found, err
}

// shortRun is how many characters of a run ID name one of several runs.
const shortRun = 8

// unreported says why there is no report of a run, as far as that is known.
func (a *app) unreported(id string) error {
	unknown := fault.New(fault.RunUnknown, "find report of", id, nil)
	if kind := a.filesNone(id); kind != "" {
		return unknown.WithHint("a run of %s files none; see what it did with: temporal workflow show -w %s", kind, id)
	}
	return unknown.WithHint("see the last runs with: lifeboat report; one that still runs with: lifeboat watch %s", id)
}

// filesNone gives the workflow type of a run that leaves no report, "" when it may
// have left one.
func (a *app) filesNone(id string) string {
	configured, err := a.system()
	if err != nil {
		return ""
	}
	if id == api.CleanUpID(configured.Name) {
		return api.CleanUp
	}
	for _, one := range configured.Schedules {
		begun, ours := strings.CutPrefix(id, api.ScheduleID(configured.Name, one.Name)+"-")
		if _, err := time.Parse(time.RFC3339, begun); !ours || err != nil {
			continue
		}
		switch one.Workflow {
		case api.CleanUp, api.ReplicateStore, api.ReportStatus:
			return one.Workflow
		}
	}
	return ""
}

// listedRun is one line of the last runs.
type listedRun struct {
	ID        string          `json:"id"`
	RunID     string          `json:"run_id"`
	Report    string          `json:"report"` // what "lifeboat report" knows it by
	Kind      string          `json:"kind"`
	Target    string          `json:"target,omitempty"`
	Outcome   report.Outcome  `json:"outcome"`
	Started   time.Time       `json:"started"`
	Finished  time.Time       `json:"finished"`
	RTA       system.Duration `json:"rta"`                 // from the disaster, or the start, to the end
	Objective system.Duration `json:"objective,omitempty"` // RTO
	Breached  bool            `json:"breached"`
}

// listRuns lists the newest runs. A record that can't be read hides no other;
// it is the command's error when the others have been told.
func (a *app) listRuns(ctx context.Context, form reportForm) error {
	if form != (reportForm{}) {
		return fault.Newf(fault.InputInvalid, "read command line", "", "no run is named").
			WithHint("name one of the runs that are listed by: lifeboat report")
	}
	records, err := a.ledger(ctx)
	if err != nil {
		return err
	}
	runs := []listedRun{}
	newer := map[string]bool{} // IDs that a newer run has, too
	var unread error
	seen := 0
	for entry, err := range records.Newest(ctx, ledger.Filter{Kind: kindRun}) {
		var run report.Run
		if err == nil {
			err = entry.Decode(&run)
		}
		if err == nil {
			name := run.ID
			if newer[run.ID] && len(run.RunID) >= shortRun {
				name += "@" + run.RunID[len(run.RunID)-shortRun:]
			}
			newer[run.ID] = true
			runs = append(runs, listedRun{
				ID: run.ID, RunID: run.RunID, Report: name, Kind: run.Kind, Target: run.Target, Outcome: run.Outcome, Started: run.Started, Finished: run.Finished,
				RTA: system.Duration(run.RTA(run.Finished)), Objective: run.Objective, Breached: run.Breached,
			})
		} else if unread == nil {
			unread = err
		}
		if seen++; seen == lastRuns {
			break
		}
	}
	if len(runs) == 0 && unread != nil {
		return unread
	}
	// The ledger has them as they ended; a person reads when they began.
	slices.SortStableFunc(runs, func(x, y listedRun) int { return y.Started.Compare(x.Started) })
	if err := a.showRuns(runs); err != nil {
		return err
	}
	return unread
}

func (a *app) showRuns(runs []listedRun) error {
	if a.json {
		return a.printJSON(runs)
	}
	if len(runs) == 0 {
		fmt.Fprintln(a.Stdout, "no runs")
		return nil
	}
	table := a.table()
	fmt.Fprint(table, "started (UTC)\tkind\toutcome\ttook\tobjective\tID\n")
	for _, run := range runs {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n",
			run.Started.UTC().Format(time.DateTime), run.Kind, run.Outcome, brief(run.RTA.Std()), run.against(), run.Report)
	}
	return table.Flush()
}

// against says what became of the objective.
func (r listedRun) against() string {
	switch {
	case r.Objective == 0 || r.Outcome != report.Succeeded:
		return ""
	case r.Breached:
		return fmt.Sprintf("of %s: MISSED", r.Objective)
	default:
		return fmt.Sprintf("of %s: met", r.Objective)
	}
}
