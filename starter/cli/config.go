package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/system"
)

// checked is what "config check --json" prints.
type checked struct {
	File       string             `json:"file"`
	Valid      bool               `json:"valid"`
	System     string             `json:"system,omitempty"`
	Components []system.Component `json:"components,omitempty"`
	Schedules  []system.Schedule  `json:"schedules,omitempty"`
	Findings   system.Findings    `json:"findings,omitempty"`
}

func (a *app) configCheck() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:     "check",
		Short:   "Say whether the configuration is valid, and all that is wrong with it",
		Example: "  lifeboat config check --config examples/frende/lifeboat.yaml",
		Args:    cobra.NoArgs,
		RunE:    a.run(a.checkConfig),
	})
}

func (a *app) configSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Long: "Print the JSON Schema of the configuration, for editors. The first line of lifeboat.yaml names it:\n\n" +
			"    # yaml-language-server: $schema=lifeboat.schema.json",
		Example: "  lifeboat config schema > lifeboat.schema.json",
		Args:    cobra.NoArgs,
		RunE: a.run(func(context.Context, []string) error {
			text, err := system.Schema()
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "%s\n", text)
			return nil
		}),
	}
}

func (a *app) checkConfig(context.Context, []string) error {
	path, err := system.Find(a.config, a.Env)
	if err != nil {
		return err
	}
	s, err := system.Load(path, a.Env)
	if err != nil {
		if findings, ok := errors.AsType[system.Findings](err); ok && a.json {
			if printErr := a.printJSON(checked{File: path, Findings: findings}); printErr != nil {
				return printErr
			}
		}
		return err
	}
	if _, err := a.openPayloads(s); err != nil { // a key that is none would stop the worker
		return err
	}
	components := s.Components()
	if a.json {
		return a.printJSON(checked{File: path, Valid: true, System: s.Name, Components: components, Schedules: s.Schedules})
	}
	fmt.Fprintf(a.Stdout, "%s is valid: %s, %s\n", path, s.Name, counted(len(components), "component"))
	table := a.table()
	for _, c := range components {
		critical := ""
		if c.Critical {
			critical = "critical"
		}
		fmt.Fprintf(table, "  %s\tRTO %s\tRPO %s\t%s\n", c.ID, c.RTO, c.RPO, critical)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return a.timetable(s)
}
