package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// extractOptions are what both commands take.
type extractOptions struct {
	to, out, in string
	detach      bool
}

func (a *app) extract() *cobra.Command {
	return group("extract", "Take a table or a database out of a backup, beside production", a.extractTable(), a.extractDatabase())
}

func (a *app) extractTable() *cobra.Command {
	var o extractOptions
	c := &cobra.Command{
		Use:   "table DATABASE TABLE...",
		Short: "Write tables, as they were at a point, to a file",
		Long: "Write tables, as they were at a point, to a file on the worker's host that pg_restore takes, or\n" +
			"psql when it ends in .sql. The backup is restored beside production, which is not touched; a\n" +
			"hidden server replays to the point; nothing but the file, for its owner alone, is left.\n" +
			"A partitioned table comes with its partitions. Foreign keys of other tables don't come along.",
		Example: "  lifeboat extract table frende public.matches --to 2024-01-15T09:42:00Z --out matches.sql",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return nil
			}
			return exactly("DATABASE", "TABLE")(c, args)
		},
		RunE: a.run(func(ctx context.Context, args []string) error { return a.takeOut(ctx, args[0], args[1:], o) }),
	}
	return a.extractFlags(c, &o)
}

func (a *app) extractDatabase() *cobra.Command {
	var o extractOptions
	c := &cobra.Command{
		Use:   "database DATABASE",
		Short: "Write a database, as it was at a point, to a file",
		Long: "Write a database, as it was at a point, to a file on the worker's host that pg_restore takes, or\n" +
			"psql when it ends in .sql. Production is not touched. Roles and tablespaces are the cluster's and\n" +
			"don't come along.",
		Example: "  lifeboat extract database frende --to latest --out frende.dump",
		Args:    exactly("DATABASE"),
		RunE:    a.run(func(ctx context.Context, args []string) error { return a.takeOut(ctx, args[0], nil, o) }),
	}
	return a.extractFlags(c, &o)
}

func (a *app) extractFlags(c *cobra.Command, o *extractOptions) *cobra.Command {
	c.Flags().StringVar(&o.to, "to", newest, "`POINT`: a time with its offset, lsn:POSITION, name:NAME, backup:KEY")
	c.Flags().StringVar(&o.out, "out", "", "`FILE` to write, on the worker's host; must not exist")
	c.Flags().StringVar(&o.in, "in", "", "`NAME` of a database inside the cluster (default: the configured one)")
	c.Flags().BoolVar(&o.detach, "detach", false, "print the run's ID and don't wait for its end")
	return a.withJSON(c)
}

func (a *app) takeOut(ctx context.Context, name string, tables []string, o extractOptions) error {
	if o.out == "" {
		return misread("a file to write is missing").WithHint("name one on the worker's host: --out %s.dump", name)
	}
	if _, err := plan.ParsePoint(o.to); err != nil {
		return err
	}
	out, err := filepath.Abs(o.out)
	if err != nil {
		return fault.New(fault.PathFailed, "resolve", o.out, err)
	}
	from := a.from
	a.from = "" // the records of the run go where they always go
	configured, err := a.system()
	if err != nil {
		return err
	}
	database, err := configured.Database(name)
	if err != nil {
		return err
	}
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	id := api.ExtractID(configured.Name, database.Name, a.Now())
	input := api.ExtractInput{
		System: configured.Name, Component: database.Name, Database: o.in, Tables: tables, To: o.to, File: out, By: a.who(), From: from,
	}
	if _, err := a.start(ctx, c, id, api.ExtractDatabase, "take out of "+database.Name+" of "+configured.Name, input); err != nil {
		return err
	}
	if o.detach {
		return a.printID(id)
	}
	var result api.ExtractResult
	if err := a.follow(ctx, c, id, &result); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(result)
	}
	return a.printExtracted(result)
}

func (a *app) printExtracted(result api.ExtractResult) error {
	table := a.table()
	for _, one := range result.Tables {
		rows := "not counted"
		if one.Rows >= 0 {
			rows = fmt.Sprintf("%d rows", one.Rows)
		}
		fmt.Fprintf(table, "%s\t%s\n", one.Name, rows)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	with := "pg_restore --dbname NAME " + result.File
	if result.Plain {
		with = "psql --set ON_ERROR_STOP=1 --single-transaction --dbname NAME --file " + result.File
	}
	fmt.Fprintf(a.Stdout, "EXTRACTED %s of %s, as it was at %s (%s), to %s (%s); restore it with: %s\n", result.Database, result.Component,
		result.Point.LSN, result.Point.To.UTC().Format(time.RFC3339), result.File, system.Bytes(result.Bytes).Human(), with)
	return nil
}
