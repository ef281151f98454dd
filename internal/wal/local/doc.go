// Package local is what lies on a server's own disk of its WAL archive: the pin
// that a recovery follows, the spool of what it asks for next, and where a data
// directory archives to. It reaches no store and needs little, so that what
// PostgreSQL calls for each file starts at once. Package wal has all of it, too.
//
// It promises: a file is taken out of a spool whole or not at all, under the rules
// of wal.Archive.Fetch; everything else is left to the caller, who fetches it.
package local
