package wal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIdentityStaysWithADirectoryThatIsRenamedAndIsNoCopys(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "data")
	require.NoError(t, os.Mkdir(dir, 0o700))
	first, err := identify(dir)
	require.NoError(t, err)
	require.NotZero(t, first.Inode)
	moved := filepath.Join(parent, "moved")
	require.NoError(t, os.Rename(dir, moved))
	second, err := identify(moved)
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.NoError(t, os.Mkdir(dir, 0o700))
	copied, err := identify(dir)
	require.NoError(t, err)
	require.False(t, first.same(copied))
	file := filepath.Join(parent, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = identify(file)
	require.ErrorContains(t, err, "no directory")
}

func TestIdentitiesAreComparedByWhatBothSay(t *testing.T) {
	whole := identity{Inode: 7, Born: "1.000000002", Machine: "aa", Boot: "first", Mount: 2049}
	seen := func(boot string, mount uint64) identity {
		other := whole
		other.Boot, other.Mount = boot, mount
		return other
	}
	for what, c := range map[string]struct {
		other identity
		same  bool
	}{
		"itself":                          {whole, true},
		"of an earlier version":           {identity{Inode: 7}, true},
		"no birth time, the same machine": {identity{Inode: 7, Machine: "aa"}, true},
		"another inode":                   {identity{Inode: 8, Born: whole.Born, Machine: "aa"}, false},
		"an inode that was used again":    {identity{Inode: 7, Born: "2.000000000", Machine: "aa"}, false},
		"after a start of the host, which gave out the numbers of its devices anew": {seen("second", 2065), true},
		"a snapshot that is mounted beside it":                                      {seen("first", 2065), false},
		"a clone of the disk elsewhere":                                             {identity{Inode: 7, Born: whole.Born, Machine: "bb"}, false},
	} {
		require.Equal(t, c.same, whole.same(c.other), what)
		require.Equal(t, c.same, c.other.same(whole), what)
	}
}

func TestMachineIDIsNotGivenAway(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 2)
	require.Len(t, machineMark(id), 32)
	require.NotEqual(t, id, machineMark(id))
	require.NotEqual(t, machineMark(id), machineMark(id[1:]+"0"))
	require.Empty(t, machineMark(""))
	require.Empty(t, machineMark("uninitialized"))
}
