package cli

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/wal"
	reach "github.com/frende/lifeboat/internal/window"
)

func (a *app) window() *cobra.Command {
	c := &cobra.Command{
		Use:   "database [NAME]",
		Short: "Show from when to when a database can be recovered",
		Long: "Show from when to when a database can be recovered: base backups, WAL, holes, timelines.\n" +
			"A window begins when its first backup had ended, by that host's clock, and ends before its\n" +
			"last archived transaction, by the server's. Temporal need not be there.",
		Example: "  lifeboat window database frende",
		Args:    cobra.MaximumNArgs(1),
		RunE:    a.run(a.showWindow),
	}
	return group("window", "Show how far back one can go", a.withJSON(c))
}

func (a *app) showWindow(ctx context.Context, args []string) error {
	configured, opened, err := a.vault(ctx)
	if err != nil {
		return err
	}
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	database, err := configured.Database(name)
	if err != nil {
		return err
	}
	archive, err := wal.New(wal.Config{Vault: opened, Cluster: database.Cluster, Now: a.Now})
	if err != nil {
		return err
	}
	w, err := reach.Read(ctx, reach.Config{Vault: opened, Archive: archive, Component: database.Name, Now: a.Now})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(w)
	}
	return a.printWindow(w)
}

// origin says where a timeline comes from, and since when it is there.
func origin(line wal.Line) string {
	if line.Begun.IsZero() {
		return fmt.Sprintf("timeline %d", line.Timeline)
	}
	since := "since"
	if line.Bound {
		since = "since, at the latest,"
	}
	return fmt.Sprintf("timeline %d %s %s, by way of %s", line.Timeline, since, line.Begun.UTC().Format(time.RFC3339), line.Describe())
}

// printWindow is a timeline per paragraph, in the order in which they came.
func (a *app) printWindow(w *reach.Window) error {
	fmt.Fprintf(a.Stdout, "database %s, cluster %s, on timeline %d\n", w.Database, w.SystemID, w.Timeline)
	table := a.table()
	for _, line := range w.Timelines {
		fmt.Fprintf(table, "\n%s\n", origin(line))
		for _, held := range line.Ranges {
			fmt.Fprintf(table, "  WAL\t%s to %s\tlast stored %s\n", held.Begin, held.End, held.Stored.Format(time.RFC3339))
		}
		reached := false
		for _, span := range w.Spans {
			if span.Timeline != line.Timeline {
				continue
			}
			reached = true
			fmt.Fprintf(table, "  RECOVER TO\t%s\tfrom %s\n", span.Reach(), counted(len(span.Backups), "backup"))
			if span.Missing != "" {
				fmt.Fprintf(table, "  HOLE\t%s is missing\tlater WAL needs a later backup\n", path.Base(span.Missing))
			}
		}
		if !reached {
			fmt.Fprintf(table, "  nothing\tno backup leads here\t\n")
		}
		for _, base := range slices.Backward(w.Backups) {
			if base.Timeline == line.Timeline {
				fmt.Fprintf(table, "  backup\tended %s, %s\t%s\n", base.Finished.UTC().Format(time.RFC3339), base.StopLSN, base.Key)
			}
		}
		for _, point := range w.Points {
			if point.Timeline == line.Timeline {
				fmt.Fprintf(table, "  name:%s\t%s, %s\t\n", point.Name, point.At.UTC().Format(time.RFC3339), point.LSN)
			}
		}
	}
	for _, unread := range w.Unread {
		fmt.Fprintf(table, "\nNOT USABLE\t%s\t%s\n", unread.Why, unread.Key)
	}
	return table.Flush()
}
