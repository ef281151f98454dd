package local

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/frende/lifeboat/internal/postgres/walfile"
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

// Header is what a segment says of itself.
type Header struct {
	SystemID string
	Size     int64
}

// Inspect holds a segment of length bytes, that begins with first, against its
// name. A .partial has the content of a segment.
//
// The page's timeline may be an older one: the first segment of a timeline
// begins as a copy of the one it was forked from.
func Inspect(name string, first []byte, length int64) (Header, error) {
	if len(first) < longHeaderSize {
		return Header{}, fmt.Errorf("it has only %d bytes", len(first))
	}
	order := binary.NativeEndian
	magic, info := order.Uint16(first[0:]), order.Uint16(first[2:])
	if magic>>8 != magicSeries || info&longHeaderFlag == 0 {
		return Header{}, fmt.Errorf("it does not begin as WAL does (magic %04X, info %04X)", magic, info)
	}
	h := Header{SystemID: strconv.FormatUint(order.Uint64(first[24:]), 10), Size: int64(order.Uint32(first[32:]))}
	if !walfile.ValidSegmentSize(h.Size) || length != h.Size {
		return Header{}, fmt.Errorf("it has %d bytes and says %d", length, h.Size)
	}
	segment, err := walfile.ParseSegment(name[:walfile.NameLength], h.Size)
	if err != nil {
		return Header{}, err
	}
	if at := walfile.LSN(order.Uint64(first[8:])); at != segment.Start(h.Size) {
		return Header{}, fmt.Errorf("it begins at %s, its name says %s", at, segment.Start(h.Size))
	}
	if timeline := order.Uint32(first[4:]); timeline == 0 || timeline > segment.Timeline {
		return Header{}, fmt.Errorf("it belongs to timeline %d", timeline)
	}
	return h, nil
}
