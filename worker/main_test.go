package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programsEnv names the folder of the built programs for this process.
const programsEnv = "LIFEBOAT_TEST_PROGRAMS"

// TestMain builds lifeboat, lifeboat-worker and the lab's service supervisor
// once, as anybody would, where the servers' account can run them.
func TestMain(m *testing.M) {
	dir, err := buildPrograms()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildPrograms() (string, error) {
	dir, err := os.MkdirTemp("", "lifeboat-programs-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	for name, of := range map[string]string{"lifeboat": "starter", "lifeboat-wal": "starter/lifeboat-wal", "lifeboat-worker": "worker", "service": "examples/frende/cmd/service"} {
		output, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), "github.com/frende/lifeboat/"+of).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build %s: %w: %s", of, err, output)
		}
	}
	return dir, os.Setenv(programsEnv, dir)
}

func program(name string) string { return filepath.Join(os.Getenv(programsEnv), name) }
