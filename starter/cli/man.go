package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/frende/lifeboat/internal/fault"
)

// man is hidden: it is for whoever packages Lifeboat.
func (a *app) man(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write a man page for each command into a directory",
		Example: "  lifeboat man /usr/local/share/man/man1",
		Hidden:  true,
		Args:    exactly("DIR"),
		RunE: a.run(func(_ context.Context, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fault.New(fault.PathFailed, "make directory for man pages", args[0], err)
			}
			now := a.Now()
			header := &doc.GenManHeader{Section: "1", Source: "Lifeboat", Manual: "Lifeboat", Date: &now}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fault.New(fault.PathFailed, "write man pages into", args[0], err)
			}
			return nil
		}),
	}
}
