package tree_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/tree"
)

func sample() []tree.Entry {
	at := time.Date(2024, 1, 15, 2, 0, 0, 123456789, time.UTC)
	return []tree.Entry{
		{Path: ".", Kind: tree.Dir, Mode: 0o755, ModTime: at},
		{
			Path: "a\xff\xfe", Kind: tree.File, Mode: 0o4755, UID: 33, GID: 33, Owner: "www-data", Group: "www-data", Size: 10, ModTime: at,
			Xattrs: map[string][]byte{"user.origin": {0, 1, 255}}, Digest: []byte{1, 2, 3}, Flag: tree.FlagChanged,
		},
		{Path: "hole", Kind: tree.File, Size: 1 << 20, ModTime: at, Offset: 10, Segments: []tree.Segment{}},
		{Path: "holes", Kind: tree.File, Size: 1 << 20, ModTime: at, Offset: 10, Segments: []tree.Segment{{Offset: 4096, Length: 4096}}},
		{Path: "link <&>", Kind: tree.Symlink, Mode: 0o777, ModTime: time.Unix(-5, 7).UTC(), Link: "\xc3\x28"},
		{Path: "name", Kind: tree.Hardlink, Link: "hole", ModTime: at},
	}
}

func encode(t *testing.T, entries []tree.Entry) []byte {
	t.Helper()
	var table bytes.Buffer
	require.NoError(t, tree.EncodeTable(&table, entries))
	return table.Bytes()
}

func TestATableReadsBackAsItWasWritten(t *testing.T) {
	read, err := tree.DecodeTable(bytes.NewReader(encode(t, sample())))
	require.NoError(t, err)
	require.Equal(t, sample(), read)

	read, err = tree.DecodeTable(bytes.NewReader(encode(t, nil)))
	require.NoError(t, err)
	require.Empty(t, read)
}

func TestATableCutAnywhereIsDamaged(t *testing.T) {
	table := encode(t, sample())
	for length := range len(table) - 1 { // without its last newline it is whole
		_, err := tree.DecodeTable(bytes.NewReader(table[:length]))
		require.ErrorIs(t, err, fault.IntegrityError.Err(), "cut at %d", length)
	}
}

func TestATableThatLacksOrRepeatsALineIsDamaged(t *testing.T) {
	lines := strings.SplitAfter(string(encode(t, sample())), "\n")
	for i := range lines[:len(lines)-1] {
		without := strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "")
		_, err := tree.DecodeTable(strings.NewReader(without))
		require.ErrorIs(t, err, fault.IntegrityError.Err(), "without line %d", i)
		twice := strings.Join(append(append([]string{}, lines[:i+1]...), lines[i:]...), "")
		_, err = tree.DecodeTable(strings.NewReader(twice))
		require.ErrorIs(t, err, fault.IntegrityError.Err(), "line %d twice", i)
	}
}

func TestALaterTableIsUnsupportedAndNotDamaged(t *testing.T) {
	_, err := tree.DecodeTable(strings.NewReader("{\"table\":2}\n{\"end\":0}\n"))
	require.ErrorIs(t, err, fault.FormatUnsupported.Err())
}

func TestAReadersFaultIsKept(t *testing.T) {
	unreachable := fault.New(fault.StorageUnavailable, "get", "table", errors.New("connection reset"))
	_, err := tree.DecodeTable(iotest.ErrReader(unreachable))
	require.ErrorIs(t, err, fault.StorageUnavailable.Err())
}

func FuzzDecodeTable(f *testing.F) {
	var table bytes.Buffer
	require.NoError(f, tree.EncodeTable(&table, sample()))
	f.Add(table.Bytes())
	f.Add([]byte("{\"table\":1}\n{\"end\":0}\n"))
	f.Add([]byte("{\"table\":1}\n{\"path\":\"a\",\"kind\":\"file\",\"size\":-1}\n{\"end\":1}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := tree.DecodeTable(bytes.NewReader(data))
		if err != nil {
			require.NotEmpty(t, fault.KindOf(err))
			return
		}
		again, err := tree.DecodeTable(bytes.NewReader(encode(t, entries)))
		require.NoError(t, err)
		require.Len(t, again, len(entries))
		if err := tree.Check(tree.Config{Entries: entries}); err != nil {
			require.ErrorIs(t, err, fault.HostileArchive.Err())
		}
	})
}

func TestDamagedTablesNeverEndInAnythingButAFault(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	table := encode(t, sample())
	for range 2000 {
		damaged := bytes.Clone(table)
		for range 1 + random.IntN(4) {
			damaged[random.IntN(len(damaged))] ^= byte(1 + random.IntN(255))
		}
		entries, err := tree.DecodeTable(bytes.NewReader(damaged))
		if err == nil {
			err = tree.Check(tree.Config{Entries: entries})
		}
		if err != nil {
			require.NotEmpty(t, fault.KindOf(err))
		}
	}
}
