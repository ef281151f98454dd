package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/retention"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// vault opens the stores of the configured system; Temporal is not needed to look at backups.
func (a *app) vault(ctx context.Context) (*system.System, *vault.Vault, error) {
	s, opened, err := a.storage()
	if err != nil {
		return nil, nil, err
	}
	a.readable(s)
	v, err := opened.Vault(ctx, *s, a.fellBack)
	return s, v, err
}

// fellBack says that the replica had to give what the primary store could not.
func (a *app) fellBack(f vault.Fallback) {
	fmt.Fprintf(a.Stderr, "lifeboat: %s was read from %s: %v\n", f.Key, f.To, f.Reason)
}

// listed is one line of "backups list".
type listed struct {
	Key       string           `json:"key"`
	Component string           `json:"component"` // "database/frende"
	Kind      string           `json:"kind"`      // "base", "sql.gz", "dump", "rdb", "tree"
	At        time.Time        `json:"at"`
	Complete  bool             `json:"complete"`
	GivenUp   bool             `json:"given_up,omitempty"` // never finished, and removed by a clean-up
	Expired   bool             `json:"expired,omitempty"`  // its retention is over, and its manifest is gone
	Store     string           `json:"store"`
	Replica   vault.Copy       `json:"replica,omitempty"` // "yes": it has the manifest, too; "": not known
	Bytes     int64            `json:"bytes,omitempty"`   // at the source, as the ledger says
	Stored    int64            `json:"stored,omitempty"`  // in the store
	Proof     string           `json:"proof,omitempty"`   // the highest level on record
	Damage    string           `json:"damage,omitempty"`  // what the newest verification of its level found wrong
	Holds     []retention.Hold `json:"holds,omitempty"`

	// With --why.
	Window string `json:"window,omitempty"`    // what can be recovered to from this base backup
	Fates  []fate `json:"retention,omitempty"` // one for each store

	damagedAt bool // records before say nothing more
}

func (a *app) backupsList() *cobra.Command {
	var of string
	var why bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the backups in the store, the newest first",
		Long:    "List the backups in the store, the newest first. No backup is decrypted: sizes, proof and\nholds are what the ledger says, \"?\" where it did not within seconds. Times are UTC.\nA backup without a manifest is incomplete and can't be restored. With --why every manifest\nis opened: what can be recovered to from it, why it is kept, and until when.",
		Example: "  lifeboat backups list --of database/frende",
		Args:    cobra.NoArgs,
		RunE:    a.run(func(ctx context.Context, _ []string) error { return a.listBackups(ctx, of, why) }),
	}
	c.Flags().BoolVar(&why, "why", false, "judge each by its retention, and tell its window")
	c.Flags().StringVar(&of, "of", "", "`COMPONENT`, such as database/frende, or a kind: database")
	return a.withJSON(c)
}

func (a *app) listBackups(ctx context.Context, of string, why bool) error {
	kind, name, _ := strings.Cut(of, "/")
	filter := vault.Filter{Folder: system.ComponentKind(kind).Folder(), Component: name}
	if of != "" && filter.Folder == "" {
		return fault.Newf(fault.InputInvalid, "list backups of", of, "there is no such kind of component").
			WithHint("name a kind, database, cache, files or configuration, or one component: database/frende")
	}
	configured, opened, err := a.vault(ctx)
	if err != nil {
		return err
	}
	backups := []listed{}
	for summary, err := range opened.Backups(ctx, filter) {
		if err != nil {
			return err
		}
		backups = append(backups, listed{
			Key: summary.Key, Component: system.ComponentID(system.KindOfFolder(summary.Folder), summary.Component), Kind: summary.Kind,
			At: summary.At, Complete: summary.Complete, GivenUp: summary.GivenUp, Expired: summary.Expired, Store: summary.Store, Replica: summary.Replica,
		})
	}
	slices.SortStableFunc(backups, func(a, b listed) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Component, b.Component))
	})
	if err := a.know(ctx, configured, backups); err != nil {
		return err
	}
	if why {
		if err := a.judge(ctx, configured, opened, backups); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(backups)
	}
	if len(backups) == 0 {
		fmt.Fprintln(a.Stdout, strings.TrimSuffix("no backups of "+of, " of "))
		return nil
	}
	return a.printBackups(backups, opened.Replica() != nil)
}

// printBackups prints a line for each; what --why found stands below it.
func (a *app) printBackups(backups []listed, replicated bool) error {
	replica := func(text string) string {
		if !replicated {
			return ""
		}
		return text + "\t"
	}
	var text bytes.Buffer
	table := tabwriter.NewWriter(&trimmer{out: &text}, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "taken (UTC)\tcomponent\tkind\tsize\tstored\tproof\t%skey\n", replica("replica"))
	for _, b := range backups {
		state := ""
		switch {
		case b.Expired:
			state = "EXPIRED"
		case b.GivenUp:
			state = "GIVEN UP"
		case !b.Complete:
			state = "INCOMPLETE"
		case b.Damage != "":
			state = "DAMAGED: " + b.Damage
		case len(b.Holds) > 0:
			state = "HELD"
		}
		size, stored, proof := b.columns()
		copied := cmp.Or(string(b.Replica), "?")
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s%s\t%s\n", b.At.UTC().Format(time.DateTime), b.Component, b.Kind, size, stored, proof, replica(copied), b.Key, state)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	head, lines, _ := strings.Cut(text.String(), "\n")
	fmt.Fprintln(a.Stdout, head)
	for i, line := range strings.Split(strings.TrimSuffix(lines, "\n"), "\n") {
		fmt.Fprintln(a.Stdout, line)
		for _, told := range backups[i].below() {
			fmt.Fprintln(a.Stdout, "    "+told)
		}
	}
	return nil
}

func (a *app) backupsShow() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:     "show KEY",
		Short:   "Show what a backup holds",
		Long:    "Show what a backup holds, from its manifest, which is decrypted and authenticated.",
		Example: "  lifeboat backups show database-backups/2024/01/15/frende_db_backup_20240115_020000.base",
		Args:    exactly("KEY"),
		RunE:    a.run(func(ctx context.Context, args []string) error { return a.showBackup(ctx, args[0]) }),
	})
}

func (a *app) showBackup(ctx context.Context, key string) error {
	configured, opened, err := a.vault(ctx)
	if err != nil {
		return err
	}
	backup, err := opened.Open(ctx, strings.TrimSuffix(key, "/"))
	if err != nil {
		return err
	}
	manifest := backup.Manifest()
	if manifest.System != configured.Name {
		return fault.Newf(fault.BackupUnknown, "show backup", key, "it belongs to the system %q", manifest.System)
	}
	if a.json {
		return a.printJSON(manifest)
	}
	table := a.table()
	fmt.Fprintf(table, "backup\t%s\n", manifest.Key)
	fmt.Fprintf(table, "component\t%s\n", system.ComponentID(system.KindOfFolder(manifest.Folder), manifest.Component))
	fmt.Fprintf(table, "taken\t%s to %s (%s)\n", manifest.Started.UTC().Format(time.DateTime), manifest.Finished.UTC().Format(time.DateTime), brief(manifest.Finished.Sub(manifest.Started)))
	if from, err := takenFrom(manifest); err != nil {
		return err
	} else if from != "" {
		fmt.Fprintf(table, "from\t%s\n", from)
	}
	fmt.Fprintf(table, "size\t%s, stored as %s\n", system.Bytes(manifest.Bytes).Human(), system.Bytes(manifest.Stored).Human())
	fmt.Fprintf(table, "key\t%s\n", manifest.KeyID)
	fmt.Fprintf(table, "run\t%s\n", manifest.RunID)
	for _, stream := range manifest.Streams {
		fmt.Fprintf(table, "stream\t%s, %s\n", stream.Name, system.Bytes(stream.Bytes).Human())
	}
	if len(manifest.Facts) > 0 {
		fmt.Fprintf(table, "facts\t%s (see --json)\n", strings.Join(slices.Sorted(maps.Keys(manifest.Facts)), ", "))
	}
	return table.Flush()
}

// takenFrom says which server a base backup was copied from; "" of another backup.
func takenFrom(manifest *vault.Manifest) (string, error) {
	const name = "postgres" // of the facts of a base backup (docs/FORMAT.md, section 11)
	if _, is := manifest.Facts[name]; !is {
		return "", nil
	}
	var facts struct {
		Standby   string `json:"standby"`
		NoStandby string `json:"no_standby"`
	}
	if err := manifest.Fact(name, &facts); err != nil {
		return "", err
	}
	switch {
	case facts.Standby != "":
		return "the standby " + facts.Standby, nil
	case facts.NoStandby != "":
		return "the primary: " + facts.NoStandby, nil
	default:
		return "the primary", nil
	}
}
