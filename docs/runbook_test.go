package docs_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

var update = flag.Bool("update", false, "write the generated parts of the documents anew")

const (
	runbook     = "RUNBOOK.md"
	beginFaults = "<!-- faults: written by `go test ./docs -update`, from internal/fault -->\n"
	endFaults   = "<!-- end of faults -->\n"
)

// faultTable lists every registered fault, those that are alike together.
func faultTable() string {
	kinds := fault.Kinds()
	slices.SortFunc(kinds, func(a, b fault.Kind) int {
		return cmp.Or(cmp.Compare(a.Definition().Exit, b.Definition().Exit), cmp.Compare(a, b))
	})
	var b strings.Builder
	b.WriteString("\n| fault | what it means | what to do | again | exit |\n| --- | --- | --- | --- | --- |\n")
	for _, kind := range kinds {
		d := kind.Definition()
		again := "no"
		if d.Retryable {
			again = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %d |\n", kind, d.Summary, d.Hint, again, d.Exit)
	}
	return b.String() + "\n"
}

func TestRunbookListsEveryFaultAsItIsRegistered(t *testing.T) {
	text, err := os.ReadFile(runbook)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), beginFaults)
	require.True(t, found, "%s has no place for the faults", runbook)
	table, after, found := strings.Cut(rest, endFaults)
	require.True(t, found, "%s has no end of the faults", runbook)
	if *update {
		require.NoError(t, os.WriteFile(runbook, []byte(before+beginFaults+faultTable()+endFaults+after), 0o644))
		return
	}
	require.Equal(t, faultTable(), table, "run: go test ./docs -update")
}

func TestRunbookAdvisesOnlyOnFaultsThatExist(t *testing.T) {
	text, err := os.ReadFile(runbook)
	require.NoError(t, err)
	_, advice, found := strings.Cut(string(text), "### Those that need a decision")
	require.True(t, found)
	known := map[string]bool{}
	for _, kind := range fault.Kinds() {
		known[string(kind)] = true
	}
	advised := 0
	for line := range strings.Lines(advice) {
		heading, is := strings.CutPrefix(line, "**")
		if !is {
			continue
		}
		names, _, _ := strings.Cut(heading, "**")
		for _, name := range strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == '.' || r == ' ' }) {
			if name[0] >= 'A' && name[0] <= 'Z' {
				require.True(t, known[name], "%s is no fault", name)
				advised++
			}
		}
	}
	require.Greater(t, advised, 10)
}
