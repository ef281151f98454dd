package postgres

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/tree"
)

// image is a stream that the image itself makes up, read whole.
func image(t *testing.T, entries []tree.Entry, contents map[string][]byte) (*TarImage, []byte) {
	t.Helper()
	made, ok := NewTarImage(entries)
	require.True(t, ok)
	whole := make([]byte, made.end+2*tarBlock)
	require.True(t, made.Read(0, whole, func(entry int, at int64, dst []byte) bool {
		return copy(dst, contents[entries[entry].Path][at:]) == len(dst)
	}))
	return made, whole
}

func specimen(t *testing.T) ([]tree.Entry, map[string][]byte) {
	t.Helper()
	at := time.Unix(1705284000, 0).UTC()
	entries := []tree.Entry{
		{Path: "backup_label", Kind: tree.File, Mode: 0o600, Size: 227},
		{Path: "base", Kind: tree.Dir, Mode: 0o700},
		{Path: "base/1", Kind: tree.Dir, Mode: 0o700},
		{Path: "base/1/112", Kind: tree.File, Mode: 0o600, Size: 8192},
		{Path: "base/1/empty", Kind: tree.File, Mode: 0o640},
		{Path: "pg_tblspc/16385", Kind: tree.Symlink, Mode: 0o777, Link: "/srv/space"},
		{Path: "base/1/large", Kind: tree.File, Mode: 0o600, Size: 100_001},
	}
	contents := map[string][]byte{}
	var place int64
	for i := range entries {
		e := &entries[i]
		e.UID, e.GID, e.Owner, e.Group, e.ModTime = 70, 3_000_000, "postgres", "postgres", at
		place += tarBlock
		if e.Kind == tree.File {
			e.Offset = place
			place = ContentEnd(*e)
			contents[e.Path] = bytes.Repeat([]byte{byte(i + 1)}, int(e.Size))
		}
	}
	return entries, contents
}

func TestATarImageIsReadBackAsItsTable(t *testing.T) {
	entries, contents := specimen(t)
	_, whole := image(t, entries, contents)
	var index tarIndex
	for rest := whole; len(rest) > 0; {
		n, err := index.take(rest)
		require.NoError(t, err)
		rest = rest[n:]
	}
	require.NoError(t, index.finish())
	require.Equal(t, entries, index.entries)
}

func TestAPartOfATarImageIsThatOfTheWhole(t *testing.T) {
	entries, contents := specimen(t)
	made, whole := image(t, append(entries, tree.Entry{Path: ".", Kind: tree.Dir}), contents)
	random := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		from := random.IntN(len(whole))
		part := make([]byte, 1+random.IntN(min(len(whole)-from, 1+random.IntN(20_000))))
		require.True(t, made.Read(int64(from), part, func(entry int, at int64, dst []byte) bool {
			return copy(dst, contents[entries[entry].Path][at:]) == len(dst)
		}))
		require.True(t, bytes.Equal(whole[from:from+len(part)], part), "%d bytes from %d", len(part), from)
	}
	require.False(t, made.Read(entries[3].Offset, make([]byte, 1), func(int, int64, []byte) bool { return false }))
}

func TestATableThatIsNoTarStreamHasNoImage(t *testing.T) {
	entries, _ := specimen(t)
	entries[3].Offset += tarBlock
	_, ok := NewTarImage(entries)
	require.False(t, ok)
}
