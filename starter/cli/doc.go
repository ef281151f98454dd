// Package cli is the lifeboat command: it reads the command line and the
// configuration, speaks to Temporal and to the store, and shows what they say.
//
// It promises that a command line that is not understood does nothing, that an
// error ends as one line "lifeboat: …" and a line "HINT: …" on stderr with the
// exit code of its fault, and that with --json stdout holds JSON alone. wal-push and
// wal-fetch keep PostgreSQL's contracts instead: 0 or 1; 0, 1 past the pinned end, and
// 126 for all else.
package cli
