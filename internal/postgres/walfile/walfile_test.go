package walfile_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres/walfile"
)

func TestLSNReadsAndWritesAsPostgreSQLDoes(t *testing.T) {
	for text, want := range map[string]walfile.LSN{
		"0/3000148": 0x3000148, "0/0": 0, "1A/FF000028": 0x1AFF000028, "FFFFFFFF/FFFFFFFF": 0xFFFFFFFFFFFFFFFF,
	} {
		got, err := walfile.ParseLSN(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, text, got.String())
	}
	encoded, err := json.Marshal(struct{ At walfile.LSN }{0x3000148})
	require.NoError(t, err)
	require.JSONEq(t, `{"At":"0/3000148"}`, string(encoded))
	var decoded struct{ At walfile.LSN }
	require.NoError(t, json.Unmarshal(encoded, &decoded))
	require.Equal(t, walfile.LSN(0x3000148), decoded.At)
}

func TestLSNRefusesWhatIsNone(t *testing.T) {
	for _, text := range []string{"", "0", "/", "0/", "/1", "0/1/2", "100000000/0", "0/-1", "0/zz"} {
		_, err := walfile.ParseLSN(text)
		require.True(t, fault.Has(err, fault.InputInvalid), "%q gave %v", text, err)
	}
}

func TestSegmentNamesFollowPositions(t *testing.T) {
	const size = walfile.DefaultSegmentSize
	require.Equal(t, "000000010000000000000003", walfile.SegmentName(1, 0x3000148, size))
	require.Equal(t, "000000020000001A000000FF", walfile.SegmentName(2, 0x1AFF000028, size))
	require.Equal(t, "00000001000000010000007F", walfile.SegmentName(1, 1<<32|0x7FFFFFFF, 16<<20))
	require.Equal(t, "000000010000000100000003", walfile.SegmentName(1, 1<<32|0xFFFFFFFF, 1<<30))

	segment, err := walfile.ParseSegment("0000000100000000000000FF", size)
	require.NoError(t, err)
	require.Equal(t, "000000010000000100000000", segment.Next().Name(size))
	require.Equal(t, walfile.LSN(0xFF000000), segment.Start(size))
	require.Equal(t, walfile.LSN(0x100000000), segment.End(size))
	require.Equal(t, segment, walfile.SegmentBefore(1, 0x100000000, size))
	require.Equal(t, segment.Next(), walfile.SegmentAt(1, 0x100000000, size))
}

func TestSegmentNamesAreToldApart(t *testing.T) {
	require.True(t, walfile.IsSegment("000000010000000000000003"))
	require.True(t, walfile.IsPartial("000000010000000000000003.partial"))
	require.True(t, walfile.IsBackupLabel("000000010000000000000003.00000028.backup"))
	require.True(t, walfile.IsHistory("00000002.history"))
	require.Equal(t, "0000000A.history", walfile.HistoryName(10))
	for _, name := range []string{"", "00000001000000000000000g", "0000000100000000000003", "../../etc/passwd", "00000001.histor", "000000010000000000000003.backup"} {
		require.False(t, walfile.IsSegment(name) || walfile.IsPartial(name) || walfile.IsBackupLabel(name) || walfile.IsHistory(name), name)
		_, err := walfile.ParseSegment(name, walfile.DefaultSegmentSize)
		require.True(t, fault.Has(err, fault.InputInvalid))
	}
	_, err := walfile.ParseSegment("0000000100000000000003FF", walfile.DefaultSegmentSize)
	require.True(t, fault.Has(err, fault.InputInvalid), "a segment of 4 MiB in a cluster of 16 MiB")
}
