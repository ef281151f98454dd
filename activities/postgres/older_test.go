package postgres

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/target"
)

// written makes a directory with one file, which tells it from another.
func written(t *testing.T, dir, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "content"), []byte(content), 0o600))
}

func holds(t *testing.T, dir, content string) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(dir, "content"))
	require.NoError(t, err)
	require.Equal(t, content, string(body))
}

// An attempt was cut off when the older copy, which had no tablespaces, was aside and
// those of the new one in place: the next one leaves them there.
func TestTablespacesOfANewCopyAreNotTakenForTheOlderOnes(t *testing.T) {
	ref := Ref{RunID: "copy/1", Dir: filepath.Join(t.TempDir(), "copy"), Delta: true}
	written(t, target.Aside(ref.Dir, ref.RunID), "older")
	written(t, copiedTablespace(ref.Dir, 16389), "new")
	require.NoError(t, (&job{ref: ref}).moveOlder(t.Context(), PutCopyInput{Ref: ref}))
	holds(t, copiedTablespace(ref.Dir, 16389), "new")
	holds(t, target.Aside(ref.Dir, ref.RunID), "older")
}

func TestTheOlderCopyComesBackWhenTheNewOneDoesNotCome(t *testing.T) {
	ref := Ref{RunID: "copy/1", Dir: filepath.Join(t.TempDir(), "copy"), Delta: true}
	spaces := ref.Dir + tablespacesSuffix
	written(t, target.Aside(ref.Dir, ref.RunID), "older")
	written(t, filepath.Join(target.Aside(spaces, ref.RunID), "16389"), "older")
	written(t, copiedTablespace(ref.Dir, 16389), "new")
	for range 2 {
		_, err := takeBackOlder(ref)
		require.NoError(t, err)
		holds(t, ref.Dir, "older")
		holds(t, copiedTablespace(ref.Dir, 16389), "older")
	}

	// Once the new one has come, nothing is taken back.
	written(t, target.Aside(ref.Dir, ref.RunID), "oldest")
	back, err := takeBackOlder(ref)
	require.NoError(t, err)
	require.False(t, back)
	holds(t, ref.Dir, "older")
}
