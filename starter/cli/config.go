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
		return a.printJSON(checked{File: path, Valid: true, System: s.Name, Components: components})
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
	return table.Flush()
}
