package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// subject is what a backup or a recovery is of: the word on the command line,
// the kind of its components ("" is the whole system) and the workflow types.
type subject struct {
	word            string
	kind            system.ComponentKind
	what            string
	backup, recover string
}

func subjects() []subject {
	return []subject{
		{"system", "", "every component", api.BackupSystem, api.RecoverSystem},
		{"database", system.KindDatabase, "the databases, or one of them", api.BackupDatabase, api.RecoverDatabase},
		{"cache", system.KindCache, "the caches, or one of them", api.BackupCache, api.RecoverCache},
		{"files", system.KindFiles, "the file sets, or one of them", api.BackupFiles, api.RecoverFiles},
		{"configuration", system.KindConfiguration, "the configuration sets, or one of them", api.BackupConfiguration, api.RecoverConfiguration},
	}
}

// use gives the command's form: only a part of the system has a NAME.
func (s subject) use() (string, cobra.PositionalArgs) {
	if s.kind == "" {
		return s.word, cobra.NoArgs
	}
	return s.word + " [NAME]", atMost("NAME")
}

// component checks that the named component is configured; no name means all of the kind.
func (s subject) component(of *system.System, args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	found, err := of.Component(s.kind, args[0])
	return found.Name, err
}

func (a *app) backup() *cobra.Command {
	var members []*cobra.Command
	for _, s := range subjects() {
		var detach bool
		var asked api.BackupInput
		use, args := s.use()
		c := &cobra.Command{
			Use:     use,
			Short:   "Back up " + s.what,
			Example: "  lifeboat backup " + s.word,
			Args:    args,
			RunE:    a.run(func(ctx context.Context, args []string) error { return a.makeBackup(ctx, s, args, asked, detach) }),
		}
		if s.kind == system.KindCache {
			c.Flags().BoolVar(&asked.IfChanged, "if-changed", false, "only when something changed since the newest backup")
		}
		if s.kind == system.KindDatabase {
			c.Flags().BoolVar(&asked.Full, "full", false, "store everything, and share nothing with an earlier backup")
			c.Flags().StringVar(&asked.Format, "dump", "", "a dump, as `FORMAT` sql.gz or custom, instead of a base backup")
			c.Flags().Lookup("dump").NoOptDefVal = string(system.DumpSQL)
			c.Example += "\n  lifeboat backup database frende --dump=custom"
			c.MarkFlagsMutuallyExclusive("full", "dump")
		}
		c.Flags().BoolVar(&detach, "detach", false, "print the run's ID and don't wait for its end")
		members = append(members, a.withJSON(c))
	}
	return group("backup", "Back up a system or a part of it, now", members...)
}

func (a *app) makeBackup(ctx context.Context, s subject, args []string, input api.BackupInput, detach bool) error {
	if _, err := postgres.ParseDumpFormat(input.Format); err != nil {
		return err
	}
	configured, err := a.system()
	if err != nil {
		return err
	}
	name, err := s.component(configured, args)
	if err != nil {
		return err
	}
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	id := api.BackupID(configured.Name, string(s.kind), name, a.Now())
	workflow, verb := s.backup, "back up "
	if input.Format != "" {
		id, workflow, verb = api.DumpID(configured.Name, name, a.Now()), api.DumpDatabase, "dump "
	}
	input.System, input.Component, input.By, input.From = configured.Name, name, a.who(), a.from
	if _, err := a.start(ctx, c, id, workflow, verb+subjectName(configured.Name, s, name), input); err != nil {
		return err
	}
	if detach {
		return a.printID(id)
	}
	var result api.BackupResult
	if err := a.follow(ctx, c, id, &result); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(result)
	}
	table := a.table()
	for _, made := range result.Backups {
		fmt.Fprintf(table, "%s\t%s of %s\tproven %s\t%s\n", made.Component, system.Bytes(made.Stored).Human(), system.Bytes(made.Bytes).Human(), made.Proof, made.Key)
	}
	for _, same := range result.Unchanged {
		fmt.Fprintf(table, "%s\tnothing changed\tproven %s\t%s\n", same.Component, same.Proof, same.Key)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	a.say(backedUp(result))
	return nil
}

// backedUp is the last line of a backup.
func backedUp(r api.BackupResult) string {
	told := counted(len(r.Backups), "backup")
	if len(r.Unchanged) > 0 {
		told += fmt.Sprintf(", %d unchanged since the newest", len(r.Unchanged))
	}
	return fmt.Sprintf("BACKED UP %s in %s: %s", r.System, brief(r.Finished.Sub(r.Started)), told)
}

func subjectName(of string, s subject, name string) string {
	switch {
	case s.kind == "":
		return of
	case name == "":
		return "every " + s.word + " of " + of
	default:
		return s.word + " " + name + " of " + of
	}
}

func (a *app) printID(id string) error {
	if a.json {
		return a.printJSON(map[string]string{"id": id})
	}
	fmt.Fprintf(a.Stdout, "%s\n", id)
	return nil
}
