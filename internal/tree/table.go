package tree

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/frende/lifeboat/internal/fault"
)

// tableVersion is the version of the table's format. A reader reads its own
// version and all older ones.
const tableVersion = 1

// Bounds of a table that is decoded, so that a forged one can't exhaust memory.
const (
	longestLine = 16 << 20
	mostEntries = 20_000_000
)

// header is the first line of a table, and trailer its last.
type (
	header struct {
		Table int `json:"table"`
	}
	trailer struct {
		End *int64 `json:"end"`
	}
)

// EncodeTable writes the entries as a table, in large pieces. The error is w's own.
func EncodeTable(w io.Writer, entries []Entry) error {
	out := bufio.NewWriterSize(w, 256<<10)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(header{Table: tableVersion}); err != nil {
		return err
	}
	for i := range entries {
		if err := lines.Encode(entries[i].line()); err != nil {
			return err
		}
	}
	count := int64(len(entries))
	if err := lines.Encode(trailer{End: &count}); err != nil {
		return err
	}
	return out.Flush()
}

// DecodeTable reads a whole table. A table that is cut, malformed or too large
// is an IntegrityError; one of a later version is FormatUnsupported. A fault of
// the reader is given back as it is.
func DecodeTable(r io.Reader) ([]Entry, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), longestLine)
	if !lines.Scan() {
		return nil, damaged(lines.Err(), "it is empty")
	}
	var first header
	if err := json.Unmarshal(lines.Bytes(), &first); err != nil || first.Table < 1 {
		return nil, damaged(err, "it has no header")
	}
	if first.Table > tableVersion {
		return nil, fault.Newf(fault.FormatUnsupported, "decode", "table of files", "version %d is newer than %d", first.Table, tableVersion)
	}
	var entries []Entry
	names := make(map[string]string)
	for lines.Scan() {
		if bytes.HasPrefix(lines.Bytes(), []byte(`{"end"`)) {
			return entries, checkEnd(lines, int64(len(entries)))
		}
		if len(entries) == mostEntries {
			return nil, damaged(nil, "it has too many entries")
		}
		var line wire
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, damaged(err, "a line is not an entry")
		}
		entry := line.entry()
		entry.Owner, entry.Group = intern(names, entry.Owner), intern(names, entry.Group)
		entries = append(entries, entry)
	}
	return nil, damaged(lines.Err(), "its end is missing")
}

func checkEnd(lines *bufio.Scanner, count int64) error {
	var last trailer
	if err := json.Unmarshal(lines.Bytes(), &last); err != nil || last.End == nil {
		return damaged(err, "its end is not readable")
	}
	if *last.End != count {
		return damaged(nil, "entries are missing")
	}
	if lines.Scan() {
		return damaged(nil, "it goes on after its end")
	}
	if err := lines.Err(); err != nil {
		return damaged(err, "it can't be read to its end")
	}
	return nil
}

// damaged names what is wrong with a table. A fault of the reader below says
// more than this place can, and is kept.
func damaged(cause error, reason string) error {
	if fault.KindOf(cause) != "" {
		return cause
	}
	if cause != nil {
		return fault.Newf(fault.IntegrityError, "decode", "table of files", "%s: %w", reason, cause)
	}
	return fault.New(fault.IntegrityError, "decode", "table of files", errors.New(reason))
}

// intern keeps one copy of a name that many entries share.
func intern(names map[string]string, name string) string {
	if name == "" {
		return ""
	}
	if known, ok := names[name]; ok {
		return known
	}
	names[name] = name
	return name
}
