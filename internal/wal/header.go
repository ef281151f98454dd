package wal

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal/local"
)

// maxSegmentSize is the largest segment that is one object. Clusters made with
// initdb --wal-segsize above it can't be archived.
const maxSegmentSize = vault.MaxChunkSize

// inspect holds a segment against its name; see local.Inspect.
func inspect(name string, body []byte) (local.Header, error) {
	return local.Inspect(name, body, int64(len(body)))
}

// systemIDOf reads the system identifier out of the first eight bytes of a data
// directory's control file (pg_control.h, ControlFileData).
func systemIDOf(dataDir string) (string, error) {
	path := filepath.Join(dataDir, "global", "pg_control")
	file, err := os.Open(path)
	if err != nil {
		return "", fault.New(fault.PathFailed, "read control file", path, err).WithHint("name the data directory, or run it from there as archive_command does")
	}
	raw := make([]byte, 8)
	_, err = io.ReadFull(file, raw)
	if err = errors.Join(err, file.Close()); err != nil {
		return "", fault.New(fault.PathFailed, "read control file", path, err)
	}
	return strconv.FormatUint(binary.NativeEndian.Uint64(raw), 10), nil
}
