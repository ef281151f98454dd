package docs_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/system"
)

// compose reads docker-compose.yml as Docker Compose does: its schema holds, and
// every variable comes from .env.example, where it has no value.
func compose(t *testing.T) *types.Project {
	t.Helper()
	example, err := os.ReadFile("../.env.example")
	require.NoError(t, err)
	var env []string
	for _, name := range regexp.MustCompile(`(?m)^([A-Z0-9_]+)=$`).FindAllStringSubmatch(string(example), -1) {
		env = append(env, name[1]+"=secret-of-"+name[1])
	}
	options, err := cli.NewProjectOptions([]string{"../docker-compose.yml"}, cli.WithEnv(env))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

func TestComposeFileHoldsEveryServiceAndPublishesOnLoopbackAlone(t *testing.T) {
	c := compose(t)
	require.ElementsMatch(t, []string{"temporal", "s3", "s3-replica", "buckets", "processes", "postgres", "redis", "worker"}, c.ServiceNames())
	for name, service := range c.Services {
		require.NotEmpty(t, service.Image, name)
		for _, port := range service.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, "%s publishes %s", name, port.Published)
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeVolume {
				require.Contains(t, c.Volumes, volume.Source, name)
			}
		}
		if name == "buckets" || name == "processes" { // one ends, one only waits
			continue
		}
		require.NotNil(t, service.HealthCheck, name)
		require.NotEmpty(t, service.HealthCheck.Test, name)
		require.Equal(t, "unless-stopped", service.Restart, name)
	}
	ui := c.Services["temporal"].Ports[1]
	require.Equal(t, "8233", ui.Published, "the Web UI")
	require.Contains(t, c.Services["postgres"].Command[2], "archive_command = 'lifeboat-wal wal-push %p'")
}

func TestTheWorkerSeesTheServersProcessesAndOutlivesThem(t *testing.T) {
	c := compose(t)
	for _, name := range []string{"worker", "postgres"} {
		require.Equal(t, "service:processes", c.Services[name].Pid, name)
	}
	require.Empty(t, c.Services["processes"].Pid, "it makes the namespace")
	require.Contains(t, c.Services["worker"].CapAdd, "SYS_PTRACE")
}

func TestOnlyTheWorkerIsPrivileged(t *testing.T) {
	c := compose(t)
	text, err := os.ReadFile("../worker/Dockerfile")
	require.NoError(t, err)
	for name, service := range c.Services {
		if name == "worker" {
			continue
		}
		require.Equal(t, []string{"ALL"}, service.CapDrop, name)
		require.Equal(t, []string{"no-new-privileges:true"}, service.SecurityOpt, name)
		if service.User == "" { // then the image says who
			target := regexp.MustCompile(`^lifeboat-(\S+):dev$`).FindStringSubmatch(service.Image)
			require.Len(t, target, 2, name)
			_, stage, _ := strings.Cut(string(text), " AS "+target[1]+"\n")
			stage, _, _ = strings.Cut(stage, "\nFROM ")
			require.Regexp(t, `(?m)^USER [a-z]`, stage, name)
		}
	}
}

func TestNothingStartsBeforeTheBucketsAreThere(t *testing.T) {
	c := compose(t)
	for _, region := range []string{"s3", "s3-replica"} {
		require.Equal(t, types.ServiceConditionHealthy, c.Services["buckets"].DependsOn[region].Condition)
		require.Contains(t, c.Services["buckets"].Command[2], "\nmake "+region+" ")
	}
	require.Equal(t, types.ServiceConditionCompletedSuccessfully, c.Services["worker"].DependsOn["buckets"].Condition)
	require.Contains(t, c.Services["postgres"].DependsOn, "worker", "which archives from its first segment on")
}

// A lost data directory must stay lost until it is recovered: the image's own
// program is asked, in the shell that Compose would start, whether to make a new one.
func TestALostServerIsNotReplacedByAnEmptyOne(t *testing.T) {
	script := compose(t).Services["postgres"].Command[2]
	ask := "lifeboat backups list --of database/example --json"
	before, _, found := strings.Cut(script, "/initdb ")
	require.True(t, found)
	require.Contains(t, before, ask)
	_, check, _ := strings.Cut(before, "data=/var/lib/postgresql/15/main\n")
	check, _, found = strings.Cut(check, "umask")
	require.True(t, found)
	for name, c := range map[string]struct {
		lifeboat string
		makes    bool
	}{
		"no backup yet":      {"echo '[]'", true},
		"backups":            {`echo '[{"key": "database-backups/a.base"}]'`, false},
		"no store to answer": {"exit 4", false},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(bin, "lifeboat"), []byte("#!/bin/sh\n"+c.lifeboat+"\n"), 0o700)) //nolint:gosec // a program
			shell := exec.CommandContext(t.Context(), "/bin/sh", "-euc", check+"echo makes one; fi")
			shell.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "data=" + filepath.Join(bin, "main")}
			output, err := shell.CombinedOutput()
			require.Equal(t, c.makes, err == nil, "%s", output)
			require.Equal(t, c.makes, strings.Contains(string(output), "makes one"), "%s", output)
		})
	}
}

func TestNoSecretStandsInTheComposeFile(t *testing.T) {
	text, err := os.ReadFile("../docker-compose.yml")
	require.NoError(t, err)
	secrets := regexp.MustCompile(`(?m)^ +[A-Z0-9_]*(?:SECRET|PASSWORD|_KEY|_URL)[A-Z0-9_]*: (.*)$`).FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(secrets), 6)
	for _, secret := range secrets {
		require.True(t, strings.Contains(secret[1], "${") || secret[1] == "backup-writer", secret[0])
	}
	ignored, err := os.ReadFile("../.gitignore")
	require.NoError(t, err)
	require.Contains(t, string(ignored), "\n/.env\n")
	unsent, err := os.ReadFile("../.dockerignore")
	require.NoError(t, err)
	require.Contains(t, string(unsent), "\n.env\n", "or a layer of the build would hold it")
}

func TestEveryImageIsPinnedAndBuilt(t *testing.T) {
	text, err := os.ReadFile("../worker/Dockerfile")
	require.NoError(t, err)
	stages := map[string]bool{}
	for _, from := range regexp.MustCompile(`(?m)^FROM (\S+)(?: AS (\S+))?$`).FindAllStringSubmatch(string(text), -1) {
		require.Regexp(t, `^[a-z]+:\d+\.\d+(\.\d+)?(-[a-z]+)?$`, from[1])
		stages[from[2]] = true
	}
	for _, installed := range regexp.MustCompile(`go install (\S+)`).FindAllStringSubmatch(string(text), -1) {
		versions, err := os.ReadFile("../tools/versions")
		require.NoError(t, err)
		require.Contains(t, string(versions), `"`+installed[1]+`"`, "the demo and the images use the same servers")
	}
	for name, service := range compose(t).Services {
		if service.Build != nil {
			require.Equal(t, "worker/Dockerfile", service.Build.Dockerfile, name)
			require.True(t, stages[service.Build.Target], name)
		} else {
			require.Regexp(t, `^lifeboat(-[a-z0-9]+)?:dev$`, service.Image, "%s uses an image that another service builds", name)
		}
	}
}

func TestWhatTheImagesHoldIsBuilt(t *testing.T) {
	text, err := os.ReadFile("../worker/Dockerfile")
	require.NoError(t, err)
	made := map[string]bool{}
	for _, built := range regexp.MustCompile(`go build -o /out/(\S+) (\./\S+)`).FindAllStringSubmatch(string(text), -1) {
		listing := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Name}} {{.CgoFiles}}", built[2])
		listing.Dir, listing.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
		listed, err := listing.CombinedOutput()
		require.NoError(t, err, "%s: %s", built[0], listed)
		require.Equal(t, "main []\n", string(listed), built[0])
		made[built[1]] = true
	}
	for _, installed := range regexp.MustCompile(`go install \S+/cmd/(\S+)@`).FindAllStringSubmatch(string(text), -1) {
		made[installed[1]] = true
	}
	copied := regexp.MustCompile(`COPY --from=build (.*) \S+`).FindAllStringSubmatch(string(text), -1)
	require.Len(t, copied, 3)
	for _, paths := range copied {
		for _, path := range strings.Fields(paths[1]) {
			require.True(t, made[strings.TrimPrefix(path, "/out/")], path)
		}
	}
	require.True(t, made["lifeboat"] && made["lifeboat-worker"])
}

func TestTheConfigurationInTheComposeFileIsValid(t *testing.T) {
	c := compose(t)
	configured, err := system.Parse("docker-compose.yml", []byte(c.Configs["lifeboat"].Content), func(name string) (string, bool) {
		value, declared := c.Services["worker"].Environment[name]
		if !declared || value == nil {
			return "", false
		}
		return *value, true
	})
	require.NoError(t, err)
	require.Equal(t, "example", configured.Name)
	primary, err := configured.Primary()
	require.NoError(t, err)
	replica, found := configured.ReplicaOf(primary)
	require.True(t, found)
	require.NotEqual(t, primary.Region, replica.Region)
	for _, store := range []system.Store{primary, replica} {
		endpoint, err := url.Parse(store.Endpoint)
		require.NoError(t, err)
		require.Contains(t, c.Services[endpoint.Hostname()].Command, store.Region)
	}
	_, err = configured.Sandbox("")
	require.NoError(t, err, "the drill that status asks for")
	for _, service := range configured.Services {
		require.Contains(t, c.Services, service.Name)
		require.Equal(t, system.ServiceCompose, service.Kind)
	}
	for _, dir := range []string{configured.Databases[0].DataDir, configured.Caches[0].DataDir} {
		for _, volume := range c.Services["worker"].Volumes {
			require.NotEqual(t, dir, volume.Target, "a mount point can't be swapped")
		}
	}
}
