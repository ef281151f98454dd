package service_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/system"
)

func commanded() system.Service {
	return system.Service{Name: "backend", Kind: system.ServiceCommand, Start: []string{"true"}, Stop: []string{"true"}, Status: []string{"true"}}
}

func TestTheEndOfALogIsToldWithoutSecretsAndWithoutSteeringTheTerminal(t *testing.T) {
	dir := t.TempDir()
	control := service.New(service.Config{LogDir: dir})
	lines, err := control.LogTail(t.Context(), commanded(), 3)
	require.NoError(t, err)
	require.Empty(t, lines, "a log that does not exist has no lines")

	text := strings.Repeat("an old line\n", 10_000) + "one\n\ntwo \x1b[2J swordfish\ntoken: abc\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "lifeboat-service-backend.log"), []byte(text), 0o600))
	lines, err = control.LogTail(t.Context(), commanded(), 3, "swordfish")
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two ?[2J [redacted]", "token: [redacted]"}, lines)
}

func TestALogThatIsNoFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "lifeboat-service-backend.log"), 0o600))
	_, err := service.New(service.Config{LogDir: dir}).LogTail(t.Context(), commanded(), 3)
	require.True(t, fault.Has(err, fault.ServiceFailed), "%v", err)
	require.ErrorContains(t, err, "it is not a regular file")
}

func TestTheJournalAndTheEngineAreAskedForTheLastLines(t *testing.T) {
	dir := t.TempDir()
	tool := func(name string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\necho \"$@\" >> "+dir+"/asked\necho first\necho last\n"), 0o700))
		return path
	}
	control := service.New(service.Config{Journal: tool("journalctl"), Docker: tool("docker")})
	for _, s := range []system.Service{
		{Name: "backend", Kind: system.ServiceSystemd, Unit: "frende-backend"},
		{Name: "frontend", Kind: system.ServiceCompose, Unit: "web", Project: dir},
	} {
		lines, err := control.LogTail(t.Context(), s, 1)
		require.NoError(t, err)
		require.Equal(t, []string{"last"}, lines)
	}
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	require.NoError(t, err)
	require.Equal(t, "--unit frende-backend --lines 1 --output cat --no-pager --quiet\n"+
		"compose --project-directory "+dir+" logs --tail 1 --no-color --no-log-prefix web\n", string(asked))
}
