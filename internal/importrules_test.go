package internal_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestForbiddenImportsAreRefused adds, one by one, imports that
// docs/ARCHITECTURE.md forbids, and sees the linter refuse each of them.
func TestForbiddenImportsAreRefused(t *testing.T) {
	linter, err := exec.LookPath("golangci-lint")
	if err != nil {
		linter = filepath.Join(os.Getenv("HOME"), "go", "bin", "golangci-lint")
	}
	require.FileExists(t, linter, "golangci-lint is missing: run make tools")
	root := filepath.Dir(filepath.Dir(here(t)))

	for name, forbidden := range map[string]struct{ dir, imported string }{
		"a workflow opens files":                           {"workflows/run", "os"},
		"a workflow opens a store":                         {"workflows/recovery", "github.com/frende/lifeboat/internal/store"},
		"the callers' package knows activities":            {"workflows/api", "github.com/frende/lifeboat/activities/records"},
		"an activity knows a workflow":                     {"activities/records", "github.com/frende/lifeboat/workflows/run"},
		"an activity knows another":                        {"activities/records", "github.com/frende/lifeboat/activities/files"},
		"a source knows the vault":                         {"internal/redis", "github.com/frende/lifeboat/internal/vault"},
		"faults know a library":                            {"internal/fault", "go.uber.org/zap"},
		"the command starts servers of the lab":            {"starter", "github.com/frende/lifeboat/internal/lab"},
		"a window knows a store":                           {"internal/window", "github.com/frende/lifeboat/internal/store"},
		"an examination starts a workflow":                 {"internal/doctor", "github.com/frende/lifeboat/workflows/api"},
		"what is called for each WAL file links a store":   {"starter/lifeboat-wal", "github.com/frende/lifeboat/internal/vault"},
		"something besides internal/command runs programs": {"internal/system", "os/exec"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			copied := t.TempDir()
			dir := filepath.Join(copied, filepath.FromSlash(forbidden.dir))
			require.NoError(t, os.MkdirAll(dir, 0o755))
			for _, file := range []string{"go.mod", ".golangci.yml"} {
				text, err := os.ReadFile(filepath.Join(root, file))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(copied, file), text, 0o644))
			}
			source := "package trespass\n\nimport _ \"" + forbidden.imported + "\"\n"
			require.NoError(t, os.WriteFile(filepath.Join(dir, "trespass.go"), []byte(source), 0o644))

			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			run := exec.CommandContext(ctx, linter, "run", "--enable-only", "depguard", "--allow-parallel-runners", "./"+forbidden.dir+"/...")
			run.Dir = copied
			run.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOLANGCI_LINT_CACHE="+t.TempDir())
			output, err := run.CombinedOutput()
			require.Error(t, err, "the linter let it pass")
			require.Contains(t, string(output), "depguard", string(output))
			require.True(t, strings.Contains(string(output), forbidden.imported), string(output))
		})
	}
}

func here(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	return filepath.Join(dir, "importrules_test.go")
}
