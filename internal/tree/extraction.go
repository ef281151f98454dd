package tree

import (
	"context"
)

// Config says what is extracted, and where.
type Config struct {
	Root    string  // staging directory, absolute; created when missing
	Entries []Entry // the whole table; not changed, and not to be changed
	Stream  int64   // length of the stream, when known: no content may lie past it
	Backup  string  // key of the backup; a journal of another backup does not count
	Journal string  // absolute path of the progress journal, outside Root; a file system of its own is fine
	Limits  Limits  // zero values: defaults
	Owner   Owner   // nil: OwnerByName
	Last    string  // path of a File that is put in place after all else is on disk, e.g. global/pg_control
	Shared  bool    // whether files may share ranges of the stream
	Open    int     // files kept open at once; default 256
}

// Extraction puts one tree on disk. Write may be called by many goroutines at
// once; everything else is called by one.
type Extraction struct{}

// NewExtraction checks the whole table, then makes the staging directory ready.
func NewExtraction(c Config) (*Extraction, error) { return &Extraction{}, nil }

// Done says whether an earlier attempt, or this one, has written the chunk.
func (x *Extraction) Done(chunk int) bool { return false }

// Write puts the part of the stream that begins at off where it belongs.
func (x *Extraction) Write(chunk int, off int64, data []byte) error { return nil }

// Finish completes the tree.
func (x *Extraction) Finish(ctx context.Context) error { return nil }

// Resumed is how many bytes of contents an earlier attempt had written.
func (x *Extraction) Resumed() int64 { return 0 }

// Close gives up what the extraction holds open; what was written stays.
func (x *Extraction) Close() error { return nil }
