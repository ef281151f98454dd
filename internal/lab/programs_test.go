package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"
)

// Copies of a program can be executed at once, whatever is started beside.
func TestACopyRunsAtOnce(t *testing.T) {
	const copies = 24
	t.Setenv("TMPDIR", t.TempDir())
	original, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	busy, done := make(chan struct{}), make(chan struct{})
	var beside errgroup.Group
	for range 4 {
		beside.Go(func() error {
			for first := true; ; first = false {
				if err := exec.Command("true").Run(); err != nil {
					return err
				}
				if first {
					busy <- struct{}{}
				}
				select {
				case <-done:
					return nil
				default:
				}
			}
		})
	}
	for range 4 {
		<-busy
	}
	for i := range copies {
		program := filepath.Join(t.TempDir(), fmt.Sprint("program-", i))
		if err := os.Link(original, program); err != nil {
			content, readErr := os.ReadFile(original)
			if readErr != nil {
				t.Fatal(readErr)
			}
			if err := os.WriteFile(program, content, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		copied, err := copyProgram(program)
		if err != nil {
			t.Fatal(err)
		}
		if output, err := exec.Command(copied, "-test.list", "^$").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, output)
		}
	}
	close(done)
	if err := beside.Wait(); err != nil {
		t.Fatal(err)
	}
}
