package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/wal"
)

func (a *app) restorePoint() *cobra.Command {
	var database string
	c := &cobra.Command{
		Use:   "restore-point NAME",
		Short: "Give the database's state now a name to recover to",
		Long: "Give the database's state now a name, to recover to it later: --to name:NAME.\n" +
			"The name is written into the WAL and, once, beside it in the store. It can be gone\n" +
			"back to when that WAL is archived: within archive_timeout, usually.",
		Example: "  lifeboat restore-point before-migration",
		Args:    cobra.ExactArgs(1),
		RunE:    a.run(func(ctx context.Context, args []string) error { return a.makeRestorePoint(ctx, args[0], database) }),
	}
	c.Flags().StringVar(&database, "database", "", "`NAME` of the database; needed when several are configured")
	return a.withJSON(c)
}

func (a *app) makeRestorePoint(ctx context.Context, name, database string) error {
	if err := plan.CheckName(name); err != nil {
		return err
	}
	configured, err := a.system()
	if err != nil {
		return err
	}
	protected, err := configured.Database(database)
	if err != nil {
		return err
	}
	parts := a.assembly(configured)
	archive, err := a.archive(ctx, configured, parts, protected.Cluster)
	if err != nil {
		return err
	}
	dsn, err := parts.Secret(protected.Connection)
	if err != nil {
		return err
	}
	login, err := postgres.NewLogin(string(dsn), postgres.LoginOptions{Host: protected.Host, Port: protected.Port})
	if err != nil {
		return err
	}
	server, err := postgres.Connect(ctx, login)
	if err != nil {
		return err
	}
	defer server.Close(ctx)
	systemID := server.Facts().SystemID
	if err := archive.CheckRestorePoint(ctx, systemID, name); err != nil {
		return err
	}
	made, err := server.CreateRestorePoint(ctx, name)
	if err != nil {
		return err
	}
	point := wal.RestorePoint{Name: name, Timeline: made.Timeline, LSN: made.LSN, At: made.At, By: a.who()}
	if err := archive.KeepRestorePoint(ctx, systemID, point); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(point)
	}
	fmt.Fprintf(a.Stdout, "restore point %s of %s: %s on timeline %d, at %s\n", name, protected.Name, point.LSN, point.Timeline, point.At.Format(time.RFC3339Nano))
	return nil
}
