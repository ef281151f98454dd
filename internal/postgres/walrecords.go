package postgres

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// Moments are the times that a WAL segment tells. Zero times: it tells none.
type Moments struct {
	First time.Time // of the transactions that ended in it, committed or not: what a recovery to a time stops at
	Last  time.Time
	Begun time.Time // when its timeline was begun by a promotion, for the timeline asked for
}

// Layout of a WAL page and record, in the byte order of the server's host
// (access/xlog_internal.h, access/xlogrecord.h, access/xact.h; the same from 15 to 18).
const (
	walPage        = 8192 // XLOG_BLCKSZ as every distribution builds it
	shortHeader    = 24
	longHeader     = 40
	recordHeader   = 24
	recordCRC      = 20 // offset of the checksum, the last field of the header
	recordAlign    = 8
	pageHasLong    = 0x0002
	blockSize      = 36 // offset of the page size in a long header
	pageContinues  = 16 // offset of the rest's length
	managerXLOG    = 0
	managerXact    = 1
	xactOperation  = 0x70
	xactCommit     = 0x00
	xactAbort      = 0x20
	xactCommitted  = 0x30 // COMMIT PREPARED
	xactAborted    = 0x40 // ROLLBACK PREPARED
	xlogEndOfRec   = 0x90 // end of recovery: time, then the new timeline
	xlogOperation  = 0xF0
	shortData      = 255 // a record's own data, length of one byte
	longData       = 254 // the same, of four
	originData     = 253 // two bytes
	topTransaction = 252 // four bytes
)

// ReadMoments reads the times out of a segment, as far as its records are whole:
// a segment may end in the middle of one, or in what the server had not written
// yet. begun is the timeline whose beginning is looked for; 0: of none.
func ReadMoments(segment []byte, begun uint32) Moments {
	var m Moments
	order := binary.NativeEndian
	stream := payload(segment)
	for len(stream) >= recordHeader {
		length := int(order.Uint32(stream))
		if length < recordHeader || length > len(stream) || !sound(stream[:length]) {
			break
		}
		record := stream[:length]
		switch manager, info := record[17], record[16]; {
		case manager == managerXact && endsTransaction(info&xactOperation):
			if data := mainData(record); len(data) >= 8 {
				m.ended(timestamp(data))
			}
		case manager == managerXLOG && info&xlogOperation == xlogEndOfRec:
			if data := mainData(record); len(data) >= 12 && order.Uint32(data[8:]) == begun {
				m.Begun = timestamp(data)
			}
		}
		next := (length + recordAlign - 1) / recordAlign * recordAlign
		stream = stream[min(next, len(stream)):]
	}
	return m
}

func (m *Moments) ended(at time.Time) {
	if m.First.IsZero() || at.Before(m.First) {
		m.First = at
	}
	if at.After(m.Last) {
		m.Last = at
	}
}

// payload is what the pages hold behind their headers, from the first record that
// begins in the segment on.
func payload(segment []byte) []byte {
	order := binary.NativeEndian
	if len(segment) < longHeader || order.Uint32(segment[blockSize:]) != walPage {
		return nil
	}
	begin := order.Uint64(segment[8:])
	stream := make([]byte, 0, len(segment))
	for at := 0; at+walPage <= len(segment); at += walPage {
		page := segment[at : at+walPage]
		if order.Uint64(page[8:]) != begin+uint64(at) {
			break // of an older use of the file
		}
		size := shortHeader
		if order.Uint16(page[2:])&pageHasLong != 0 {
			size = longHeader
		}
		stream = append(stream, page[size:]...)
	}
	rest := int(order.Uint32(segment[pageContinues:])) // of a record that began in the segment before
	rest = (rest + recordAlign - 1) / recordAlign * recordAlign
	return stream[min(rest, len(stream)):]
}

// sound holds a record against its checksum: first the data, then the header
// before it (ValidXLogRecord).
func sound(record []byte) bool {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, record[recordHeader:])
	sum = crc32.Update(sum, table, record[:recordCRC])
	return sum == binary.NativeEndian.Uint32(record[recordCRC:])
}

func endsTransaction(operation byte) bool {
	return operation == xactCommit || operation == xactAbort || operation == xactCommitted || operation == xactAborted
}

// mainData is a record's own data. One that also has blocks has none that is
// looked for here.
func mainData(record []byte) []byte {
	for head := record[recordHeader:]; len(head) > 0; {
		var size, skip int
		switch head[0] {
		case shortData:
			if len(head) < 2 {
				return nil
			}
			size, skip = int(head[1]), 2
		case longData:
			if len(head) < 5 {
				return nil
			}
			size, skip = int(binary.NativeEndian.Uint32(head[1:])), 5
		case originData:
			head = head[min(3, len(head)):]
			continue
		case topTransaction:
			head = head[min(5, len(head)):]
			continue
		default:
			return nil
		}
		if skip+size > len(head) {
			return nil
		}
		return head[len(head)-size:]
	}
	return nil
}

// timestamp reads microseconds since 2000 (TimestampTz).
func timestamp(data []byte) time.Time {
	return time.UnixMicro(int64(binary.NativeEndian.Uint64(data)) + time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()).UTC()
}
