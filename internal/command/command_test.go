package command_test

import (
	"bytes"
	"context"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// sh is a program that does what a test needs; command itself knows no shell.
func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

func TestRunKeepsOutputAndExitStatus(t *testing.T) {
	result, err := command.Run(t.Context(), command.Config{Argv: sh("echo out; echo err >&2")})
	require.NoError(t, err)
	require.Equal(t, 0, result.Exit)
	require.Equal(t, "out\n", string(result.Stdout))
	require.Equal(t, "err\n", string(result.Stderr))
	require.False(t, result.Truncated)
}

func TestRunNamesProgramStatusAndLastLineOfAFailure(t *testing.T) {
	log := filepath.Join(t.TempDir(), "tool.log")
	result, err := command.Run(t.Context(), command.Config{Argv: sh("echo first >&2; echo 'no such table' >&2; exit 7"), Log: log})
	require.True(t, fault.Has(err, fault.CommandFailed), "%v", err)
	require.Equal(t, 7, result.Exit)
	require.Equal(t, "run sh: program failed: exit status 7: no such table", err.Error())
	require.Equal(t, "read "+log, fault.HintOf(err))
	kept, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "first\nno such table\n", string(kept))
}

func TestLogThatIsALinkIsRefused(t *testing.T) {
	dir := t.TempDir()
	outside, log := filepath.Join(dir, "outside"), filepath.Join(dir, "tool.log")
	require.NoError(t, os.WriteFile(outside, []byte("kept"), 0o600))
	require.NoError(t, os.Symlink(outside, log))
	_, err := command.Run(t.Context(), command.Config{Argv: sh("echo more"), Log: log})
	require.True(t, fault.Has(err, fault.PathFailed), "%v", err)
	kept, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "kept", string(kept))
}

func TestErrorsNeverRepeatArgumentsOrLongOutput(t *testing.T) {
	_, err := command.Run(t.Context(), command.Config{Argv: sh("head -c 5000 /dev/zero | tr '\\0' x >&2; exit 1 # private-argument")})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "private-argument")
	require.Less(t, len(err.Error()), 300)
}

func TestAMissingProgramIsFoundBeforeAnythingRuns(t *testing.T) {
	for _, argv := range [][]string{nil, {""}, {"no-such-program-anywhere"}, {"/no/such/program"}} {
		_, err := command.New(command.Config{Argv: argv})
		require.True(t, fault.Has(err, fault.ConfigInvalid), "%v: %v", argv, err)
	}
}

func TestEnvironmentIsExactlyWhatIsGiven(t *testing.T) {
	t.Setenv("LIFEBOAT_TEST_PRIVATE", "not for children")
	result, err := command.Run(t.Context(), command.Config{Argv: []string{"env"}, Env: []string{"A=1", "B=2"}})
	require.NoError(t, err)
	require.Equal(t, "A=1\nB=2\n", string(result.Stdout))

	result, err = command.Run(t.Context(), command.Config{Argv: []string{"env"}})
	require.NoError(t, err)
	require.Contains(t, string(result.Stdout), "PATH=")
	require.NotContains(t, string(result.Stdout), "LIFEBOAT_TEST_PRIVATE")
}

func TestStdoutIsDataAndPassesUnchanged(t *testing.T) {
	var out bytes.Buffer
	result, err := command.Run(t.Context(), command.Config{
		Argv: []string{"cat"}, Stdin: strings.NewReader("a secret row\n"), Stdout: &out, Secrets: []string{"secret"},
	})
	require.NoError(t, err)
	require.Equal(t, "a secret row\n", out.String())
	require.Nil(t, result.Stdout)
}

func TestSecretsAreReplacedInCapturedOutputLogAndErrors(t *testing.T) {
	log := filepath.Join(t.TempDir(), "tool.log")
	var messages bytes.Buffer
	result, err := command.Run(t.Context(), command.Config{
		Argv: sh("echo hunter2-token; echo login hunter2-token refused >&2; exit 1"),
		Log:  log, Stderr: &messages, Secrets: []string{"hunter2", "hunter2-token"},
	})
	require.Error(t, err)
	kept, readErr := os.ReadFile(log)
	require.NoError(t, readErr)
	for _, text := range []string{string(result.Stdout), string(result.Stderr), messages.String(), string(kept), err.Error()} {
		require.NotContains(t, text, "hunter2")
		require.Contains(t, text, "[redacted]")
	}
}

func TestErrorsHideWhatLooksLikeACredentialThatNobodyRegistered(t *testing.T) {
	for _, line := range []string{"can't open postgres://app:hunter2@db/frende", "bad option password=hunter2", `"secret": "hunter2"`} {
		_, err := command.Run(t.Context(), command.Config{Argv: []string{"/bin/sh", "-c", `echo "$0" >&2; exit 1`, line}})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestCapturedOutputIsBoundedAndKeepsItsEnd(t *testing.T) {
	result, err := command.Run(t.Context(), command.Config{Argv: sh("head -c 1000000 /dev/zero | tr '\\0' x; echo end"), Capture: 1000})
	require.NoError(t, err)
	require.Len(t, result.Stdout, 1000)
	require.True(t, strings.HasSuffix(string(result.Stdout), "xend\n"))
	require.True(t, result.Truncated)
}

func TestCancelEndsTheWholeGroup(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	program, err := command.New(command.Config{Argv: sh("sleep 300 & echo $! > " + pids + ".new && mv " + pids + ".new " + pids + "; wait"), Grace: time.Second})
	require.NoError(t, err)
	process, err := program.Start(ctx)
	require.NoError(t, err)
	grandchild := readPID(t, pids)
	cancel()
	_, err = process.Wait()
	require.ErrorIs(t, err, context.Canceled)
	requireGone(t, process.PID())
	requireGone(t, grandchild)
}

func TestStopKillsAProgramThatIgnoresItsSignal(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	program, err := command.New(command.Config{Argv: sh("trap '' TERM; echo $$ > " + ready + ".new && mv " + ready + ".new " + ready + "; while :; do sleep 300; done"), Grace: 50 * time.Millisecond})
	require.NoError(t, err)
	process, err := program.Start(t.Context())
	require.NoError(t, err)
	readPID(t, ready)
	result := process.Stop()
	require.Equal(t, -1, result.Exit)
	_, err = process.Wait()
	require.NoError(t, err, "having been stopped is not an error")
	process.Stop()
	requireGone(t, process.PID())
}

func TestWhatAProgramLeavesInItsGroupEndsWithIt(t *testing.T) {
	result, err := command.Run(t.Context(), command.Config{Argv: sh("sleep 300 & echo $!")})
	require.NoError(t, err)
	left, err := strconv.Atoi(strings.TrimSpace(string(result.Stdout)))
	require.NoError(t, err)
	requireGone(t, left)
}

func TestADaemonOutlivesTheProgramThatStartedIt(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "daemon.log")
	_, err := command.Run(t.Context(), command.Config{Argv: sh("sleep 300 & echo $! > " + dir + "/pid; echo started"), Log: log, Daemon: true})
	require.NoError(t, err)
	pid := readPID(t, filepath.Join(dir, "pid"))
	t.Cleanup(func() { require.NoError(t, syscall.Kill(pid, syscall.SIGKILL)) })
	require.NoError(t, syscall.Kill(pid, 0))
	kept, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "started\n", string(kept))
}

func TestADeadlineIsACommandThatFailed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := command.Run(ctx, command.Config{Argv: []string{"sleep", "300"}})
	require.True(t, fault.Has(err, fault.CommandFailed), "%v", err)
	require.ErrorContains(t, err, "did not end within its time")
}

func TestRunAsAnotherUserDropsRootAndItsEnvironment(t *testing.T) {
	if os.Geteuid() != 0 {
		_, err := command.Run(t.Context(), command.Config{Argv: []string{"id", "-un"}, User: "root"})
		require.True(t, fault.Has(err, fault.ConfigInvalid), "%v", err)
		return
	}
	result, err := command.Run(t.Context(), command.Config{Argv: sh("id -un; id -Gn; echo $HOME $USER"), User: "nobody"})
	require.NoError(t, err)
	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)
	lines := strings.Split(string(result.Stdout), "\n")
	require.Equal(t, "nobody", lines[0])
	require.NotContains(t, lines[1], "root")
	require.Equal(t, nobody.HomeDir+" nobody", lines[2])
}

func TestRunAsOneselfChangesNothing(t *testing.T) {
	self, err := user.Current()
	require.NoError(t, err)
	result, err := command.Run(t.Context(), command.Config{Argv: []string{"id", "-un"}, User: self.Username})
	require.NoError(t, err)
	require.Equal(t, self.Username, strings.TrimSpace(string(result.Stdout)))
	_, err = command.Run(t.Context(), command.Config{Argv: []string{"id"}, User: "no-such-user-here"})
	require.True(t, fault.Has(err, fault.ConfigInvalid), "%v", err)
}

// readPID waits for a file with a process id.
func readPID(t *testing.T, path string) int {
	t.Helper()
	pid := 0
	require.Eventually(t, func() bool {
		body, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(body)))
		return err == nil
	}, time.Minute, 5*time.Millisecond)
	return pid
}

// requireGone waits until a process runs no more; a zombie that nobody reaps counts as gone.
func requireGone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, time.Minute, 5*time.Millisecond)
}
