package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/frende/lifeboat/internal/fault"
)

// SalvageConfig says whose WAL is saved, and for whom.
type SalvageConfig struct {
	From        uint64               // number of the first segment that the archive lacks
	At          func(uint64) Segment // the segment of a number on the recovery's way
	Histories   []uint32             // timelines on it whose history goes along, where there is one
	SegmentSize int64
	SystemID    string
	DataDir     string // of the old server, which must not run; may be missing
	Staged      string // data directory of the staged server, which may run
	Owner       Account
}

// Salvage copies the WAL that the archive lacks from the old data directory to
// the staged one, where the server finds it after the archive has no more. It
// takes segments as long as they follow each other and say of themselves that
// they belong to this cluster, timeline and place: the file names of recycled
// segments lie. It gives their names; it may be called again.
func Salvage(ctx context.Context, c SalvageConfig) ([]string, error) {
	for _, timeline := range c.Histories {
		name := HistoryName(timeline)
		info, err := os.Stat(filepath.Join(c.DataDir, "pg_wal", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, pathFault("salvage", name, err)
		}
		if err := c.copy(name, info.Size()); err != nil {
			return nil, err
		}
	}
	var saved []string
	for number := c.From; ; number++ {
		if err := ctx.Err(); err != nil {
			return saved, err
		}
		segment := c.At(number)
		name := segment.Name(c.SegmentSize)
		ours, err := c.belongs(filepath.Join(c.DataDir, "pg_wal", name), segment)
		if err != nil || !ours {
			return saved, err
		}
		if err := c.copy(name, c.SegmentSize); err != nil {
			return saved, err
		}
		saved = append(saved, name)
	}
}

// Offsets in the long header of a segment's first page (xlog_internal.h,
// XLogLongPageHeaderData). They are in the byte order of the host.
const (
	headerTimeline = 4
	headerAddress  = 8
	headerSystemID = 24
	headerSize     = 32
	headerLength   = 40
)

// belongs reads the header of a segment's first page. It may name an older
// timeline: a timeline's first segment begins as a copy of the one before the fork.
func (c SalvageConfig) belongs(path string, segment Segment) (bool, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, pathFault("salvage", path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return false, pathFault("salvage", path, err)
	}
	header := make([]byte, headerLength)
	if _, err := io.ReadFull(file, header); errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return false, nil
	} else if err != nil {
		return false, pathFault("salvage", path, err)
	}
	order := binary.NativeEndian
	timeline := order.Uint32(header[headerTimeline:])
	return info.Size() == c.SegmentSize && timeline > 0 && timeline <= segment.Timeline &&
		LSN(order.Uint64(header[headerAddress:])) == segment.Start(c.SegmentSize) &&
		strconv.FormatUint(order.Uint64(header[headerSystemID:]), 10) == c.SystemID &&
		int64(order.Uint32(header[headerSize:])) == c.SegmentSize, nil
}

// copy puts a file in the staged pg_wal, whole or not at all.
func (c SalvageConfig) copy(name string, size int64) (err error) {
	const op = "salvage"
	source, target := filepath.Join(c.DataDir, "pg_wal", name), filepath.Join(c.Staged, "pg_wal", name)
	from, err := os.Open(source)
	if err != nil {
		return pathFault(op, source, err)
	}
	defer from.Close()
	temporary := target + ".lifeboat"
	// What an attempt that was killed left, or what the account that owns the
	// directory planted there: a link would lead this process's rights elsewhere.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pathFault(op, target, err)
	}
	into, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return pathFault(op, target, err)
	}
	n, err := io.Copy(into, from)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	err = errors.Join(err, c.Owner.ownFile(into), into.Sync(), into.Close())
	if err == nil {
		err = os.Rename(temporary, target)
	}
	if err != nil {
		return fault.New(pathKind(err), op, source, errors.Join(err, os.Remove(temporary)))
	}
	return syncDir(filepath.Dir(target))
}

func pathKind(err error) fault.Kind {
	if errors.Is(err, errNoSpace) {
		return fault.NoSpace
	}
	return fault.PathFailed
}
