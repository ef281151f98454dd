package target

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// The directory above a data directory is often the server account's. Whoever
// has that account must not choose what a worker that is root renames or writes.

func forged(t *testing.T, current, staged string) []byte {
	t.Helper()
	former, err := inodeOf(current)
	require.NoError(t, err)
	fresh, err := inodeOf(staged)
	require.NoError(t, err)
	body, err := json.Marshal(journal{
		Run: run, Direction: forward, Current: current, Staged: staged, Old: filepath.Join(filepath.Dir(staged), "gone"),
		Former: former, New: fresh, At: time.Now(),
	})
	require.NoError(t, err)
	return body
}

func TestJournalNamesNoPathsOfItsOwn(t *testing.T) {
	current, victim := fixture(t, false), filepath.Join(t.TempDir(), "victim")
	fill(t, victim, "kept")
	require.NoError(t, os.WriteFile(journalPath(current, run), forged(t, current, victim), 0o600))
	_, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	holds(t, victim, "kept")
	holds(t, current, "old")
}

func TestJournalIsBelievedOnlyFromItsOwnWriter(t *testing.T) {
	for name, plant := range map[string]func(path string, body []byte) error{
		"a link": func(path string, body []byte) error {
			if err := os.WriteFile(path+".real", body, 0o600); err != nil {
				return err
			}
			return os.Symlink(path+".real", path)
		},
		"a pipe": func(path string, _ []byte) error { return unix.Mkfifo(path, 0o600) },
		"another's": func(path string, body []byte) error {
			if err := os.WriteFile(path, body, 0o600); err != nil || os.Geteuid() != 0 {
				return err
			}
			return os.Chown(path, 65534, 65534)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "another's" && os.Geteuid() != 0 {
				return // another user's worker can do no more than that user
			}
			current := fixture(t, false)
			require.NoError(t, plant(journalPath(current, run), forged(t, current, Staging(current, run))))
			_, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
			require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
			require.NotEmpty(t, fault.HintOf(err))
			holds(t, current, "old")
			_, err = Undo(t.Context(), UndoRequest{Current: current, Of: run, Run: undoing})
			require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
		})
	}
}

func TestJournalIsNotWrittenThroughALink(t *testing.T) {
	current, victim := fixture(t, false), filepath.Join(t.TempDir(), "shadow")
	require.NoError(t, os.WriteFile(victim, []byte("root:secret"), 0o600))
	require.NoError(t, os.Symlink(victim, journalPath(current, run)+".tmp"))
	_, err := Swap(t.Context(), SwapRequest{Current: current, Run: run})
	require.NoError(t, err)
	body, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "root:secret", string(body))
	holds(t, current, "new")
}

func TestOnlyTheStagingDirectoryOfItsRunIsSwappedIn(t *testing.T) {
	current, other := fixture(t, false), filepath.Join(t.TempDir(), "other")
	fill(t, other, "other")
	_, err := Swap(t.Context(), SwapRequest{Current: current, Staged: other, Run: run})
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	holds(t, current, "old")
	holds(t, other, "other")
}
