package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// exactly wants one argument for each of these names.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return misread("%s needs %s", c.CommandPath(), strings.Join(names[len(args):], " and ")).WithHint("as in: %s", example(c))
		case len(args) > len(names):
			return tooMuch(c, strings.Join(names, " and "), args[len(names)])
		}
		return nil
	}
}

// atMost wants one argument of this name, or none.
func atMost(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 1 {
			return tooMuch(c, "one "+name, args[1])
		}
		return nil
	}
}

func tooMuch(c *cobra.Command, wanted, extra string) error {
	return misread("%s takes %s, and %q stands behind", c.CommandPath(), wanted, extra).WithHint("as in: %s", example(c))
}

// misread is a command line that is not understood.
func misread(format string, args ...any) *fault.Error {
	return fault.Newf(fault.InputInvalid, "read command line", "", format, args...)
}

// example is the first one of a command's help.
func example(c *cobra.Command) string {
	first, _, _ := strings.Cut(strings.TrimSpace(c.Example), "\n")
	return first
}

// group is a command that only holds others.
func group(use, short string, members ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, Example: "  lifeboat " + use + " " + members[0].Use, RunE: needsCommand}
	g.AddCommand(members...)
	g.InitDefaultHelpFlag()
	g.Flags().Lookup("help").Hidden = true // its members are what one looks for, and they have to fit a screen
	return g
}

// needsCommand refuses a group without a member: a bare "lifeboat recover" must not look like success.
func needsCommand(c *cobra.Command, _ []string) error {
	what := "what to do"
	if c.Name() == "backup" || c.Name() == "recover" {
		what = "of what"
	}
	return misread("%s needs to know %s", c.CommandPath(), what).WithHint("add one of: %s", strings.Join(commandNames(c), ", "))
}

func commandNames(c *cobra.Command) []string {
	var names []string
	for _, member := range c.Commands() {
		if member.IsAvailableCommand() {
			names = append(names, member.Name())
		}
	}
	return names
}

// unread is an error of cobra about a command line, with what was probably meant.
func unread(called *cobra.Command, err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	hint := fmt.Sprintf("see: %s --help", called.CommandPath())
	if near := meant(called, line); near != "" {
		hint = fmt.Sprintf("did you mean %s? %s", near, hint)
	}
	return misread("%s", line).WithHint("%s", hint)
}

// meant finds the command or flag that a typing error turned into one that does not exist.
func meant(called *cobra.Command, line string) string {
	var word string
	if n, _ := fmt.Sscanf(line, "unknown command %q", &word); n == 1 {
		return system.Nearest(word, commandNames(called))
	}
	if n, _ := fmt.Sscanf(line, "unknown flag: --%s", &word); n != 1 {
		return ""
	}
	var flags []string
	called.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			flags = append(flags, "--"+f.Name)
		}
	})
	return system.Nearest("--"+word, flags)
}
