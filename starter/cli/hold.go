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
	"github.com/frende/lifeboat/internal/retention"
)

// operators is the ledger's writer name of those who give their word by this command.
const operators = "operators"

func (a *app) hold() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "hold KEY",
		Short: "Keep a backup, however old it gets, until it is released",
		Long: "Keep a backup, however old it gets, with the WAL from its start on, until it is released.\n" +
			"It keeps Lifeboat from deleting; Object Lock keeps everybody.",
		Example: "  lifeboat hold database-backups/2024/01/15/frende_db_backup_20240115_020000.base --reason \"audit 2024\"",
		Args:    exactly("KEY"),
		RunE:    a.run(func(ctx context.Context, args []string) error { return a.holdBackup(ctx, args[0], reason) }),
	}
	c.Flags().StringVar(&reason, "reason", "", "`TEXT`, for whoever finds the hold in years")
	c.AddCommand(a.holdList(), a.holdRelease())
	return a.withJSON(c)
}

func (a *app) holdList() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:     "list",
		Short:   "List the holds in force, by whom and why",
		Example: "  lifeboat hold list",
		Args:    cobra.NoArgs,
		RunE:    a.run(func(ctx context.Context, _ []string) error { return a.listHolds(ctx) }),
	})
}

func (a *app) holdRelease() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:     "release KEY",
		Short:   "End all holds on a backup",
		Long:    "End all holds on a backup. It goes with the next retention when nothing else keeps it.",
		Example: "  lifeboat hold release database-backups/2024/01/15/frende_db_backup_20240115_020000.base",
		Args:    exactly("KEY"),
		RunE:    a.run(func(ctx context.Context, args []string) error { return a.releaseBackup(ctx, args[0], reason) }),
	}
	c.Flags().StringVar(&reason, "reason", "", "`TEXT`, for the record")
	return a.withJSON(c)
}

// holdBackup files the hold, and then looks whether the backup's removal has begun:
// who removes it does it the other way round, so one of the two sees the other.
func (a *app) holdBackup(ctx context.Context, key, reason string) error {
	if strings.TrimSpace(reason) == "" {
		return misread("a hold needs a reason").WithHint("as in: lifeboat hold %s --reason \"audit 2024\"", key)
	}
	configured, opened, err := a.vault(ctx)
	if err != nil {
		return err
	}
	backup, err := opened.Open(ctx, key)
	if err != nil {
		return err
	}
	key = backup.Manifest().Key
	records, err := a.assembly(configured).Ledger(ctx, *configured, operators)
	if err != nil {
		return err
	}
	entry, err := records.Append(ctx, ledger.Record{Kind: retention.KindHold, Subject: key, Body: retention.HoldBody{Reason: reason, By: a.who()}})
	if err != nil {
		return err
	}
	held, err := retention.ReadHold(entry)
	if err != nil {
		return err
	}
	marked, err := opened.Marked(ctx, key)
	if err != nil {
		return err
	}
	if marked {
		return fault.Newf(fault.RetentionRefused, "hold", key, "its removal has begun, and may go on; the hold %s is on record", held.ID).
			WithHint("see in a minute whether it is still there: lifeboat backups show %s; then the hold is in force", key)
	}
	if a.json {
		return a.printJSON(held)
	}
	fmt.Fprintf(a.Stdout, "HELD %s: %s\n", key, reason)
	return nil
}

func (a *app) listHolds(ctx context.Context) error {
	records, err := a.ledger(ctx)
	if err != nil {
		return err
	}
	holds, err := retention.Holds(ctx, records)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(holds)
	}
	if len(holds) == 0 {
		fmt.Fprintln(a.Stdout, "no holds")
		return nil
	}
	table := a.table()
	fmt.Fprint(table, "since (UTC)\tby\tbackup\treason\n")
	for _, h := range holds {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", h.At.UTC().Format(time.DateTime), h.By, h.Backup, h.Reason)
	}
	return table.Flush()
}

func (a *app) releaseBackup(ctx context.Context, key, reason string) error {
	configured, opened, err := a.storage()
	if err != nil {
		return err
	}
	records, err := opened.Ledger(ctx, *configured, operators)
	if err != nil {
		return err
	}
	key = strings.Trim(key, "/")
	holds, err := retention.Holds(ctx, records)
	if err != nil {
		return err
	}
	holds = slices.DeleteFunc(holds, func(h retention.Hold) bool { return h.Backup != key })
	if len(holds) == 0 {
		return fault.Newf(fault.NameUnknown, "release", key, "nobody holds it").WithHint("see the holds with: lifeboat hold list")
	}
	body := retention.ReleaseBody{Reason: reason, By: a.who()}
	for _, h := range holds {
		body.Holds = append(body.Holds, h.ID)
	}
	if _, err := records.Append(ctx, ledger.Record{Kind: retention.KindRelease, Subject: key, Body: body}); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(holds)
	}
	fmt.Fprintf(a.Stdout, "RELEASED %s: %s ended\n", key, counted(len(holds), "hold"))
	return nil
}
