package target

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

// stray starts a program that works in a directory and ends when the test does.
func stray(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have been ended
		_ = cmd.Wait()
	})
	_, err = bufio.NewReader(out).ReadString('\n') // it runs
	require.NoError(t, err)
	return cmd
}

func TestASandboxIsMadeEmptyAndLeavesNothing(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a", "sandbox")
	s := Sandbox{Root: root, Keep: []string{"/srv/production"}}
	require.NoError(t, s.Make(t.Context()))
	work := filepath.Join(root, "srv", "pg")
	require.NoError(t, os.MkdirAll(work, 0o700))
	inside := stray(t, work, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
	left, err := s.Left(t.Context())
	require.NoError(t, err)
	require.Contains(t, left, "directory "+root)
	require.Contains(t, left, "process "+strconv.Itoa(inside.Process.Pid))

	require.NoError(t, s.Make(t.Context()), "what an earlier drill left is cleared")
	require.NoDirExists(t, work)
	ended, err := s.Clear(t.Context())
	require.NoError(t, err)
	require.Zero(t, ended)
	left, err = s.Left(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = s.Clear(t.Context())
	require.NoError(t, err, "clearing twice")
}

func TestWhatOnlyNamesTheSandboxIsToldAndNotEnded(t *testing.T) {
	s := Sandbox{Root: filepath.Join(t.TempDir(), "sandbox")}
	outside := stray(t, t.TempDir(), "sh", "-c", "echo up; while :; do sleep 0.1; done", s.Root+"/file")
	left, err := s.Left(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"process " + strconv.Itoa(outside.Process.Pid)}, left)
}

func TestASandboxThatIsNotADrillsIsNeverCleared(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "precious"), nil, 0o600))
	s := Sandbox{Root: root}
	for _, err := range []error{s.Make(t.Context()), clearing(t, s)} {
		require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
		require.NotEmpty(t, fault.HintOf(err))
	}
	require.FileExists(t, filepath.Join(root, "precious"))

	require.NoError(t, os.Symlink("/etc/hostname", filepath.Join(root, sandboxMarker)))
	require.True(t, fault.Has(clearing(t, s), fault.TargetRefused), "a link is no mark")
}

func clearing(t *testing.T, s Sandbox) error {
	t.Helper()
	_, err := s.Clear(t.Context())
	return err
}

func TestASandboxThatLeadsToProductionIsRefused(t *testing.T) {
	production := filepath.Join(t.TempDir(), "srv", "pg")
	require.NoError(t, os.MkdirAll(production, 0o700))
	link := filepath.Join(t.TempDir(), "sandbox")
	require.NoError(t, os.Symlink(filepath.Dir(production), link))
	for _, root := range []string{link, filepath.Join(link, "pg", "inside"), filepath.Dir(production)} {
		err := Sandbox{Root: root, Keep: []string{production}}.Make(t.Context())
		require.True(t, fault.Has(err, fault.TargetRefused), "%s: %v", root, err)
		require.ErrorContains(t, err, "overlaps")
	}
	require.DirExists(t, production)
}

func TestAPortThatIsTakenIsRefused(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	s := Sandbox{Root: filepath.Join(t.TempDir(), "sandbox"), Ports: []int{port}}
	err = s.Make(t.Context())
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.ErrorContains(t, err, strconv.Itoa(port))
	left, err := s.Left(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"listener on port " + strconv.Itoa(port)}, left)
}
