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

func (a *app) drill() *cobra.Command {
	return group("drill", "Rehearse a recovery in a sandbox, beside production", a.drillRun(), a.drillList(), a.drillShow())
}

func (a *app) drillRun() *cobra.Command {
	var target string
	var detach bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Recover the system into a sandbox, and compare",
		Long: "Recover the system into a sandbox from the second region alone, compare it with production,\n" +
			"ask the application there what its checks ask, and leave nothing behind. Production goes on.",
		Example: "  lifeboat drill run",
		Args:    cobra.NoArgs,
		RunE:    a.run(func(ctx context.Context, _ []string) error { return a.runDrill(ctx, target, detach) }),
	}
	c.Flags().StringVar(&target, "target", "", "`NAME` of a sandbox (default: the only one)")
	c.Flags().BoolVar(&detach, "detach", false, "print the run's ID and don't wait for its end")
	return a.withJSON(c)
}

func (a *app) runDrill(ctx context.Context, target string, detach bool) error {
	from := a.from
	a.from = "" // the drill reads that store; its records go where they always go
	configured, err := a.system()
	if err != nil {
		return err
	}
	if _, err := configured.Sandbox(target); err != nil {
		return err
	}
	if from != "" {
		if _, err := configured.StoreNamed(from); err != nil {
			return err
		}
	}
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	id := api.DrillID(configured.Name, a.Now())
	input := api.DrillInput{System: configured.Name, Target: target, From: from, By: a.who()}
	if _, err := a.start(ctx, c, id, api.DrillSystem, "rehearse the recovery of "+configured.Name, input); err != nil {
		return err
	}
	if detach {
		return a.printID(id)
	}
	var result api.DrillResult
	if err := a.follow(ctx, c, id, &result); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(result)
	}
	for _, note := range result.Notes {
		fmt.Fprintln(a.Stdout, note)
	}
	a.say(rehearsed(result))
	return nil
}

// rehearsed is the last line of a drill.
func rehearsed(r api.DrillResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "REHEARSED %s in %s (objective %s", r.System, brief(r.RTA.Std()), r.Objective)
	if !r.Met {
		b.WriteString(", missed")
	}
	fmt.Fprintf(&b, ") from %s alone", r.From)
	for i, c := range r.Components {
		if i == 0 {
			b.WriteString(", RPA at most")
		} else {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %s of %s", brief(c.RPA.Std()), c.Component)
	}
	fmt.Fprintf(&b, "; %d tables and sequences equal production's; production untouched, nothing left behind; report: lifeboat report %s", r.Compared, r.Report)
	return b.String()
}

// drilled is one line of "drill list".
type drilled struct {
	ID       string          `json:"id"`
	RunID    string          `json:"run_id"`
	Started  time.Time       `json:"started"`
	Outcome  report.Outcome  `json:"outcome"`
	RTA      system.Duration `json:"rta,omitempty"`
	Met      bool            `json:"met"`
	By       string          `json:"by,omitempty"`
	Failures []string        `json:"failures,omitempty"`
}

func (a *app) drillList() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:     "list",
		Short:   "List the drills on the ledger, the newest first",
		Example: "  lifeboat drill list",
		Args:    cobra.NoArgs,
		RunE:    a.run(func(ctx context.Context, _ []string) error { return a.listDrills(ctx) }),
	})
}

func (a *app) listDrills(ctx context.Context) error {
	drills, err := a.drills(ctx)
	if err != nil {
		return err
	}
	lines := make([]drilled, 0, len(drills))
	for _, run := range drills {
		line := drilled{ID: run.ID, RunID: run.RunID, Started: run.Started, Outcome: run.Outcome, By: run.By}
		for _, clock := range run.Clocks {
			line.RTA, line.Met = clock.Took, !clock.Breached
		}
		for _, failure := range run.Failures {
			line.Failures = append(line.Failures, failure.Message)
		}
		lines = append(lines, line)
	}
	if a.json {
		return a.printJSON(lines)
	}
	if len(lines) == 0 {
		fmt.Fprintln(a.Stdout, "no drill was run yet: lifeboat drill run")
		return nil
	}
	table := a.table()
	fmt.Fprint(table, "started (UTC)\tID\toutcome\tachieved\tfailures\n")
	for _, line := range lines {
		achieved := ""
		if line.RTA > 0 {
			achieved = "RTA " + brief(line.RTA.Std())
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", line.Started.UTC().Format(time.DateTime), line.ID, line.Outcome, achieved, strings.Join(line.Failures, "; "))
	}
	return table.Flush()
}

// drills reads the records of drills, the newest first.
func (a *app) drills(ctx context.Context) ([]report.Run, error) {
	records, err := a.ledger(ctx)
	if err != nil {
		return nil, err
	}
	var drills []report.Run
	for entry, err := range records.Read(ctx, ledger.Filter{Kind: kindRun}) {
		if err != nil {
			return nil, err
		}
		var run report.Run
		if err := entry.Decode(&run); err != nil {
			return nil, err
		}
		if run.Kind == api.DrillSystem {
			drills = append(drills, run)
		}
	}
	slices.SortFunc(drills, func(x, y report.Run) int { return y.Started.Compare(x.Started) })
	return drills, nil
}

func (a *app) drillShow() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:     "show [ID]",
		Short:   "Tell a drill, from the ledger (default: the newest)",
		Example: "  lifeboat drill show drill/frende/2024-Q1",
		Args:    atMost("ID"),
		RunE:    a.run(a.showDrill),
	})
}

func (a *app) showDrill(ctx context.Context, args []string) error {
	if len(args) == 1 {
		return a.tellRun(ctx, args[0], reportForm{})
	}
	drills, err := a.drills(ctx)
	if err != nil {
		return err
	}
	if len(drills) == 0 {
		return fault.Newf(fault.RunUnknown, "show drill", "", "none was run yet").WithHint("run one: lifeboat drill run")
	}
	if a.json {
		return report.JSON(a.Stdout, &drills[0])
	}
	return report.Text(a.Stdout, &drills[0], a.Now())
}
