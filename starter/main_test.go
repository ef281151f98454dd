package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lifeboat": main})
}

func TestScripts(t *testing.T) {
	example, err := filepath.Abs("../examples/frende/lifeboat.yaml")
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "fits": fits},
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLE", example)
			env.Setenv("BACKUP_ENCRYPTION_KEY", "correct horse battery staple")
			env.Setenv("FRENDE_DATABASE_URL", "postgres://localhost/frende")
			env.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1") // nobody listens there
			return nil
		},
	})
}
