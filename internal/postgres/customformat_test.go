package postgres_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/postgres"
)

// customInteger is a number of a dump in custom format.
func customInteger(n int32) []byte {
	if n < 0 {
		return append([]byte{1}, binary.LittleEndian.AppendUint32(nil, uint32(-n))...)
	}
	return append([]byte{0}, binary.LittleEndian.AppendUint32(nil, uint32(n))...)
}

func customText(text string) []byte { return append(customInteger(int32(len(text))), text...) }

// spaces is a text without an end.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestALongStatementOfADumpIsNotHeldInMemory(t *testing.T) {
	const long = 256 << 20
	none := customInteger(-1)
	before := bytes.Join([][]byte{
		[]byte("PGDMP\x01\x0e\x00\x04\x08\x01"), customInteger(0), bytes.Repeat(customInteger(0), 7), none, none, none, customInteger(1),
		customInteger(7), customInteger(0), customText("0"), customText("0"), customText("long"), customText("FUNCTION"), customInteger(2), customInteger(long),
	}, nil)
	after := bytes.Join([][]byte{none, none, customText("public"), none, none, customText("app"), customText("false"), none, make([]byte, 9)}, nil)
	dump := io.MultiReader(bytes.NewReader(before), io.LimitReader(spaces{}, long), bytes.NewReader(after))

	var begun, ended runtime.MemStats
	runtime.ReadMemStats(&begun)
	items, err := postgres.CustomItems(dump)
	runtime.ReadMemStats(&ended)
	require.NoError(t, err)
	require.Equal(t, 1, items)
	require.Less(t, ended.TotalAlloc-begun.TotalAlloc, uint64(16<<20))
}
