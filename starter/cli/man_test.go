package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// commands lists c and all that is below it, but cobra's own.
func commands(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, member := range c.Commands() {
		if member.Name() != "no-help" {
			all = append(all, commands(member)...)
		}
	}
	return all
}

func TestEachCommandSaysWhatItDoesWithAnExampleAndAManPage(t *testing.T) {
	dir := t.TempDir()
	a := &app{Process: Process{Args: []string{"man", dir}, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now, Env: os.LookupEnv}}
	require.NoError(t, a.execute(t.Context()))
	pages := 0
	for _, c := range commands(a.root()) {
		require.NotEmpty(t, c.Short, c.CommandPath())
		require.True(t, strings.HasPrefix(c.Example, "  "), "%s needs an example, indented by two spaces", c.CommandPath())
		if c.Hidden {
			continue
		}
		pages++
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		require.NoError(t, err)
		sections := strings.Split(string(page), "\n.SH ")[1:]
		require.GreaterOrEqual(t, len(sections), 5, c.CommandPath())
		for _, section := range sections {
			name, body, _ := strings.Cut(section, "\n")
			body = strings.NewReplacer(".PP", "", ".EX", "", ".EE", "", ".RS", "", ".RE", "").Replace(body)
			require.NotEmpty(t, strings.TrimSpace(body), "section %s of %s is empty", name, c.CommandPath())
		}
	}
	written, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, written, pages)
	require.Greater(t, pages, 20)
}

func TestManPagesThatCannotBeWrittenAreNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	a := &app{Process: Process{Args: []string{"man", filepath.Join(file, "man1")}, Now: time.Now, Env: os.LookupEnv}}
	require.ErrorContains(t, a.execute(t.Context()), "make directory for man pages "+file)
}
