package postgres

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// pg_dump's custom format, as pg_backup_archiver.c and pg_backup_custom.c write it: a
// header, a table of contents, and then what tables and large objects hold, one
// after the other, each in blocks that a block of length 0 ends.
const (
	customMagic  = "PGDMP"
	customFormat = 1
	customOldest = 13 // minor version of what PostgreSQL 10 writes; the major one is 1
	customNewest = 16 // … and PostgreSQL 17 and 18
	customAt     = 2  // a place that is given, of something in a dump

	blockRows         = 1
	blockLargeObjects = 3
)

// errCustom is what is not as it is known: pg_restore may know better.
var errCustom = errors.New("it is not in a custom format that is known here")

// customItem is an entry of the table of contents.
type customItem struct {
	id   int
	what string // "TABLE DATA", "ENCODING", …
	name string // "public.users"
	sql  string // of a setting of sessions
	copy string // COPY statement of a table's rows
	data bool   // something of it follows the table of contents
}

// rows says whether an item is a table's rows.
func (i *customItem) rows() bool { return i.what == "TABLE DATA" }

// setting says whether an item is no object, but what sessions are told before others.
func (i *customItem) setting() bool {
	return i.what == "ENCODING" || i.what == "STDSTRINGS" || i.what == "SEARCHPATH"
}

// customReader reads a dump in custom format from its beginning to its end.
type customReader struct {
	from     *bufio.Reader
	kept     io.Writer // of all that is read by take, a copy; nil: none
	minor    int
	integers int // bytes of one
	offsets  int
	items    []*customItem       // settings, and those of which data follow
	byID     map[int]*customItem // those of which data follow
	others   []int               // of all that are no rows, in their order
}

// CustomKnown says whether a dump in custom format that begins so can be restored
// as it comes. CustomHead bytes tell it.
func CustomKnown(begin []byte) bool {
	return len(begin) >= CustomHead && string(begin[:5]) == customMagic && begin[5] == 1 && begin[6] >= customOldest && begin[6] <= customNewest &&
		begin[8] == 4 && begin[9] == 8 && begin[10] == customFormat
}

// CustomHead is how many bytes of a dump CustomKnown asks for.
const CustomHead = 11

// customBuffer holds what of a dump is looked at; most blocks are a row. A name or a
// statement that is looked at fits, too, but for absurd ones.
const customBuffer = 256 << 10

func newCustomReader(from io.Reader) *customReader {
	return &customReader{from: bufio.NewReaderSize(from, customBuffer), byID: map[int]*customItem{}}
}

// head reads header and table of contents. errCustom: nothing is known of what follows.
func (r *customReader) head() error {
	begin, err := r.from.Peek(CustomHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !CustomKnown(begin) {
		return errCustom
	}
	r.minor, r.integers, r.offsets = int(begin[6]), int(begin[8]), int(begin[9])
	if _, err := r.take(CustomHead); err != nil {
		return err
	}
	if err := r.uncompressed(); err != nil {
		return err
	}
	for range 7 { // when it was made
		if _, err := r.integer(); err != nil {
			return err
		}
	}
	for range 3 { // database, version of its server, version of pg_dump
		if _, err := r.text(); err != nil {
			return err
		}
	}
	count, err := r.integer()
	if err != nil {
		return err
	}
	for range count {
		item, err := r.item()
		if err != nil {
			return err
		}
		if item.data && (item.rows() && !strings.HasPrefix(item.copy, "COPY ") || r.byID[item.id] != nil) {
			return errCustom
		}
		r.add(item)
	}
	return nil
}

// add remembers what is asked for later: a dump may have a million of items.
func (r *customReader) add(item *customItem) {
	if item.data {
		r.byID[item.id] = item
	}
	if item.data || item.setting() {
		r.items = append(r.items, item)
	}
	if !item.rows() {
		r.others = append(r.others, item.id)
	}
}

// uncompressed reads how the blocks are compressed.
func (r *customReader) uncompressed() error {
	if r.minor >= 15 {
		how, err := r.take(1)
		if err == nil && how[0] != 0 {
			err = errCustom
		}
		return err
	}
	level, err := r.integer()
	if err == nil && level != 0 {
		err = errCustom
	}
	return err
}

// item reads an entry (WriteToc).
func (r *customReader) item() (*customItem, error) {
	item := new(customItem)
	var err error
	number := func() (n int) {
		if err == nil {
			n, err = r.integer()
		}
		return n
	}
	text := func() (s string) {
		if err == nil {
			s, err = r.text()
		}
		return s
	}
	skip := func() {
		if err == nil {
			err = r.skipText()
		}
	}
	item.id = number()
	item.data = number() != 0
	skip() // OID of its catalog
	skip() // OID
	item.name = text()
	item.what = text()
	number() // section
	if item.setting() {
		item.sql = text()
	} else {
		skip()
	}
	skip() // that drops it
	item.copy = text()
	if schema := text(); schema != "" {
		item.name = schema + "." + item.name
	}
	skip() // tablespace
	if r.minor >= 14 {
		skip() // access method
	}
	if r.minor >= 16 {
		number() // kind of relation
	}
	skip() // owner
	skip() // WITH OIDS
	for depends := text(); depends != ""; {
		depends = text()
	}
	if err != nil {
		return nil, err
	}
	where, err := r.take(1 + r.offsets) // a dump that was written to a pipe does not say
	if err == nil && where[0] == customAt {
		err = errCustom // that place is another one in what is kept
	}
	return item, err
}

// next is the item whose data comes next; io.EOF: there is none.
func (r *customReader) next() (*customItem, error) {
	kind, err := r.from.ReadByte()
	if err != nil {
		return nil, err
	}
	id, err := r.integer()
	if err != nil {
		return nil, err
	}
	item := r.byID[id]
	if item == nil || !item.data || kind != map[bool]byte{true: blockRows, false: blockLargeObjects}[item.rows()] {
		return nil, fmt.Errorf("data of kind %d belong to no entry %d: %w", kind, id, errCustom)
	}
	item.data = false // only once
	return item, nil
}

// begin writes to what is kept how the data of an item begin.
func (r *customReader) begin(item *customItem) error {
	head := append([]byte{blockLargeObjects}, make([]byte, 1+r.integers)...)
	for i := range r.integers {
		head[2+i] = byte(item.id >> (8 * i))
	}
	_, err := r.kept.Write(head)
	return err
}

// block is how many bytes follow of an item's data; 0: that was all.
func (r *customReader) block() (int, error) {
	n, err := r.integer()
	if err == nil && n < 0 {
		err = errCustom
	}
	return n, err
}

// missing names an item whose data did not come; nil: none.
func (r *customReader) missing() *customItem {
	for _, item := range r.items {
		if item.data {
			return item
		}
	}
	return nil
}

// take reads n bytes, at most customBuffer, which are valid until the next call of anything.
func (r *customReader) take(n int) ([]byte, error) {
	read, err := r.from.Peek(n)
	if err != nil {
		return nil, cut(err)
	}
	if _, err := r.from.Discard(n); err != nil {
		return nil, err
	}
	if r.kept != nil {
		_, err = r.kept.Write(read)
	}
	return read, err
}

// skip reads n bytes of which nothing is to be known, however many.
func (r *customReader) skip(n int) error {
	into := r.kept
	if into == nil {
		into = io.Discard
	}
	_, err := io.CopyN(into, r.from, int64(n))
	return cut(err)
}

// cut tells the end of a dump from the end of something in it.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// integer reads a sign and the bytes of a number, the least significant first (WriteInt).
func (r *customReader) integer() (int, error) {
	read, err := r.take(1 + r.integers)
	if err != nil {
		return 0, err
	}
	n := 0
	for i, b := range read[1:] {
		n |= int(b) << (8 * i)
	}
	if read[0] != 0 {
		n = -n
	}
	return n, nil
}

// text reads a string; there is none, or it is empty: "" (WriteStr).
func (r *customReader) text() (string, error) {
	n, err := r.integer()
	if err != nil || n <= 0 {
		return "", err
	}
	if n > customBuffer {
		return "", errCustom
	}
	read, err := r.take(n)
	return string(read), err
}

func (r *customReader) skipText() error {
	n, err := r.integer()
	if err != nil || n <= 0 {
		return err
	}
	return r.skip(n)
}
