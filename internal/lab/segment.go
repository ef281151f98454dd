package lab

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"
)

// Segment is a WAL segment as a server leaves it, of a system and a timeline, in
// which one transaction was committed; none with the zero time. It has what
// Lifeboat reads of one, and no server replays it.
func Segment(systemID string, timeline uint32, number uint64, size int, committed time.Time) ([]byte, error) {
	id, err := strconv.ParseUint(systemID, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("system identifier %q: %w", systemID, err)
	}
	order := binary.NativeEndian
	body := make([]byte, size)
	order.PutUint16(body[0:], 0xD110) // XLOG_PAGE_MAGIC of 15
	order.PutUint16(body[2:], 2)      // XLP_LONG_HEADER
	order.PutUint32(body[4:], timeline)
	order.PutUint64(body[8:], number*uint64(size))
	order.PutUint64(body[24:], id)
	order.PutUint32(body[32:], uint32(size))
	order.PutUint32(body[36:], 8192)
	if committed.IsZero() {
		return body, nil
	}
	const header, data = 24, 10 // of the record
	record := body[40 : 40+header+data]
	order.PutUint32(record, header+data)
	record[17] = 1 // RM_XACT_ID, operation XLOG_XACT_COMMIT
	record[header], record[header+1] = 255, 8
	order.PutUint64(record[header+2:], uint64(committed.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Microseconds()))
	table := crc32.MakeTable(crc32.Castagnoli)
	order.PutUint32(record[20:], crc32.Update(crc32.Update(0, table, record[header:]), table, record[:20]))
	return body, nil
}
