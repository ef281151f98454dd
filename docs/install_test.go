package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const unitFile = "../contrib/systemd/lifeboat-worker.service"

// directives reads the [Service] section of the unit.
func directives(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(unitFile)
	require.NoError(t, err)
	_, service, found := strings.Cut(string(text), "\n[Service]\n")
	require.True(t, found)
	service, _, _ = strings.Cut(service, "\n[Install]\n")
	all := map[string][]string{}
	for line := range strings.Lines(service) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		require.True(t, found, line)
		all[name] = append(all[name], value)
	}
	return all
}

func TestUnitLeavesStagedServersAloneAndHidesNothingTheyNeed(t *testing.T) {
	unit := directives(t)
	for name, want := range map[string][]string{
		"KillMode":                 {"process"}, // staged servers outlive the worker
		"OOMPolicy":                {"continue"},
		"Restart":                  {"always"},
		"EnvironmentFile":          {"/etc/lifeboat/worker.env"},
		"LogsDirectory":            {"lifeboat"}, // read by worker/host.go
		"StateDirectory":           {"lifeboat"},
		"RuntimeDirectoryPreserve": {"yes"},
		"Environment":              {"HOME=%S/lifeboat", "TMPDIR=%t/lifeboat"},
		"ExecStart":                {"/usr/local/bin/lifeboat-worker --config /etc/lifeboat/lifeboat.yaml"},
	} {
		require.Equal(t, want, unit[name], name)
	}
	for _, harmful := range []string{"ReadWritePaths", "BindPaths", "PrivatePIDs", "PrivateUsers", "DynamicUser", "User"} {
		require.NotContains(t, unit, harmful)
	}
	require.Contains(t, unit["CapabilityBoundingSet"][0], "CAP_SYS_PTRACE", "the working directory of another account's process is read in /proc")
}

func TestEachRelaxationOfTheUnitHasItsReason(t *testing.T) {
	text, err := os.ReadFile(unitFile)
	require.NoError(t, err)
	_, relaxed, found := strings.Cut(string(text), "# Relaxed, each for a reason:")
	require.True(t, found)
	for name, values := range directives(t) {
		if values[0] == "no" || name == "UMask" || name == "ProtectProc" {
			require.Regexp(t, `(?m)^# - `+name+`: .{20}`, relaxed)
		}
	}
}

func TestInstallationTakesTenCommandsWithFilesThatAreThere(t *testing.T) {
	text, err := os.ReadFile("INSTALL.md")
	require.NoError(t, err)
	_, steps, found := strings.Cut(string(text), "## A worker, in ten commands\n")
	require.True(t, found)
	steps, _, _ = strings.Cut(steps, "\nIn `lifeboat.yaml`")
	commands := regexp.MustCompile(`(?m)^    \S.*$`).FindAllString(steps, -1)
	require.Len(t, commands, 10)
	for _, command := range commands {
		for _, path := range regexp.MustCompile(`(?:contrib|examples)/\S+`).FindAllString(command, -1) {
			_, err := os.Stat(filepath.Join("..", path))
			require.NoError(t, err)
		}
	}
	unit := directives(t)
	for _, installed := range []string{unit["EnvironmentFile"][0], "/etc/lifeboat/lifeboat.yaml", "/usr/local/bin/"} {
		require.Contains(t, steps, installed)
	}
}
