package tree_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/tree"
)

const victimRoot = "LIFEBOAT_TEST_VICTIM"

// victim is the child process that is killed: it extracts slowly enough to be
// hit, one chunk for each line it is given, and says when a chunk is written.
func victim(base string) error {
	s, c := victimTree(base)
	x, err := tree.NewExtraction(c)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for i := 0; i < s.chunks() && lines.Scan(); i++ {
		off, data := s.chunk(i)
		if err := x.Write(i, off, data); err != nil {
			return err
		}
		fmt.Println("written", i)
	}
	select {} // until it is killed
}

func victimTree(base string) (specimen, tree.Config) {
	s := grow(rand.New(rand.NewPCG(42, 42)), 100)
	return s, tree.Config{Root: base + "/staging", Journal: base + "/journal", Entries: s.entries, Backup: "file-backups/killed"}
}

func TestMain(m *testing.M) {
	if base := os.Getenv(victimRoot); base != "" {
		if err := victim(base); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func TestWhatAKilledAttemptWroteIsNotWrittenAgain(t *testing.T) {
	for _, survive := range []int{0, 1, 7} {
		base := t.TempDir()
		t.Cleanup(func() { require.NoError(t, tree.Loosen(base)) })
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), victimRoot+"="+base)
		child.Stderr = os.Stderr
		in, err := child.StdinPipe()
		require.NoError(t, err)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		lines := bufio.NewScanner(out)
		for i := range survive {
			_, err := in.Write([]byte("\n"))
			require.NoError(t, err)
			require.True(t, lines.Scan())
			require.Equal(t, fmt.Sprintf("written %d", i), strings.TrimSpace(lines.Text()))
		}
		require.NoError(t, child.Process.Kill())
		require.Error(t, child.Wait())

		s, c := victimTree(base)
		require.Greater(t, s.chunks(), 8)
		x := start(t, c)
		require.Equal(t, s.chunks()-survive, s.writeAll(t, rand.New(rand.NewPCG(1, 1)), x))
		require.NoError(t, x.Finish(t.Context()))
		s.requireOnDisk(t, c.Root)
	}
}
