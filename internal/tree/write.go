package tree

import (
	"cmp"
	"math"
	"os"
	"path"
	"slices"

	"github.com/frende/lifeboat/internal/fault"
)

// Write puts the part of the stream that begins at off where it belongs, and
// records the chunk. Bytes between the files' contents (the headers of a tar
// stream), and contents that were taken over, are passed over. data is not kept. A chunk that is Done is not
// written again. Chunks must not overlap, and each must be the same bytes in
// every attempt.
//
// Errors: NoSpace; PathFailed, which can be tried again with the same chunk.
func (x *Extraction) Write(chunk int, off int64, data []byte) error {
	if chunk < 0 || int64(chunk) >= recordTaken || !x.settled {
		return fault.Newf(fault.InputInvalid, "write chunk into", x.c.Root, "chunk %d is out of range, or comes too early", chunk)
	}
	if x.Done(chunk) {
		return nil
	}
	end := off + int64(len(data))
	var written int64
	for i := x.firstSpan(off); i < len(x.spans) && x.spans[i].start < end; i++ {
		s := x.spans[i]
		from, to := max(off, s.start), min(end, s.start+s.size)
		if _, held := x.taken[s.entry]; held || from >= to {
			continue
		}
		if err := x.put(s, s.at+from-s.start, data[from-off:to-off]); err != nil {
			return err
		}
		written += to - from
	}
	return x.record(chunk, written)
}

// firstSpan finds the first span that may hold the byte at off. With shared
// ranges an earlier span may reach further than a later one, so all are looked at.
func (x *Extraction) firstSpan(off int64) int {
	if x.c.Shared {
		return 0
	}
	i, _ := slices.BinarySearchFunc(x.spans, off, func(s span, off int64) int { return cmp.Compare(s.start+s.size-1, off) })
	return i
}

func (x *Extraction) put(s span, at int64, data []byte) error {
	if int64(len(data)) == x.c.Entries[s.entry].Size { // the whole file: nobody else needs it open
		file, err := x.create(s.entry)
		if err != nil {
			return err
		}
		return x.pwrite(file, s.entry, at, data, file.Close)
	}
	file, err := x.files.acquire(s.entry)
	if err != nil {
		return err
	}
	return x.pwrite(file, s.entry, at, data, func() error { return x.files.release(s.entry) })
}

// writeBackFrom is the least that is worth a system call of its own.
const writeBackFrom = 128 << 10

func (x *Extraction) pwrite(file *os.File, entry int, at int64, data []byte, done func() error) error {
	_, err := file.WriteAt(data, at)
	if err == nil && len(data) >= writeBackFrom {
		startWriteBack(file, at, int64(len(data)))
	}
	if doneErr := done(); err == nil {
		err = doneErr
	}
	if err != nil {
		return writeFault("write file", path.Join(x.c.Root, x.c.Entries[entry].Path), err)
	}
	return nil
}

// record marks a chunk as written, first in the journal.
func (x *Extraction) record(chunk int, written int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, twice := x.done[chunk]; twice {
		return nil
	}
	if err := x.journal.add(uint32(chunk), written); err != nil {
		return err
	}
	x.done[chunk] = struct{}{}
	if x.written > math.MaxInt64-written {
		return fault.Newf(fault.InputInvalid, "write chunk into", x.c.Root, "more bytes than the tree holds")
	}
	x.written += written
	return nil
}
