package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

func (a *app) retentionRun() *cobra.Command {
	var dryRun bool
	var atMost int
	c := &cobra.Command{
		Use:   "run",
		Short: "Remove what has outlived backup.retention, and say why the rest is kept",
		Long: "Remove finished backups and WAL that have outlived backup.retention, in the primary store\n" +
			"and then in its replica, and say why everything else is kept. Nothing goes without a backup\n" +
			"as old as the retention that is proven by a restore, nor while anything can't be read.\n" +
			"Wait for recoveries, drills and verifications that run. See one backup's case with:\n" +
			"lifeboat backups list --why",
		Example: "  lifeboat retention run --dry-run",
		Args:    cobra.NoArgs,
		RunE:    a.run(func(ctx context.Context, _ []string) error { return a.applyRetention(ctx, dryRun, atMost) }),
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would go, and remove nothing")
	c.Flags().IntVar(&atMost, "at-most", 0, "`PERCENT` of a component's backups that may go at once (default 20)")
	return a.withJSON(c)
}

func (a *app) applyRetention(ctx context.Context, dryRun bool, atMost int) error {
	configured, err := a.system()
	if err != nil {
		return err
	}
	if atMost < 0 || atMost > 100 {
		return misread("--at-most %d is no share", atMost).WithHint("give a whole number from 1 to 100")
	}
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	id := api.RetentionID(configured.Name)
	input := api.RetentionInput{System: configured.Name, DryRun: dryRun, AtMost: atMost, By: a.who()}
	if _, err := a.start(ctx, c, id, api.ApplyRetention, "apply the retention of "+configured.Name, input); fault.Has(err, fault.RecoveryRunning) {
		return fault.Newf(fault.TargetBusy, "apply retention of", configured.Name, "%s runs", id).WithHint("see it with: lifeboat watch %s", id)
	} else if err != nil {
		return err
	}
	var result api.RetentionResult
	if err := a.follow(ctx, c, id, &result); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(result)
	}
	removed, word := "removed", "RETENTION APPLIED"
	if dryRun {
		removed, word = "would go", "DRY RUN, nothing was removed:"
	}
	var backups, files, bytes int64
	for _, one := range result.Removed {
		fmt.Fprintf(a.Stdout, "%-8s  %s\n", removed, one)
		bytes += one.Bytes
		switch one.What {
		case "backup":
			backups++
		case "WAL":
			files += one.Count
		}
	}
	for _, one := range result.Kept {
		fmt.Fprintf(a.Stdout, "kept      %s\n", one)
	}
	for _, note := range result.Notes {
		fmt.Fprintln(a.Stdout, note)
	}
	fmt.Fprintf(a.Stdout, "%s %s: %d backups and %d WAL files %s (%s)\n", word, configured.Name, backups, files, removed, system.Bytes(bytes).Human())
	return nil
}
