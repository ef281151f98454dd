package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/archiver/ask"
	programs "github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
)

// setup is how "database setup" is asked to work, and what it prints.
type setup struct {
	apply, replace bool
	lifeboat       string
}

// setUp is what "database setup --json" prints.
type setUp struct {
	Database  string             `json:"database"`
	Server    string             `json:"server"`
	Version   int                `json:"version"` // major
	Settings  []postgres.Setting `json:"settings"`
	Door      postgres.Door      `json:"pg_hba"`
	Checksums bool               `json:"checksums"` // of pages
	Applied   bool               `json:"applied"`
	Restart   []string           `json:"restart,omitempty"` // settings that take effect with a restart, which is left to you
	Notes     []string           `json:"notes,omitempty"`
}

func (a *app) databaseSetup() *cobra.Command {
	var s setup
	c := &cobra.Command{
		Use:   "setup [NAME]",
		Short: "Check the settings that archiving and base backups need, and write them on request",
		Long: "Check the settings of a PostgreSQL server that archiving and base backups need; with --apply,\n" +
			"write them (ALTER SYSTEM, and a line of pg_hba.conf for replication) and reload. It never\n" +
			"restarts the server: it says what needs that. When one setting is refused, none is written.\n" +
			"Run it on the server's host. Exit code 1: something is to be changed, or waits for a restart.",
		Example: "  lifeboat database setup frende --apply",
		Args:    cobra.MaximumNArgs(1),
		RunE:    a.run(func(ctx context.Context, args []string) error { return a.setUpDatabase(ctx, args, s) }),
	}
	c.Flags().BoolVar(&s.apply, "apply", false, "write what has to be changed")
	c.Flags().BoolVar(&s.replace, "replace", false, "let another program that archives now make way")
	c.Flags().StringVar(&s.lifeboat, "lifeboat", "", "`PATH` of the program for archive_command (default: lifeboat-wal or this one)")
	return a.withJSON(c)
}

func (a *app) setUpDatabase(ctx context.Context, args []string, how setup) error {
	configured, err := a.system()
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
	archive, err := a.archiveCommand(configured, database, how.lifeboat)
	if err != nil {
		return err
	}
	dsn, err := a.assembly(configured).Secret(database.Connection)
	if err != nil {
		return err
	}
	login, err := postgres.NewLogin(string(dsn), postgres.LoginOptions{Host: database.Host, Port: database.Port})
	if err != nil {
		return err
	}
	server, err := postgres.Connect(ctx, login)
	if err != nil {
		return err
	}
	defer server.Close(ctx)
	facts := server.Facts()
	if here, err := postgres.HasCluster(database.DataDir); err != nil || !here || !postgres.SameDir(facts.DataDir, database.DataDir) {
		return fault.Newf(fault.ConfigInvalid, "set up", server.String(), "its data directory is %s; data_dir says %s, and what lies there on this host is another", facts.DataDir, database.DataDir).
			WithHint("run this on the server's host, where the path of lifeboat is known; correct connection or data_dir of database %s if they are wrong", database.Name)
	}
	told := setUp{Database: database.Name, Server: server.String(), Version: postgres.Major(facts.Version), Checksums: facts.Checksums, Notes: environment(configured, facts)}
	wanted := postgres.Wanted{Command: archive, RPO: database.RPO.Std(), Replace: how.replace}
	if told.Settings, err = server.Settings(ctx, wanted); err != nil {
		return err
	}
	if told.Door, err = server.Door(ctx); err != nil {
		return err
	}
	if how.apply {
		if err := server.Apply(ctx, told.Settings); err != nil {
			return err
		}
		if err := server.OpenDoor(ctx, told.Door, database.DataDir); err != nil {
			return err
		}
		told.Applied = true
	}
	told.restarts()
	a.redact(told.Settings)
	if a.json {
		err = a.printJSON(told)
	} else {
		err = a.tellSetup(told)
	}
	if err != nil {
		return err
	}
	return told.verdict()
}

// archiveCommand is archive_command as this host has it.
func (a *app) archiveCommand(s *system.System, d system.Database, program string) (string, error) {
	var err error
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return "", fault.New(fault.PathFailed, "find", "lifeboat", err)
		}
		program = ask.QuickOf(program)
	}
	path, err := system.Find(a.config, a.Env)
	if err != nil {
		return "", err
	}
	for _, one := range []*string{&program, &path} {
		if *one, err = filepath.Abs(*one); err != nil {
			return "", fault.New(fault.PathFailed, "find", *one, err)
		}
		if _, err := os.Stat(*one); err != nil {
			return "", fault.New(fault.PathFailed, "look at", *one, err)
		}
	}
	words := []string{program, "--config", path, walPush}
	if len(s.Databases) > 1 {
		words = append(words, "--database", d.Name)
	}
	for i := range words {
		words[i] = strings.ReplaceAll(shellWord(words[i]), "%", "%%")
	}
	return strings.Join(words, " ") + " %p", nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shellWord quotes a word for the shell that the server runs.
func shellWord(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// environment warns of secrets that archive_command finds only in the server's own environment.
func environment(s *system.System, f postgres.Facts) []string {
	var names []string
	for _, ref := range append(append([]system.SecretRef{}, s.Keys.Encryption...), storeSecrets(s)...) {
		if name, ok := strings.CutPrefix(string(ref), "env:"); ok {
			names = append(names, name)
		}
	}
	var notes []string
	if len(names) > 0 {
		notes = append(notes, "archive_command runs in the server's environment, which has to have "+strings.Join(names, ", ")+": name files (file:/path) that its account can read instead")
	}
	if !f.Checksums {
		notes = append(notes, "page checksums are off: pages that the disk has damaged are backed up without a word; stop the server, then: pg_checksums --enable -D "+f.DataDir)
	}
	return notes
}

func storeSecrets(s *system.System) []system.SecretRef {
	var refs []system.SecretRef
	for _, store := range s.Stores {
		refs = append(refs, store.AccessKey, store.SecretKey)
	}
	return refs
}

// restarts lists what a restart makes true.
func (t *setUp) restarts() {
	for i := range t.Settings {
		one := &t.Settings[i]
		if t.Applied && one.State == postgres.SettingChange {
			if one.State = postgres.SettingKept; one.Restart {
				one.State = postgres.SettingPending
			}
		}
		if one.State == postgres.SettingPending {
			t.Restart = append(t.Restart, one.Name)
		}
	}
	if t.Applied && t.Door.Line != "" {
		t.Door = postgres.Door{Open: true}
	}
}

// redact keeps what another program's archive_command holds from being printed.
func (a *app) redact(all []postgres.Setting) {
	for i := range all {
		if all[i].Name == "archive_command" {
			all[i].Before = a.secrets.Redact(programs.Redact(all[i].Before))
		}
	}
}

func (a *app) tellSetup(t setUp) error {
	fmt.Fprintf(a.Stdout, "database %s: %s, PostgreSQL %d\n", t.Database, t.Server, t.Version)
	table := a.table()
	for _, one := range t.Settings {
		value := one.After
		if one.Before != one.After {
			value = fmt.Sprintf("%s → %s", quoted(one.Before), quoted(one.After))
		}
		state := string(one.State)
		if one.Restart && one.State == postgres.SettingChange {
			state += ", then a restart"
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", one.Name, state, value)
		if one.Why != "" {
			fmt.Fprintf(table, "\t\t%s\n", one.Why)
		}
	}
	door := "kept\tlets base backups in"
	switch {
	case t.Door.Open:
	case t.Door.Line == "":
		door = "not known\t" + t.Door.Why
	case t.Door.Why != "":
		door = "refused\t" + t.Door.Line + "\n\t\t" + t.Door.Why
	default:
		door = "change\t" + t.Door.Line
	}
	fmt.Fprintf(table, "  pg_hba.conf\t%s\n", door)
	if err := table.Flush(); err != nil {
		return err
	}
	for _, note := range t.Notes {
		fmt.Fprintf(a.Stdout, "NOTE: %s\n", note)
	}
	if t.Applied {
		fmt.Fprintf(a.Stdout, "SET UP %s", t.Database)
		if len(t.Restart) > 0 {
			fmt.Fprintf(a.Stdout, "; restart the server, for %s", strings.Join(t.Restart, ", "))
		}
		fmt.Fprintln(a.Stdout)
	}
	return nil
}

func quoted(value string) string {
	if value == "" {
		return "''"
	}
	return value
}

// verdict is the error of a server that is not as it has to be.
func (t setUp) verdict() error {
	if t.Applied {
		return nil
	}
	change, refused := 0, 0
	for _, one := range t.Settings {
		switch one.State {
		case postgres.SettingChange:
			change++
		case postgres.SettingRefused:
			refused++
		}
	}
	switch {
	case t.Door.Open || t.Door.Line == "":
	case t.Door.Why != "":
		refused++
	default:
		change++
	}
	switch {
	case refused > 0:
		return fault.Newf(fault.CheckFailed, "look at settings of", t.Server, "%s for a person to decide, %d to be changed", counted(refused, "setting"), change).
			WithHint("each says what to do; nothing is written before")
	case change > 0:
		return fault.Newf(fault.CheckFailed, "look at settings of", t.Server, "%s to be changed", counted(change, "setting")).
			WithHint("write them with: lifeboat database setup %s --apply", t.Database)
	case len(t.Restart) > 0:
		return fault.Newf(fault.CheckFailed, "look at settings of", t.Server, "%s to take effect with a restart: %s", counted(len(t.Restart), "setting"), strings.Join(t.Restart, ", ")).
			WithHint("restart the server when it suits")
	}
	return nil
}
