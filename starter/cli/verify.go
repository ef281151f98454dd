package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// newest stands for the newest backup where a key may be given.
const newest = "latest"

func (a *app) verify() *cobra.Command {
	var of string
	var level int
	var random, detach bool
	c := &cobra.Command{
		Use:   "verify [KEY|latest]",
		Short: "Prove a backup: read it back, restore it, compare it with its source",
		Long: "Prove a backup, production untouched, and leave nothing behind. Levels:\n" +
			"  0  every finished backup is in the listings of the store and of its replica, each object of its length\n" +
			"  1  every byte is read and authenticated\n" +
			"  2  databases: restored beside; files and every page checked; a hidden server replays the WAL\n" +
			"  3  databases: every table equals what the source held; pg_amcheck and configured SQL pass\n" +
			"Caches, files and configuration have 0, 1 and drills. A damaged backup is marked and passed over.",
		Example: "  lifeboat verify latest --of database/frende --level 3",
		Args:    atMost("KEY"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			in := api.VerifyInput{Component: of, Level: &level, Random: random}
			if len(args) > 0 && args[0] != newest {
				in.Key = strings.TrimSuffix(args[0], "/")
			}
			return a.verifyBackup(ctx, in, detach)
		}),
	}
	c.Flags().StringVar(&of, "of", "", "`COMPONENT`, such as database/frende, or a kind: database (default: all)")
	c.Flags().IntVar(&level, "level", 1, "`LEVEL` of proof, 0 to 3")
	c.Flags().BoolVar(&random, "random", false, "one before the newest backup, by chance")
	c.Flags().BoolVar(&detach, "detach", false, "print the run's ID and don't wait for its end")
	return a.withJSON(c)
}

func (a *app) verifyBackup(ctx context.Context, in api.VerifyInput, detach bool) error {
	level := *in.Level
	if level < 0 || level > 3 {
		return misread("there is no level %d", level).WithHint("give 0, 1, 2 or 3; L4 is proven by a drill: lifeboat drill run")
	}
	if level == 0 && in.Random {
		return misread("level 0 looks at every backup: --random chooses one")
	}
	if in.Key != "" && (in.Component != "" || in.Random) {
		return misread("a key names one backup: --of and --random choose one").WithHint("as in: lifeboat verify %s --level %d", in.Key, level)
	}
	of := in.Component
	if in.Key != "" {
		id, err := plan.ComponentOf(in.Key)
		if err != nil {
			return err
		}
		of = id
	}
	from := a.from
	a.from = "" // the records of the run go where they always go
	configured, err := a.system()
	if err != nil {
		return err
	}
	if err := known(configured, of); err != nil {
		return err
	}
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	id := api.VerifyID(configured.Name, of)
	in.System, in.By, in.From = configured.Name, a.who(), from
	if _, err := a.start(ctx, c, id, api.VerifyBackup, fmt.Sprintf("prove backups of %s at L%d", strings.TrimPrefix(of+" of "+configured.Name, " of "), level), in); fault.Has(err, fault.RecoveryRunning) {
		return fault.Newf(fault.TargetBusy, "verify", of, "%s runs", id).WithHint("see it with: lifeboat watch %s", id)
	} else if err != nil {
		return err
	}
	if detach {
		return a.printID(id)
	}
	var result api.VerifyResult
	if err := a.follow(ctx, c, id, &result); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(result)
	}
	return a.printVerified(result)
}

// known refuses a component that is not configured; "" is all of them.
func known(s *system.System, of string) error {
	kind, name, one := strings.Cut(of, "/")
	if of == "" || !one && system.ComponentKind(kind).Folder() != "" {
		return nil
	}
	if system.ComponentKind(kind).Folder() == "" {
		return fault.Newf(fault.InputInvalid, "verify backups of", of, "there is no such kind of component").
			WithHint("name a kind, database, cache, files or configuration, or one component: database/frende")
	}
	_, err := s.Component(system.ComponentKind(kind), name)
	return err
}

func (a *app) printVerified(result api.VerifyResult) error {
	table := a.table()
	for _, one := range result.Listed {
		fmt.Fprintf(table, "LISTED L0\t%s\tin %s\t%s\n", one.Component, one.Store, one)
	}
	for _, one := range result.Backups {
		fmt.Fprintf(table, "PROVEN %s\t%s\t%s\n", one.Level, one.Key, proven(one))
		for _, note := range one.Notes {
			fmt.Fprintf(table, "\t\t%s\n", note)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, note := range result.Notes {
		fmt.Fprintln(a.Stdout, note)
	}
	return nil
}

// proven is what was found of a backup, in one line.
func proven(one api.Verified) string {
	told := system.Bytes(one.Bytes).Human() + " authenticated"
	if one.Files > 0 {
		told += fmt.Sprintf(", %d files and %d pages checked, replayed to %s", one.Files, one.Pages, one.Point.LSN)
	}
	if one.Databases > 0 {
		told += fmt.Sprintf(", %d tables and sequences equal their source, %s looked into", one.Compared, counted(one.Databases, "database"))
	}
	return told
}
