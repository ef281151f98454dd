package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/workflows/api"
)

func (a *app) approve() *cobra.Command {
	var destroy string
	c := &cobra.Command{
		Use:     "approve ID",
		Short:   "Let a prepared recovery touch production",
		Example: "  lifeboat approve recover/frende --yes-destroy frende",
		Args:    exactly("ID"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			if destroy == "" {
				return fault.Newf(fault.InputInvalid, "approve", args[0], "the system's name is missing").
					WithHint("name the system that may be replaced: --yes-destroy SYSTEM")
			}
			return a.update(ctx, args[0], api.UpdateApprove, api.Approval{System: destroy, By: a.who()})
		}),
	}
	c.Flags().StringVar(&destroy, "yes-destroy", "", "name of the `SYSTEM` that may be replaced")
	return a.withJSON(c)
}

func (a *app) abort() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:     "abort ID",
		Short:   "End a recovery before its cut-over, leaving the old system as it was",
		Example: `  lifeboat abort recover/frende --reason "the server came back"`,
		Args:    exactly("ID"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.update(ctx, args[0], api.UpdateAbort, api.Abort{By: a.who(), Reason: reason})
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "`TEXT` for the record: why")
	return a.withJSON(c)
}
