package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// recoverFlags are the flags of "lifeboat recover".
type recoverFlags struct {
	to                     []string
	target, destroy, since string
	dryRun, detach         bool
	toDir                  string // databases
	delta                  bool
}

func (a *app) recover() *cobra.Command {
	var members []*cobra.Command
	for _, s := range subjects() {
		var f recoverFlags
		use, args := s.use()
		c := &cobra.Command{
			Use:   use,
			Short: "Recover " + s.what,
			Long: "Recover " + s.what + ": restore beside the living system, prove, then cut over.\n" +
				"Production is touched only after: lifeboat approve ID, or with --yes-destroy.",
			Example: "  lifeboat recover " + s.word + " --dry-run --to 2024-01-15T09:42:00Z\n" +
				"  lifeboat recover " + s.word + " --since 2024-01-15T02:10:00Z --yes-destroy frende",
			Args: args,
			RunE: a.run(func(ctx context.Context, args []string) error {
				if f.delta && f.toDir == "" {
					return misread("--delta needs --to-dir").WithHint("name the directory of the older copy: --to-dir /var/tmp/frende --delta")
				}
				if f.toDir != "" {
					return a.makeCopy(ctx, args, f)
				}
				return a.makeRecovery(ctx, s, args, f)
			}),
		}
		if s.kind == system.KindDatabase {
			c.Long += "\nWith --to-dir nothing of production is touched: the database is restored to a directory of the worker's\n" +
				"host that is missing or empty, replayed, shut down and made durable, for you to start with pg_ctl. With\n" +
				"--delta it may hold an older copy, shut down: what is equal there by content is taken over, the older\n" +
				"copy is replaced, with all that was added to it, and can be spent when the run fails (see RUNBOOK)."
			c.Example += "\n  lifeboat recover database frende --to 2024-01-15T09:42:00Z --to-dir /var/tmp/frende"
			c.Flags().BoolVar(&f.delta, "delta", false, "with --to-dir: DIR holds an older copy; take over what has not changed, and replace it")
			c.Flags().StringVar(&f.toDir, "to-dir", "", "`DIR` on the worker's host to restore to, instead of production")
		}
		c.Flags().StringArrayVar(&f.to, "to", nil, "`POINT`: latest (default), RFC 3339 time, lsn:X/Y, name:NAME, backup:KEY")
		c.Flags().StringVar(&f.target, "target", "", "`NAME` of a target (default: production)")
		c.Flags().BoolVar(&f.dryRun, "dry-run", false, "print the plan and change nothing")
		c.Flags().StringVar(&f.destroy, "yes-destroy", "", "name of the `SYSTEM` that may be replaced: approves at once")
		c.Flags().StringVar(&f.since, "since", "", "`TIME` of the disaster (RFC 3339); RTA and RPA count from it")
		c.Flags().BoolVar(&f.detach, "detach", false, "print the run's ID and don't wait for its end")
		members = append(members, a.withJSON(c))
	}
	members = append(members, a.undo())
	return group("recover", "Recover a system or a part of it from its backups", members...)
}

func (a *app) makeRecovery(ctx context.Context, s subject, args []string, f recoverFlags) error {
	configured, err := a.system()
	if err != nil {
		return err
	}
	name, err := s.component(configured, args)
	if err != nil {
		return err
	}
	since, err := a.disaster(f.since)
	if err != nil {
		return err
	}
	if f.destroy != "" && f.destroy != configured.Name {
		return anotherSystem("recover", configured.Name, f.destroy, configured.Name)
	}
	to, backups, err := a.points(f.to)
	if err != nil {
		return err
	}
	options := plan.Options{Components: s.ids(configured, name), Target: f.target, To: to, Backups: backups}
	planned, err := plan.Recovery(*configured, options)
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.foresee(ctx, configured, options, planned)
	}
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	// Without the name: that ID belongs to the component's own recovery, which this one starts.
	id := api.RecoveryID(configured.Name, planned.Target, string(s.kind))
	input := api.RecoverInput{
		System: configured.Name, Component: name, To: to, Backups: backups, Target: f.target, Since: since, YesDestroy: f.destroy, By: a.who(), From: a.from,
	}
	if _, err := a.start(ctx, c, id, s.recover, "recover "+subjectName(configured.Name, s, name)+" to "+planned.Target, input); err != nil {
		return err
	}
	if f.detach {
		return a.printID(id)
	}
	var result api.RecoverResult
	if err := a.follow(ctx, c, id, &result); err != nil {
		return inTheWay(ctx, c, configured.Name, err)
	}
	if a.json {
		return a.printJSON(result)
	}
	a.say(recovered(result))
	return nil
}

// points reads --to, which may be given once for each component: the point, or
// else the first backup that is named, and the keys of the other backups.
func (a *app) points(given []string) (to string, backups []string, err error) {
	point, first := "", ""
	for _, one := range given {
		parsed, err := plan.ParsePoint(one)
		switch {
		case err != nil:
			return "", nil, err
		case parsed.Newest():
		case parsed.Backup != "":
			if first == "" {
				first = one
			}
			backups = append(backups, parsed.Backup)
		case point != "":
			return "", nil, fault.Newf(fault.InputInvalid, "read recovery point", one, "the recovery goes to %s already", point).
				WithHint("give one time, lsn: or name:, and besides it backup:KEY once for each component")
		case parsed.Time.After(a.Now()):
			return "", nil, fault.Newf(fault.InputInvalid, "read recovery point", one, "it lies in the future").
				WithHint("check the offset; it is now %s", a.Now().UTC().Format(time.RFC3339))
		default:
			point = one
		}
	}
	switch {
	case point != "":
		return point, backups, nil
	case first != "":
		return first, backups[1:], nil
	}
	return plan.Latest, nil, nil
}

// ids gives the components that are recovered; nil means all.
func (s subject) ids(of *system.System, name string) []string {
	if s.kind == "" {
		return nil
	}
	ids := []string{}
	for _, c := range of.Components() {
		if c.Kind == s.kind && (name == "" || c.Name == name) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// disaster reads --since.
func (a *app) disaster(text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	since, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fault.Newf(fault.InputInvalid, "read time of the disaster", text, "it is not written as RFC 3339").
			WithHint("write it with its time zone: 2024-01-15T02:10:00Z")
	}
	if since.After(a.Now()) {
		return nil, fault.Newf(fault.InputInvalid, "read time of the disaster", text, "it lies in the future").
			WithHint("check the time zone; it is now %s", a.Now().UTC().Format(time.RFC3339))
	}
	since = since.UTC()
	return &since, nil
}

// recovered is the last line of a recovery.
func recovered(r api.RecoverResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "RECOVERED %s in %s (objective %s", r.System, brief(r.RTA.Std()), r.Objective)
	if !r.Met {
		b.WriteString(", missed")
	}
	b.WriteString(")")
	if len(r.Components) > 0 {
		b.WriteString(": " + losses(r.Components))
	}
	if r.Report != "" {
		fmt.Fprintf(&b, "; report: lifeboat report %s", r.Report)
	}
	return b.String()
}

// losses tells how much each component lost at most: what came back holds all
// that was written before its recovery point, and nobody may have written since.
func losses(components []api.ComponentOutcome) string {
	told := make([]string, 0, len(components))
	for _, c := range components {
		told = append(told, brief(c.RPA.Std())+" of "+c.Component)
	}
	return "lost at most (RPA) " + strings.Join(told, ", ")
}
