package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/system"
)

// completionPatience is how long a person who pressed TAB waits for Temporal.
const completionPatience = time.Second

// mostRuns bounds the IDs that are offered.
const mostRuns = 50

// completion is hidden: it is needed once, and docs/INSTALL.md tells of it.
func (a *app) completion() *cobra.Command {
	return &cobra.Command{
		Use:       "completion bash|zsh|fish",
		Short:     "Print the shell's completion of this command",
		Example:   "  lifeboat completion bash > /etc/bash_completion.d/lifeboat",
		Hidden:    true,
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args:      cobra.MatchAll(exactly("SHELL"), cobra.OnlyValidArgs),
		RunE: func(c *cobra.Command, args []string) error {
			a.reached = true
			switch root := c.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.Stdout)
			default:
				return root.GenFishCompletion(a.Stdout, true)
			}
		},
	}
}

// offer gives what may stand where the cursor is.
type offer func(ctx context.Context, s *system.System) []string

// complete lets the shell complete what the configuration knows, for each
// command below c: arguments by the word that the command's use has for them,
// flags by their names. Files are offered only where one is wanted.
func (a *app) complete(c *cobra.Command) error {
	for _, member := range c.Commands() {
		if err := a.complete(member); err != nil {
			return err
		}
	}
	var errs []error
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if wanted, _ := pflag.UnquoteUsage(f); wanted == "FILE" || wanted == "PATH" || wanted == "DIR" || wanted == "" {
			return
		}
		errs = append(errs, c.RegisterFlagCompletionFunc(f.Name, a.offered(flagOffer(f.Name))))
	})
	if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 && c.Runnable() && !strings.Contains(c.Use, "PATH") && !strings.Contains(c.Use, "DIR") {
		give := a.offered(a.argumentOffer(c))
		c.ValidArgsFunction = func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return give(c, args, begun)
		}
	}
	return errors.Join(errs...)
}

// flagOffer gives what a flag of this name takes; nil is nothing that is known.
// --yes-destroy is not completed: the system's name is typed to be meant.
func flagOffer(name string) offer {
	switch name {
	case "from":
		return func(_ context.Context, s *system.System) []string {
			return namesOf(s.Stores, func(v system.Store) string { return v.Name })
		}
	case "target":
		return func(_ context.Context, s *system.System) []string {
			return namesOf(s.Targets, func(v system.Target) string { return v.Name })
		}
	case "database":
		return componentNames(system.KindDatabase)
	case "of":
		return func(_ context.Context, s *system.System) []string {
			var all []string
			for _, kind := range system.ComponentKinds() {
				all = append(all, string(kind))
			}
			return append(all, namesOf(s.Components(), func(c system.Component) string { return c.ID })...)
		}
	case "to":
		return func(context.Context, *system.System) []string { return []string{plan.Latest} }
	default:
		return nil
	}
}

// argumentOffer gives what the first argument of a command is.
func (a *app) argumentOffer(c *cobra.Command) offer {
	_, word, _ := strings.Cut(c.Use, " ")
	switch {
	case word == "ID":
		return a.runs
	case word == "[NAME]" && c.HasParent() && (c.Parent().Name() == "backup" || c.Parent().Name() == "recover" || c.Parent().Name() == "window"):
		return componentNames(system.ComponentKind(c.Name()))
	default:
		return nil
	}
}

func componentNames(kind system.ComponentKind) offer {
	return func(_ context.Context, s *system.System) []string {
		var all []string
		for _, c := range s.Components() {
			if c.Kind == kind {
				all = append(all, c.Name)
			}
		}
		return all
	}
}

func namesOf[T any](all []T, name func(T) string) []string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = name(one)
	}
	return names
}

// offered makes cobra's function of an offer. It says nothing when the
// configuration can't be read: a person is in the middle of a line.
func (a *app) offered(give offer) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if give == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		path, err := system.Find(a.config, a.Env)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		s, _, err := system.Inspect(path, a.Env)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var fitting []cobra.Completion
		for _, one := range give(c.Context(), s) {
			if strings.HasPrefix(one, begun) {
				fitting = append(fitting, one)
			}
		}
		return fitting, cobra.ShellCompDirectiveNoFileComp
	}
}

// runs lists the system's backups and recoveries, those that run first, if
// Temporal answers soon.
func (a *app) runs(ctx context.Context, s *system.System) []string {
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	c, err := a.temporal(ctx)
	if err != nil {
		return nil
	}
	defer c.Close()
	var ids []string
	seen := map[string]bool{}
	for _, state := range []string{"=", "!="} {
		page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			PageSize: mostRuns, Query: fmt.Sprintf("ExecutionStatus %s 'Running'", state),
		})
		if err != nil {
			return ids
		}
		for _, run := range page.GetExecutions() {
			id := run.GetExecution().GetWorkflowId()
			if belongs := strings.Contains(id+"/", "/"+s.Name+"/"); belongs && !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}
