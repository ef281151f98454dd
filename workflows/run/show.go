package run

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/workflows/api"
)

// detailsLimit is what Temporal's Web UI takes as current details, in bytes.
const detailsLimit = 20000

// Show puts the run's table into the current details that the Web UI shows.
func (r *Run) Show(ctx workflow.Context) { workflow.SetCurrentDetails(ctx, Details(r.Progress)) }

// Details is progress as a Markdown page of at most 20,000 bytes.
func Details(p api.Progress) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s** — %s\n", orElse(p.System, p.Workflow), p.Phase)
	if p.Failure != "" {
		fmt.Fprintf(&b, "\n**%s**\n", cell(p.Failure))
	}
	if p.Waiting != "" {
		fmt.Fprintf(&b, "\n%s\n", p.Waiting)
	}
	if len(p.Clocks) > 0 {
		b.WriteString("\n| objective | RTO | used | back after |\n|---|---|---|---|\n")
		for _, clock := range p.Clocks {
			name, back, used := clock.Name, "…", "…"
			if clock.Reached > 0 {
				used = fmt.Sprintf("over %d %%", clock.Reached)
			}
			if clock.Critical && clock.Name != "critical" {
				name += " (critical)"
			}
			if clock.Stopped != nil {
				took := clock.Stopped.Sub(clock.Since)
				back = took.Round(100 * time.Millisecond).String()
				if clock.Objective > 0 {
					used = fmt.Sprintf("%.1f %%", 100*took.Seconds()/clock.Objective.Std().Seconds())
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(name), clock.Objective, used, back)
		}
	}
	rows := make([]string, 0, len(p.Steps))
	for _, step := range p.Steps {
		rows = append(rows, row(p, step))
	}
	head := "\n| | at | took | of | step |\n|---|---|---|---|---|\n"
	left := detailsLimit - b.Len() - len(head) - 100
	first := len(rows)
	for first > 0 && left >= len(rows[first-1]) {
		first--
		left -= len(rows[first])
	}
	if first > 0 {
		fmt.Fprintf(&b, "\n%d earlier steps are in the history.\n", first)
	}
	if len(rows) > 0 {
		b.WriteString(head)
		b.WriteString(strings.Join(rows[first:], ""))
	}
	return b.String()
}

func row(p api.Progress, step api.Step) string {
	took := "…"
	if step.Finished != nil {
		took = step.Finished.Sub(step.Started).Round(10 * time.Millisecond).String()
	}
	since := p.Since // as the report counts, from the disaster
	if since.IsZero() {
		since = p.Started
	}
	at := step.Started.Sub(since).Round(100 * time.Millisecond)
	told := cell(step.Title)
	if step.Outcome != "" {
		told += ": *" + cell(clip(step.Outcome, 200)) + "*"
	}
	return fmt.Sprintf("| %s | +%s | %s | %s | %s |\n", mark(step.State), at, took, cell(step.Component), told)
}

func mark(state api.StepState) string {
	switch state {
	case api.StepDone:
		return "✓"
	case api.StepFailed:
		return "✗"
	case api.StepAborted:
		return "–"
	default:
		return "▶"
	}
}

// cell makes text safe inside a Markdown table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "*", "\\*", "\n", " ").Replace(text)
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
