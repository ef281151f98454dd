package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/status"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// screen is the width that a status is made for where no terminal has another.
const screen = 80

func (a *app) status() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "status",
		Short: "Hold objectives against reality, on one screen",
		Long: "Say what could be recovered now, from the store and from its replica, each taken alone, against the\n" +
			"objectives; what is overdue; and what is wrong. It starts nothing, and needs no worker. A \"+\" behind an\n" +
			"age: at least that. Exit code 0: all is well; 1: something is late or wrong.",
		Example: "  lifeboat status",
		Args:    cobra.NoArgs,
		RunE:    a.run(func(ctx context.Context, _ []string) error { return a.tellStatus(ctx) }),
	})
}

func (a *app) tellStatus(ctx context.Context) error {
	s, err := a.system()
	if err != nil {
		return err
	}
	parts := assembly.New(assembly.Config{Env: a.Env, Memory: int64(s.Limits.Memory), Now: a.Now, Retry: impatient()})
	found := status.Look(ctx, status.Deps{Vault: parts.Vault, Ledger: parts.Ledger, Running: a.running, Now: a.Now}, *s)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if a.json {
		err = a.printJSON(found)
	} else {
		width, _ := a.Screen()
		err = showStatus(a.Stdout, found, cmp.Or(width, screen))
	}
	if err != nil || found.Late+found.Wrong == 0 {
		return err
	}
	a.told = true
	return fault.Newf(fault.CheckFailed, "hold objectives against", found.System, "%d wrong, %d overdue", found.Wrong, found.Late)
}

// running asks Temporal what goes on.
func (a *app) running(ctx context.Context, s system.System) ([]status.Run, error) {
	c, err := a.temporal(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return status.Underway(ctx, c, status.Underways{
		System: s.Name, Queue: api.Queue, Except: api.ReportStatus, Phase: api.MemoPhase, Value: a.payloads.Value,
	})
}

// showStatus writes a status for a screen of this width: the answer first, then
// the reasons for it. What has no blank, such as an ID, is never cut.
func showStatus(out io.Writer, s status.Status, width int) error {
	var b strings.Builder
	at := s.At.UTC().Format("2006-01-02 15:04 UTC")
	if line := min(width, screen); len(s.Answer)+1+len(at) <= line {
		fmt.Fprintf(&b, "%-*s %s\n\n", line-1-len(at), s.Answer, at)
	} else {
		fmt.Fprintf(&b, "%s\n%s\n\n", s.Answer, at)
	}
	if err := showComponents(&b, s.Components, width); err != nil {
		return err
	}
	b.WriteString("\n")
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s %s\n", name, folded(fmt.Sprintf(format, args...), width))
	}
	if told := proofsLine(s); told != "" {
		line("proofs", "%s", told)
	}
	line("drill", "%s", drillLine(s.Drill, s.Ledger, s.At))
	line("replica", "%s", replicaLine(s))
	if !s.Review.IsZero() {
		line("plan", "next review %s", s.Review.Format(time.DateOnly))
	}
	line("running", "%s", underway(s))
	for _, p := range s.Problems {
		b.WriteString("\n")
		line(strings.ToUpper(string(p.Kind)), "%s", p.Text)
		if p.Mend != "" {
			fmt.Fprintf(&b, "%9s%s\n", "", p.Mend)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// showComponents writes the table, narrower where the screen is.
func showComponents(out io.Writer, components []status.Component, width int) error {
	var text strings.Builder
	for _, gap := range []int{3, 2, 1} {
		text.Reset()
		if err := tableOf(&text, components, gap); err != nil {
			return err
		}
		if !slices.ContainsFunc(strings.Split(text.String(), "\n"), func(line string) bool { return utf8.RuneCountInString(line) > width }) {
			break
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func tableOf(out io.Writer, components []status.Component, gap int) error {
	table := tabwriter.NewWriter(out, 0, 0, gap, ' ', 0)
	fmt.Fprint(table, "component\tbackup\tproof\tlost now\treplica\tobjective\n")
	for _, c := range components {
		backup, proof, replica := "-", "?", "-"
		if c.Backup != nil {
			backup = status.Age(c.Backup.Age)
		}
		switch {
		case c.Backup == nil:
			proof = "-"
		case c.Proof != "":
			proof = c.Proof
		case c.Asked:
			proof = "none"
		}
		if c.Replica != nil {
			replica = lost(*c.Replica)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, backup, proof, lost(c.Bucket), replica, c.Objective)
	}
	return table.Flush()
}

// lost is how much a loss of everything but this store would cost.
func lost(p status.Point) string {
	switch p.State {
	case status.Known:
		if p.Least {
			return status.Age(p.RPO) + "+"
		}
		return status.Age(p.RPO)
	case status.None:
		return "ALL"
	case status.Broken:
		return "BROKEN"
	default:
		return "?"
	}
}

// proofsLine tells when each database was proven by a restore and dumped; "" when
// none ever was.
func proofsLine(s status.Status) string {
	var told []string
	for _, c := range s.Components {
		var parts []string
		for _, one := range []struct {
			what string
			at   time.Time
		}{{"L3", c.Proven.L3}, {"L2", c.Proven.L2}, {"dump", c.Proven.Dumped}} {
			if !one.at.IsZero() && (one.what != "L2" || c.Proven.L3.Before(one.at)) {
				parts = append(parts, one.what+" "+status.Age(system.Duration(max(0, s.At.Sub(one.at))))+" ago")
			}
		}
		if len(parts) > 0 {
			told = append(told, c.ID+": "+strings.Join(parts, ", "))
		}
	}
	return strings.Join(told, "; ")
}

// drillLine tells the last drill; copied names the store whose copy of the ledger says so.
func drillLine(d status.Drill, copied string, now time.Time) string {
	switch {
	case !d.Asked:
		return "not known: the ledger can't be read"
	case d.ID == "" && copied != "":
		return "none is on record in the copy of the ledger in " + copied + ", which may lack the newest"
	case d.ID == "":
		return "none is on record"
	}
	text := fmt.Sprintf("%s, %s ago, %s", d.At.UTC().Format(time.DateOnly), status.Age(system.Duration(now.Sub(d.At))), d.Outcome)
	if !d.Succeeded.IsZero() && !d.Succeeded.Equal(d.At) {
		text += ", the last success " + d.Succeeded.UTC().Format(time.DateOnly)
	}
	if copied != "" {
		text += ", by the copy of the ledger in " + copied + ", which may lack the newest"
	}
	return text + ": " + d.ID
}

func replicaLine(s status.Status) string {
	switch {
	case s.Replica == "":
		return "none"
	case len(s.Behind) == 0 && slices.ContainsFunc(s.Away, func(away status.Away) bool { return strings.HasPrefix(away.Source, "store") }):
		return s.Replica + "; whether it has every newest backup is not known"
	case len(s.Behind) == 0:
		return s.Replica + " has every newest backup"
	}
	return fmt.Sprintf("%s: %s not there yet: %s", s.Replica, counted(len(s.Behind), "newest backup"), strings.Join(s.Behind, ", "))
}

func underway(s status.Status) string {
	for _, away := range s.Away {
		if away.Source == status.Temporal {
			return "not known: Temporal can't be reached"
		}
	}
	var told []string
	for _, run := range s.Running {
		age := status.Age(system.Duration(s.At.Sub(run.Started)))
		if run.Phase == string(api.PhaseWaiting) { // a person is asked
			age = run.Phase + ", " + age
		}
		told = append(told, fmt.Sprintf("%s (%s)", run.ID, age))
	}
	if len(told) == 0 {
		return "nothing"
	}
	return strings.Join(told, ", ")
}

// folded breaks a text that stands behind a name where the screen ends.
func folded(text string, screen int) string {
	var b strings.Builder
	width := 0
	for word := range strings.FieldsSeq(text) {
		long := len([]rune(word))
		if width > 0 && width+1+long > screen-9 {
			b.WriteString("\n         ")
			width = 0
		}
		if width > 0 {
			b.WriteString(" ")
			width++
		}
		b.WriteString(word)
		width += long
	}
	return b.String()
}
