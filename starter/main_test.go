package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lifeboat": main})
}

func TestScripts(t *testing.T) {
	text, err := os.ReadFile("../examples/frende/lifeboat.yaml")
	require.NoError(t, err)
	example := filepath.Join(t.TempDir(), "lifeboat.yaml") // whose stores are nowhere
	away := strings.ReplaceAll(string(text), "    region:", "    endpoint: http://127.0.0.1:1\n    path_style: true\n    region:")
	require.NoError(t, os.WriteFile(example, []byte(away), 0o600))
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "fits": fits},
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLE", example)
			env.Setenv("BACKUP_ENCRYPTION_KEY", "correct horse battery staple")
			env.Setenv("FRENDE_DATABASE_URL", "postgres://localhost/frende")
			env.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE") // else the SDK would ask the network for some
			env.Setenv("AWS_SECRET_ACCESS_KEY", "example")
			env.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1") // nobody listens there
			return nil
		},
	})
}
