package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

func (a *app) cleanup() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove what unfinished backups and ended recoveries left behind",
		Long: "Remove what unfinished backups and ended recoveries left behind: their objects in the\n" +
			"store, directories and journals kept for undo past their time, directories never put in place.\n" +
			"Finished backups and WAL are never touched: see lifeboat retention.",
		Example: "  lifeboat cleanup --dry-run",
		Args:    cobra.NoArgs,
		RunE:    a.run(func(ctx context.Context, _ []string) error { return a.cleanUp(ctx, dryRun) }),
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be removed, and remove nothing")
	return a.withJSON(c)
}

func (a *app) cleanUp(ctx context.Context, dryRun bool) error {
	configured, err := a.system()
	if err != nil {
		return err
	}
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	id := api.CleanUpID(configured.Name)
	if _, err := a.start(ctx, c, id, api.CleanUp, "clean up after "+configured.Name, api.CleanUpInput{System: configured.Name, DryRun: dryRun, By: a.who()}); fault.Has(err, fault.RecoveryRunning) {
		return fault.Newf(fault.TargetBusy, "clean up", configured.Name, "%s runs", id).WithHint("see it with: lifeboat watch %s", id)
	} else if err != nil {
		return err
	}
	var result api.CleanUpResult
	if err := a.follow(ctx, c, id, &result); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(result)
	}
	removed := "removed"
	if dryRun {
		removed = "would go"
	}
	var bytes int64
	for _, one := range result.Removed {
		fmt.Fprintf(a.Stdout, "%-8s  %s %s\n          %s\n", removed, one.What, one.Subject, one.Why)
		bytes += one.Bytes
	}
	for _, one := range result.Kept {
		fmt.Fprintf(a.Stdout, "kept      %s %s\n          %s\n", one.What, one.Subject, one.Why)
	}
	for _, note := range result.Notes {
		fmt.Fprintln(a.Stdout, note)
	}
	word := "CLEANED UP"
	if dryRun {
		word = "DRY RUN, nothing was removed:"
	}
	fmt.Fprintf(a.Stdout, "%s %s: %d %s (%s in the store), %d kept\n", word, configured.Name, len(result.Removed), removed, system.Bytes(bytes).Human(), len(result.Kept))
	return nil
}
