package postgres

import (
	"bytes"
	"io"
	"os"
	"regexp"

	"github.com/frende/lifeboat/internal/fault"
)

// longestWords bounds what is read of a log for the words that a server ended with.
const longestWords = 16 << 10

var (
	fatal       = regexp.MustCompile(`(?m)^.*(?:FATAL|PANIC):  (.*)$`)
	libraryGone = regexp.MustCompile(`^could not (?:access file|load library) "([^"]*)"`)
)

// lastWords is what a server that ended by itself said last, from this place in its log
// on; "" when it said nothing. What it told those who came too early is left out.
func lastWords(path string, from int64) string {
	log, err := os.Open(path)
	if err != nil {
		return "" // the log is told of, and whoever reads it sees why
	}
	defer log.Close()
	if info, err := log.Stat(); err == nil {
		from = max(from, info.Size()-longestWords)
	}
	text, err := io.ReadAll(io.NewSectionReader(log, from, longestWords))
	if err != nil {
		return ""
	}
	said := ""
	for _, match := range fatal.FindAllSubmatch(text, -1) {
		if !bytes.HasPrefix(match[1], []byte("the database system is ")) {
			said = string(match[1])
		}
	}
	return said
}

// hopeless names what no further start of the staged server mends: a library that the
// source loads and that this host does not have.
func (i *Instance) hopeless() error {
	missing := libraryGone.FindStringSubmatch(lastWords(i.LogFile(), i.logFrom))
	if missing == nil {
		return nil
	}
	return fault.Newf(fault.PrerequisiteMissing, "start", i.String(), "could not access file %q: the source loads this library (shared_preload_libraries), and this host does not have it", missing[1]).
		WithHint("install the extension's package on this host (contrib's are in postgresql-contrib), and begin again; production was not touched")
}
