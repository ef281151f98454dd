package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/doctor"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// impatient is how a store is asked by whoever wants to know its state now.
func impatient() s3.Retry { return s3.Retry{Attempts: 2, Backoff: 50 * time.Millisecond} }

// examining is how "doctor" is asked to work.
type examining struct {
	fix, verbose bool
	only         []string
}

func (a *app) doctor() *cobra.Command {
	var e examining
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Examine everything, and say what is wrong and how to mend it",
		Long: "Examine everything a backup or a recovery needs, and say what is wrong and how to mend it.\n" +
			"Run it as the worker's user, with its environment. Exit code 0: nothing is wrong; warnings don't count.\n" +
			"Areas: " + strings.Join(areaNames()[:6], ", ") + ",\n" + strings.Join(areaNames()[6:], ", ") + ".",
		Example: "  lifeboat doctor --only stores,keys",
		Args:    cobra.NoArgs,
		RunE:    a.run(func(ctx context.Context, _ []string) error { return a.examine(ctx, e) }),
	}
	c.Flags().BoolVar(&e.fix, "fix", false, "do what is safe: modes of secret files, Temporal's retention, old probes")
	c.Flags().StringSliceVar(&e.only, "only", nil, "`AREA` to report; may be repeated")
	c.Flags().BoolVar(&e.verbose, "verbose", false, "list every check")
	return a.withJSON(c)
}

func areaNames() []string {
	var names []string
	for _, area := range doctor.Areas() {
		names = append(names, string(area))
	}
	return names
}

func (a *app) examine(ctx context.Context, e examining) error {
	var areas []doctor.Area
	for _, name := range e.only {
		if !slices.Contains(areaNames(), name) {
			return fault.Newf(fault.InputInvalid, "examine", name, "there is no such area").WithHint("areas are: %s", strings.Join(areaNames(), ", "))
		}
		areas = append(areas, doctor.Area(name))
	}
	path, err := system.Find(a.config, a.Env)
	if err != nil {
		return err
	}
	s, findings, err := system.Inspect(path, a.Env)
	if err != nil {
		return err
	}
	logging.Disable() // of the Redis client: what it would write past us is a finding
	examination := a.examination(path, s, findings)
	defer examination.Close()
	report := examination.Run(ctx, areas...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e.fix {
		examination.Fix(ctx, &report)
	}
	if a.json {
		err = a.printJSON(report)
	} else {
		err = tellExamination(a.Stdout, report, e.verbose)
	}
	if err != nil || report.Healthy() {
		return err
	}
	return unhealthy(report)
}

// unhealthy is the error of an examination that did not find all well.
func unhealthy(r doctor.Report) error {
	found := fault.Newf(fault.CheckFailed, "examine", r.System, "%s, %d not examined", counted(r.Problems, "problem"), r.Unknown)
	if r.Unknown > 0 {
		return found.WithHint("mend the problems first: what was not examined depends on them")
	}
	return found.WithHint("mend each as it says, and examine again")
}

func (a *app) examination(path string, s *system.System, findings system.Findings) *doctor.Examination {
	_, namespace, err := temporal.Where()
	if err != nil {
		namespace = "default" // that the settings can't be read is found when Temporal is asked
	}
	return doctor.New(doctor.Config{
		System: *s, Findings: findings, File: path,
		Parts:     assembly.New(assembly.Config{Env: a.Env, Memory: int64(s.Limits.Memory), Now: a.Now, Retry: impatient()}),
		Services:  service.New(service.Config{LogDir: service.LogDir()}),
		Temporal:  func(ctx context.Context) (client.Client, error) { return a.temporal(ctx) },
		Namespace: namespace, Queue: api.Queue,
		SearchAttributes: func() map[string]enums.IndexedValueType { return temporal.Keywords(api.SearchAttributes()) },
		Now:              a.Now,
	})
}

// tellExamination writes the areas first, then what is not well, the worst last:
// the end is what a terminal shows.
func tellExamination(w io.Writer, r doctor.Report, verbose bool) error {
	var b strings.Builder
	for _, area := range doctor.Areas() {
		tellArea(&b, r, area, verbose)
	}
	for _, f := range r.Findings {
		if f.Fixed != "" && f.Status == doctor.OK {
			fmt.Fprintf(&b, "\nFIXED    %s\n         %s; now: %s\n", f.ID(), f.Fixed, f.What)
		}
	}
	for _, f := range r.Of(doctor.Warning) {
		tellFinding(&b, "WARNING", f)
	}
	tellUnexamined(&b, r, verbose)
	for _, f := range r.Of(doctor.Problem) {
		tellFinding(&b, "PROBLEM", f)
	}
	fmt.Fprintf(&b, "\n%s: %d ok, %s, %s, %d not examined, in %s\n", r.System, r.OK, counted(r.Warnings, "warning"), counted(r.Problems, "problem"), r.Unknown, brief(r.Took.Std()))
	_, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}

// tellArea sums up the checks of an area that came out well, or lists them.
func tellArea(b *strings.Builder, r doctor.Report, area doctor.Area, verbose bool) {
	of := slices.DeleteFunc(slices.Clone(r.Findings), func(f doctor.Finding) bool { return f.Area != area })
	if len(of) == 0 {
		return
	}
	fine := slices.DeleteFunc(slices.Clone(of), func(f doctor.Finding) bool { return f.Status != doctor.OK })
	counts := fmt.Sprintf("%d of %s", len(fine), counted(len(of), "check"))
	if len(fine) == len(of) {
		counts = counted(len(of), "check")
	}
	fmt.Fprintf(b, "%-13s  %s ok\n", area, counts)
	if verbose {
		for _, f := range fine {
			fmt.Fprintf(b, "  %s, %s: %s\n", f.Subject, f.Check, f.What)
		}
	}
}

func tellFinding(b *strings.Builder, word string, f doctor.Finding) {
	fmt.Fprintf(b, "\n%-8s %s\n         %s\n", word, f.ID(), indented(f.What))
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(b, "   %-5s %s\n", name, indented(text))
		}
	}
	line("why", f.Why)
	line("mend", f.Mend)
	switch {
	case f.Fixed != "":
		line("fix", f.Fixed)
	case f.Fix != "":
		line("fix", "lifeboat doctor --fix would "+f.Fix)
	}
}

func indented(text string) string { return strings.ReplaceAll(text, "\n", "\n         ") }

// tellUnexamined counts, for each cause, what could not be examined.
func tellUnexamined(b *strings.Builder, r doctor.Report, verbose bool) {
	var causes []string
	by := map[string][]doctor.Finding{}
	for _, f := range r.Of(doctor.Unknown) {
		cause := f.Because
		if cause == "" {
			cause = f.What
		}
		if by[cause] == nil {
			causes = append(causes, cause)
		}
		by[cause] = append(by[cause], f)
	}
	for _, cause := range causes {
		fmt.Fprintf(b, "\nUNKNOWN  not examined because of %s: %s\n", cause, counted(len(by[cause]), "check"))
		var areas []doctor.Area
		counts := map[doctor.Area]int{}
		for _, f := range by[cause] {
			if counts[f.Area] == 0 {
				areas = append(areas, f.Area)
			}
			counts[f.Area]++
			if verbose {
				fmt.Fprintf(b, "         %s\n", f.ID())
			}
		}
		var told []string
		for _, area := range areas {
			told = append(told, fmt.Sprintf("%d of %s", counts[area], area))
		}
		if !verbose {
			fmt.Fprintf(b, "         %s\n", strings.Join(told, ", "))
		}
	}
}
