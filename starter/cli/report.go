package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/report"
)

// kindRun is the kind under which the ledger keeps the record of a run.
const kindRun = "run"

// reader is the ledger's writer name of this command, which never writes.
const reader = "lifeboat"

func (a *app) report() *cobra.Command {
	var markdown bool
	c := &cobra.Command{
		Use:   "report ID",
		Short: "Tell a run that ended, from the ledger",
		Long: "Tell a run that ended: steps, attempts, objectives, recovery points.\n" +
			"It comes from the ledger in the store, so Temporal need not be there.",
		Example: "  lifeboat report recover/frende --markdown > report.md",
		Args:    cobra.ExactArgs(1),
		RunE:    a.run(func(ctx context.Context, args []string) error { return a.tellRun(ctx, args[0], markdown) }),
	}
	c.Flags().BoolVar(&markdown, "markdown", false, "print Markdown")
	a.withJSON(c)
	c.MarkFlagsMutuallyExclusive("json", "markdown")
	return c
}

func (a *app) tellRun(ctx context.Context, id string, markdown bool) error {
	s, opened, err := a.storage()
	if err != nil {
		return err
	}
	records, err := opened.Ledger(ctx, *s, reader)
	if err != nil {
		return err
	}
	found, err := records.Find(ctx, kindRun, id)
	if err != nil {
		return err
	}
	for _, unreadable := range found.Unreadable {
		fmt.Fprintf(a.Stderr, "lifeboat: a record was stepped over, and may be a newer one of this run: %v\n", unreadable)
	}
	var run report.Run
	if err := found.Decode(&run); err != nil {
		return err
	}
	switch {
	case a.json:
		return report.JSON(a.Stdout, &run)
	case markdown:
		return report.Markdown(a.Stdout, &run, a.Now())
	default:
		return report.Text(a.Stdout, &run, a.Now())
	}
}
