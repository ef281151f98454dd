package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	"github.com/frende/lifeboat/internal/system"
)

// composed is what the tests look at of docker-compose.yml.
type composed struct {
	Services map[string]struct {
		Image       string            `yaml:"image"`
		Ports       []string          `yaml:"ports"`
		Environment map[string]string `yaml:"environment"`
		Volumes     []string          `yaml:"volumes"`
		Build       struct {
			Dockerfile string `yaml:"dockerfile"`
			Target     string `yaml:"target"`
		} `yaml:"build"`
	} `yaml:"services"`
	Configs map[string]struct {
		Content string `yaml:"content"`
	} `yaml:"configs"`
	Volumes map[string]any `yaml:"volumes"`
}

func compose(t *testing.T) composed {
	t.Helper()
	text, err := os.ReadFile("../docker-compose.yml")
	require.NoError(t, err)
	var c composed
	require.NoError(t, yaml.Unmarshal(text, &c))
	return c
}

func TestComposeFileHoldsEveryServiceAndPublishesOnLoopbackAlone(t *testing.T) {
	c := compose(t)
	require.Len(t, c.Services, 5)
	for _, name := range []string{"temporal", "s3", "postgres", "redis", "worker"} {
		service, found := c.Services[name]
		require.True(t, found, name)
		require.NotEmpty(t, service.Image, name)
		for _, port := range service.Ports {
			require.True(t, strings.HasPrefix(port, "127.0.0.1:"), "%s publishes %s", name, port)
		}
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if !strings.ContainsAny(source, "./") {
				require.Contains(t, c.Volumes, source, name)
			}
		}
	}
	require.Contains(t, c.Services["temporal"].Ports, "127.0.0.1:8233:8233", "the Web UI")
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
		if service.Build.Target != "" {
			require.Equal(t, "worker/Dockerfile", service.Build.Dockerfile, name)
			require.True(t, stages[service.Build.Target], name)
		} else {
			require.Equal(t, "lifeboat:dev", service.Image, "%s uses the worker's image", name)
		}
	}
}

func TestTheConfigurationInTheComposeFileIsValid(t *testing.T) {
	c := compose(t)
	configured, err := system.Parse("docker-compose.yml", []byte(c.Configs["lifeboat"].Content), func(name string) (string, bool) {
		_, declared := c.Services["worker"].Environment[name]
		return "set-for-the-test", declared
	})
	require.NoError(t, err)
	require.Equal(t, "example", configured.Name)
	for _, service := range configured.Services {
		require.Contains(t, c.Services, service.Name)
		require.Equal(t, system.ServiceCompose, service.Kind)
	}
	for _, dir := range []string{configured.Databases[0].DataDir, configured.Caches[0].DataDir} {
		for _, volume := range c.Services["worker"].Volumes {
			_, mounted, _ := strings.Cut(volume, ":")
			require.NotEqual(t, dir, mounted, "a mount point can't be swapped")
		}
	}
}
