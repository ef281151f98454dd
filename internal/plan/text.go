package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Text is the plan for a terminal: what is recovered, then the numbered steps by
// phase, each with the numbers of those it waits for. A "!" marks what changes
// the target as it runs now.
func (p Plan) Text() string {
	var b strings.Builder
	alone := ""
	if p.From != "" {
		alone = ", from the store " + p.From + " alone"
	}
	fmt.Fprintf(&b, "Recovery of %s to %s, to %s%s: %d steps, objective %s.\nThis is a plan: nothing has been changed.\n",
		p.System, p.Target, p.To, alone, len(p.Steps), p.Objective)
	if slices.ContainsFunc(p.Steps, func(step Step) bool { return step.Destructive }) {
		b.WriteString("A step with ! touches what runs now.\n")
	}
	b.WriteString("\n")
	var aligned strings.Builder
	table := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	for _, c := range p.Components {
		critical := ""
		if c.Critical {
			critical = "critical"
		}
		fmt.Fprintf(table, "  %s\tRTO %s\tRPO %s\t%s\n", c.ID, c.RTO, c.RPO, critical)
	}
	_ = table.Flush() // a strings.Builder never fails
	for line := range strings.Lines(aligned.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}

	number := map[string]int{}
	var phase Phase
	for i, step := range p.Steps {
		number[step.ID] = i + 1
		if step.Phase != phase {
			phase = step.Phase
			fmt.Fprintf(&b, "\n%s\n", p.heading(phase))
		}
		mark := " "
		if step.Destructive {
			mark = "!"
		}
		fmt.Fprintf(&b, "%s %3d  %s%s\n", mark, i+1, step.Title, waits(step.After, number))
	}
	return b.String()
}

func (p Plan) heading(phase Phase) string {
	waits := slices.ContainsFunc(p.Steps, func(step Step) bool { return step.ID == Approve })
	switch phase {
	case Prepare:
		return "Prepare, beside the living system"
	case Fence:
		if !waits {
			return "Verify"
		}
		return "Fence, after approval; can still be undone"
	case CutOver:
		return "Cut over, when every component is ready"
	default:
		return "After"
	}
}

func waits(after []string, number map[string]int) string {
	if len(after) == 0 {
		return ""
	}
	numbers := make([]string, len(after))
	for i, id := range after {
		numbers[i] = strconv.Itoa(number[id])
	}
	return "  (after " + strings.Join(numbers, ", ") + ")"
}
