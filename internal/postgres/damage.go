package postgres

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// DamagedFile is a file in which the server found pages with wrong checksums.
type DamagedFile struct {
	Path   string  `json:"path"`   // in the data directory, or in a tablespace: "base/5/16384"
	Blocks []int64 `json:"blocks"` // of the file, from 0: the first few, as the server tells no more
	Pages  int     `json:"pages"`  // how many there are
}

// What PostgreSQL says of such pages while it sends a base backup (its source,
// src/backend/backup/basebackup.c, in the language of lc_messages "C").
var (
	damagedPage  = regexp.MustCompile(`^checksum verification failed in file "(.+)", block (\d+): calculated`)
	damagedTotal = regexp.MustCompile(`^file "(.+)" has a total of (\d+) checksum verification failure`)
)

// damage gathers what the server says of damaged pages.
type damage struct{ files []DamagedFile }

// hear takes a warning, and tells whether it was of a damaged page.
func (d *damage) hear(message string) bool {
	if found := damagedPage.FindStringSubmatch(message); found != nil {
		block, err := strconv.ParseInt(found[2], 10, 64)
		if err != nil {
			return false
		}
		file := d.of(found[1])
		file.Blocks = append(file.Blocks, block)
		file.Pages = max(file.Pages, len(file.Blocks))
		return true
	}
	if found := damagedTotal.FindStringSubmatch(message); found != nil {
		pages, err := strconv.Atoi(found[2])
		if err != nil {
			return false
		}
		file := d.of(found[1])
		file.Pages = max(file.Pages, pages)
		return true
	}
	return false
}

func (d *damage) of(path string) *DamagedFile {
	path = strings.TrimPrefix(path, "./")
	at := slices.IndexFunc(d.files, func(f DamagedFile) bool { return f.Path == path })
	if at < 0 {
		at = len(d.files)
		d.files = append(d.files, DamagedFile{Path: path})
	}
	return &d.files[at]
}

// String names the file and its blocks.
func (f DamagedFile) String() string {
	blocks := make([]string, len(f.Blocks))
	for i, block := range f.Blocks {
		blocks[i] = strconv.FormatInt(block, 10)
	}
	word := "block "
	if f.Pages > 1 {
		word = "blocks "
	}
	text := f.Path + " " + word + strings.Join(blocks, ", ")
	if more := f.Pages - len(f.Blocks); more > 0 {
		text += " and " + strconv.Itoa(more) + " more"
	}
	return text
}
