package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/workflows/api"
)

// undoFlags are the flags of "lifeboat recover undo".
type undoFlags struct {
	destroy string
	detach  bool
}

func (a *app) undo() *cobra.Command {
	var f undoFlags
	c := &cobra.Command{
		Use:   "undo ID",
		Short: "Put back what a recovery replaced",
		Long: "Put back what a recovery of production replaced: the directories that it kept take their place\n" +
			"again by rename, servers and services start, health is checked. What had been recovered is kept in\n" +
			"turn: an undo can be undone. Both are kept for as long as undo of the target says. What was written\n" +
			"since the recovery is not in what comes back. ID@RUN, as reports list it, is an earlier run of an ID.\n" +
			"Production is touched only after: lifeboat approve ID, or with --yes-destroy.",
		Example: "  lifeboat recover undo recover/frende/database --yes-destroy frende",
		Args:    exactly("ID"),
		RunE:    a.run(func(ctx context.Context, args []string) error { return a.makeUndo(ctx, args[0], f) }),
	}
	c.Flags().StringVar(&f.destroy, "yes-destroy", "", "name of the `SYSTEM` that may be replaced: approves at once")
	c.Flags().BoolVar(&f.detach, "detach", false, "print the run's ID and don't wait for its end")
	return a.withJSON(c)
}

func (a *app) makeUndo(ctx context.Context, of string, f undoFlags) error {
	if a.from != "" {
		return misread("--from does not go with an undo, which reads no backup").WithHint("leave it out: what comes back archives to the configured store")
	}
	configured, err := a.system()
	if err != nil {
		return err
	}
	if f.destroy != "" && f.destroy != configured.Name {
		return anotherSystem("undo", of, f.destroy, configured.Name)
	}
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	id := api.UndoID(configured.Name)
	input := api.UndoInput{System: configured.Name, ID: of, YesDestroy: f.destroy, By: a.who()}
	if _, err := a.start(ctx, c, id, api.UndoRecovery, "undo "+of, input); fault.Has(err, fault.RecoveryRunning) {
		return fault.Newf(fault.RecoveryRunning, "undo", of, "%s runs", id).WithHint("see it with: lifeboat watch %s", id)
	} else if err != nil {
		return err
	}
	if f.detach {
		return a.printID(id)
	}
	var result api.UndoResult
	if err := a.follow(ctx, c, id, &result); err != nil {
		return inTheWay(ctx, c, configured.Name, err)
	}
	if a.json {
		return a.printJSON(result)
	}
	a.say(undone(result))
	return nil
}

// undone is the last line of an undo.
func undone(r api.UndoResult) string {
	told := make([]string, 0, len(r.Components))
	for _, one := range r.Components {
		told = append(told, fmt.Sprintf("%s (what was recovered is kept as %s)", one.Component, strings.Join(one.Kept, ", ")))
	}
	text := fmt.Sprintf("UNDONE %s in %s: back as before are %s", r.Undone, brief(r.Finished.Sub(r.Started)), strings.Join(told, "; "))
	for _, note := range r.Notes {
		text += "; " + note
	}
	if r.Report != "" {
		text += "; report: lifeboat report " + r.Report
	}
	return text
}
