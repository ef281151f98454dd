package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/tree"
)

const tarBlock = 512

// tarIndex reads the headers of a tar stream that passes by, and remembers
// where each content lies. It never copies contents.
//
// It knows what the server's backup writes (ustar without extensions; sizes in
// octal, or in base 256 from 8 GiB on) and refuses all else: guessing at a
// header would put files in wrong places.
type tarIndex struct {
	entries []tree.Entry
	off     int64 // of the next byte
	skip    int64 // bytes of content and padding still to pass
	header  [tarBlock]byte
	filled  int
	ended   bool
}

// take takes the next bytes of the stream, up to where a header or a content
// ends, and gives how many those are.
func (t *tarIndex) take(p []byte) (int, error) {
	if t.skip > 0 {
		n := min(t.skip, int64(len(p)))
		t.skip -= n
		t.off += n
		return int(n), nil
	}
	n := copy(t.header[t.filled:], p)
	t.filled += n
	t.off += int64(n)
	if t.filled < tarBlock {
		return n, nil
	}
	t.filled = 0
	return n, t.read()
}

// ContentEnd is where the content of a file ends in a tar stream, with its padding.
func ContentEnd(entry tree.Entry) int64 {
	return entry.Offset + (entry.Size+tarBlock-1)/tarBlock*tarBlock
}

// content gives the file whose content comes next, if one does.
func (t *tarIndex) content() (tree.Entry, bool) {
	if n := len(t.entries); n > 0 && t.skip > 0 && t.entries[n-1].Offset == t.off {
		return t.entries[n-1], true
	}
	return tree.Entry{}, false
}

// finish says whether the stream ended where a tar stream may.
func (t *tarIndex) finish() error {
	if t.skip > 0 || t.filled > 0 || !t.ended {
		return errors.New("tar stream ends in the middle")
	}
	return nil
}

// read takes the header that is complete now.
func (t *tarIndex) read() error {
	h := t.header[:]
	if len(bytes.Trim(h, "\x00")) == 0 {
		t.ended = true
		return nil
	}
	if t.ended {
		return errors.New("tar stream goes on after its end")
	}
	if err := checkSum(h); err != nil {
		return err
	}
	name := text(h[0:100])
	if prefix := text(h[345:500]); prefix != "" {
		name = prefix + "/" + name
	}
	entry := tree.Entry{Path: path.Clean(name), Owner: text(h[265:297]), Group: text(h[297:329])}
	fields := []struct {
		into *int64
		raw  []byte
	}{{new(int64), h[100:108]}, {new(int64), h[108:116]}, {new(int64), h[116:124]}, {&entry.Size, h[124:136]}, {new(int64), h[136:148]}}
	for _, field := range fields {
		n, err := number(field.raw)
		if err != nil {
			return fmt.Errorf("tar header of %s: %w", entry.Path, err)
		}
		*field.into = n
	}
	entry.Mode = uint32(*fields[0].into) & 0o7777
	entry.UID, entry.GID = int(*fields[1].into), int(*fields[2].into)
	entry.ModTime = time.Unix(*fields[4].into, 0).UTC()
	switch kind := h[156]; kind {
	case '0', 0:
		entry.Kind, entry.Offset = tree.File, t.off
		t.skip = ContentEnd(entry) - t.off
	case '2':
		entry.Kind, entry.Link, entry.Size = tree.Symlink, text(h[157:257]), 0
	case '5':
		entry.Kind, entry.Size = tree.Dir, 0
	default:
		return fmt.Errorf("tar header of %s: unknown type %q", entry.Path, kind)
	}
	t.entries = append(t.entries, entry)
	return nil
}

// checkSum compares the header's sum with its bytes (POSIX.1-1988 ustar).
func checkSum(h []byte) error {
	want, err := number(h[148:156])
	if err != nil {
		return fmt.Errorf("tar header: %w", err)
	}
	sum := int64(8 * ' ')
	for i, b := range h {
		if i < 148 || i >= 156 {
			sum += int64(b)
		}
	}
	if sum != want {
		return errors.New("tar header has a wrong sum")
	}
	return nil
}

// number reads octal digits, or a big-endian number marked by its first byte.
func number(field []byte) (int64, error) {
	if field[0] == 0x80 {
		var n uint64
		for _, b := range field[1:] {
			if n>>55 != 0 {
				return 0, errors.New("number is too large")
			}
			n = n<<8 | uint64(b)
		}
		return int64(n), nil
	}
	digits := strings.Trim(string(field), " \x00")
	if digits == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(digits, 8, 63)
	if err != nil {
		return 0, errors.New("number is not octal")
	}
	return int64(n), nil
}

// text reads a string that ends with a zero byte or with its field.
func text(field []byte) string {
	if end := bytes.IndexByte(field, 0); end >= 0 {
		field = field[:end]
	}
	return string(field)
}
