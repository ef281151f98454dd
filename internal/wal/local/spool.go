package local

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/postgres/walfile"
)

// What lies in a spool besides segments.
const (
	SpoolLock   = "ahead.lock" // held (flock) by whoever keeps ahead
	SpoolAsked  = "asked"      // the segment that was asked for last
	SpoolHas    = " taken"     // behind its name there: the recovery has got it
	SpoolFailed = ".failed"    // behind a segment's name: it did not come
	SumDigits   = 8            // of the checksum in a file's name
)

const spoolPatience = 5 * time.Second // that a segment which somebody is at gets

// Spool keeps, beside a pin, the segments that its recovery will ask for next. A
// file's name holds a checksum of its content: one that a crash left half written
// is never served. The folder goes with the pin's.
type Spool struct{ dir string }

// SpoolOf is the spool of the recovery whose pin that is. It is made on first use.
func SpoolOf(pinFile string) Spool {
	return Spool{dir: filepath.Join(filepath.Dir(pinFile), "wal-spool")}
}

// Dir is the spool's folder.
func (s Spool) Dir() string { return s.dir }

// Spooled is the name of a segment's file in the spool: its own, and the CRC-32C of
// its content. What a keyed MAC has proven is held against a crash alone here; who may
// write here may write what PostgreSQL reads, too.
func Spooled(name string, body []byte) string {
	return spooled(name, crc32.Checksum(body, castagnoli()))
}

func spooled(name string, sum uint32) string { return fmt.Sprintf("%s.%0*x", name, SumDigits, sum) }

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Take gives a segment out of the spool, whole or not at all, under the rules of
// Fetch. Without an error and not taken, it has to be fetched.
func (s Spool) Take(pin Pin, name, dst string) (taken bool, err error) {
	if !walfile.IsSegment(name) {
		return false, nil
	}
	if err := pin.Admits(name); err != nil {
		return false, err
	}
	for _, path := range s.holds(name) {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		taken := take(file, pin, name, path, dst)
		_ = file.Close() // read only
		if taken {
			return true, nil
		}
	}
	return false, nil
}

// take holds an open file against its names and moves it. What is not sound, or
// can't be brought to dst, is fetched, which says what is wrong.
func take(file *os.File, pin Pin, name, path, dst string) bool {
	checked, err := check(file, io.Discard, pin.SystemID, name)
	if err != nil || filepath.Base(path) != checked {
		return false
	}
	if os.Rename(path, dst) == nil {
		return true
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil { // pg_wal lies on another file system
		return false
	}
	return placeFrom(dst, func(into *os.File) error {
		copied, err := check(file, into, pin.SystemID, name)
		if err == nil && copied != checked {
			err = errors.New("it changed while it was copied")
		}
		return err
	}) == nil
}

// check copies a segment, holds it against its header, and gives its name in the spool.
func check(file io.Reader, into io.Writer, systemID, name string) (string, error) {
	sum, length, buffer := uint32(0), int64(0), make([]byte, 256<<10)
	var first []byte
	for {
		n, err := io.ReadFull(file, buffer)
		if first == nil {
			first = append([]byte{}, buffer[:min(n, longHeaderSize)]...)
		}
		sum, length = crc32.Update(sum, castagnoli(), buffer[:n]), length+int64(n)
		if _, err := into.Write(buffer[:n]); err != nil {
			return "", err
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return "", err
		}
	}
	found, err := Inspect(name, first, length)
	if err != nil {
		return "", err
	}
	if found.SystemID != systemID {
		return "", errors.New("it is of system " + strconv.Quote(found.SystemID))
	}
	return spooled(name, sum), nil
}

// holds lists what is in the spool of a segment.
func (s Spool) holds(name string) []string {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil
	}
	var paths []string
	for _, entry := range entries {
		sum, found := strings.CutPrefix(entry.Name(), name+".")
		if found && len(sum) == SumDigits && entry.Type().IsRegular() { // or it is still being written
			paths = append(paths, filepath.Join(s.dir, entry.Name()))
		}
	}
	return paths
}

// Await gives a segment as Take does and, while somebody keeps ahead in the spool,
// waits for one that is on its way, until it is known that it does not come.
// Without an error and not taken, it has to be fetched; kept says that nothing else has to be.
func (s Spool) Await(ctx context.Context, pin Pin, name, dst string) (taken, kept bool, err error) {
	var watch *Watch
	for began := time.Now(); ; {
		there := walfile.IsSegment(name) && len(s.holds(name)) > 0
		if there { // before it is gone, or it would be fetched anew
			s.note(name, true)
		}
		if taken, err = s.Take(pin, name, dst); taken || err != nil || !walfile.IsSegment(name) {
			return taken, false, err
		}
		if kept = s.held(); !kept || there { // one that is not sound, or can't be brought to dst, gets no better
			return false, kept, nil
		}
		s.note(name, false)
		if _, err := os.Lstat(filepath.Join(s.dir, name+SpoolFailed)); err == nil || time.Since(began) > spoolPatience || ctx.Err() != nil {
			return false, true, nil
		}
		if watch == nil { // what came before that is looked for once more
			watch = NewWatch(s.dir)
			defer watch.Close()
			continue
		}
		watch.Wait(ctx)
	}
}

// note leaves word of what was asked for. Without it, what was kept for the
// recovery stays as it is, and the next segment is fetched when it is asked for.
func (s Spool) note(name string, taken bool) {
	text := name
	if taken {
		text += SpoolHas
	}
	path := filepath.Join(s.dir, SpoolAsked)
	if was, err := os.ReadFile(path); err == nil && string(was) == text {
		return
	}
	_ = Place([]byte(text), path) // see above
}

// held says whether somebody keeps ahead in the spool.
func (s Spool) held() bool {
	lock, err := os.OpenFile(filepath.Join(s.dir, SpoolLock), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer lock.Close() // and what it locked
	return errors.Is(unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
