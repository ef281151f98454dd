package postgres

import (
	"path"
	"sort"

	"github.com/frende/lifeboat/internal/tree"
)

// TarImage is a tar stream of the server, as its table and the files that lie elsewhere
// make it up again: headers as the server writes them (src/port/tar.c), contents, and
// zeros. It may differ from the stream that was backed up, when another version writes
// other headers: whoever reads it compares.
type TarImage struct {
	entries []tree.Entry
	starts  []int64 // of each entry's header
	end     int64   // of the last entry
}

// NewTarImage lays out the entries of a stream in its order; false: they do not follow
// each other as in one. The root, which the server leaves out, is no part of it.
func NewTarImage(entries []tree.Entry) (*TarImage, bool) {
	t := &TarImage{entries: entries}
	for _, entry := range entries {
		if entry.Path == "." {
			t.entries = entries[:len(t.starts)] // it was added, behind all others
			break
		}
		if entry.Sparse() || entry.Kind == tree.File && entry.Offset != t.end+tarBlock {
			return nil, false
		}
		t.starts = append(t.starts, t.end)
		t.end += tarBlock
		if entry.Kind == tree.File {
			t.end = ContentEnd(entry)
		}
	}
	return t, len(t.starts) == len(t.entries)
}

// Entries gives the first entry that a part of the stream has something of, and the
// one behind the last.
func (t *TarImage) Entries(from, to int64) (first, end int) {
	first = max(0, sort.Search(len(t.starts), func(i int) bool { return t.starts[i] > from })-1)
	return first, sort.Search(len(t.starts), func(i int) bool { return t.starts[i] >= to })
}

// Read fills dst with the part of the stream that begins at offset. content is asked for
// parts of files' contents, by the place of the entry; what it does not have, the stream has not.
func (t *TarImage) Read(offset int64, dst []byte, content func(entry int, at int64, dst []byte) bool) bool {
	clear(dst) // paddings, and what follows the last entry
	to := offset + int64(len(dst))
	first, end := t.Entries(offset, to)
	for i := first; i < end; i++ {
		entry := t.entries[i]
		if start := t.starts[i]; start+tarBlock > offset {
			header := tarHeader(entry)
			copy(dst[max(0, start-offset):], header[max(0, offset-start):])
		}
		if entry.Kind != tree.File {
			continue
		}
		from, until := max(offset, entry.Offset), min(to, entry.Offset+entry.Size)
		if from < until && !content(i, from-entry.Offset, dst[from-offset:until-offset]) {
			return false
		}
	}
	return true
}

// tarHeader is the header of an entry as the server writes it.
func tarHeader(entry tree.Entry) (h [tarBlock]byte) {
	name, kind := entry.Path, byte('0')
	switch entry.Kind {
	case tree.Dir:
		name, kind = path.Clean(name)+"/", '5'
	case tree.Symlink:
		name, kind = path.Clean(name)+"/", '2' // the server has links to directories alone
	}
	copy(h[0:99], name)
	tarNumber(h[100:108], uint64(entry.Mode))
	tarNumber(h[108:116], uint64(entry.UID))
	tarNumber(h[116:124], uint64(entry.GID))
	tarNumber(h[124:136], uint64(entry.Size))
	tarNumber(h[136:148], uint64(entry.ModTime.Unix()))
	h[156] = kind
	copy(h[157:256], entry.Link)
	copy(h[257:265], "ustar\x0000")
	copy(h[265:296], entry.Owner)
	copy(h[297:328], entry.Group)
	tarNumber(h[329:337], 0)
	tarNumber(h[337:345], 0)
	sum := uint64(8 * ' ')
	for _, b := range h {
		sum += uint64(b)
	}
	tarNumber(h[148:156], sum)
	return h
}

// tarNumber is the server's print_tar_number: octal digits and a space, or base 256
// behind a mark.
func tarNumber(field []byte, n uint64) {
	if last := len(field) - 1; n < 1<<(3*last) {
		field[last] = ' '
		for i := last - 1; i >= 0; i-- {
			field[i] = '0' + byte(n&7)
			n >>= 3
		}
		return
	}
	field[0] = 0x80
	for i := len(field) - 1; i > 0; i-- {
		field[i] = byte(n)
		n >>= 8
	}
}
