package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/vault"
)

// The long header of a segment's first page, in the byte order of the server's
// host, which is this one (src/include/access/xlog_internal.h,
// XLogLongPageHeaderData, the same since 9.3):
//
//	 0 2 magic    2 2 info    4 4 timeline    8 8 page address
//	16 4 remaining length    24 8 system identifier    32 4 segment size    36 4 block size
const (
	longHeaderSize = 40
	longHeaderFlag = 0x0002 // XLP_LONG_HEADER
	magicSeries    = 0xD1   // high byte of XLOG_PAGE_MAGIC; the low one counts changes
)

// maxSegmentSize is the largest segment that is one object. Clusters made with
// initdb --wal-segsize above it can't be archived.
const maxSegmentSize = vault.MaxChunkSize

// header is what a segment says of itself.
type header struct {
	systemID string
	size     int64
}

// inspect holds a segment against its name. A .partial has the content of a segment.
//
// The page's timeline may be an older one: the first segment of a timeline
// begins as a copy of the one it was forked from.
func inspect(name string, body []byte) (header, error) {
	if len(body) < longHeaderSize {
		return header{}, fmt.Errorf("it has only %d bytes", len(body))
	}
	order := binary.NativeEndian
	magic, info := order.Uint16(body[0:]), order.Uint16(body[2:])
	if magic>>8 != magicSeries || info&longHeaderFlag == 0 {
		return header{}, fmt.Errorf("it does not begin as WAL does (magic %04X, info %04X)", magic, info)
	}
	h := header{systemID: strconv.FormatUint(order.Uint64(body[24:]), 10), size: int64(order.Uint32(body[32:]))}
	if !postgres.ValidSegmentSize(h.size) || int64(len(body)) != h.size {
		return header{}, fmt.Errorf("it has %d bytes and says %d", len(body), h.size)
	}
	segment, err := postgres.ParseSegment(name[:24], h.size)
	if err != nil {
		return header{}, err
	}
	if at := postgres.LSN(order.Uint64(body[8:])); at != segment.Start(h.size) {
		return header{}, fmt.Errorf("it begins at %s, its name says %s", at, segment.Start(h.size))
	}
	if timeline := order.Uint32(body[4:]); timeline == 0 || timeline > segment.Timeline {
		return header{}, fmt.Errorf("it belongs to timeline %d", timeline)
	}
	return h, nil
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
