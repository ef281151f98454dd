// Package wal is the archive of a PostgreSQL cluster's write-ahead log in a
// vault: what archive_command pushes, what restore_command fetches, and how far
// a recovery can get with it.
//
// It promises:
//
//   - A segment is held against its own header, against the data directory it
//     comes from and against the archive's incarnation before anything is sent.
//   - Pushing the same file again succeeds; a different file of the same name is
//     a WALConflict. WAL that is not accepted stays with the server, which keeps
//     it and tries again.
//   - A directory that is a copy of the one that archives, or that was left
//     behind by a cut-over, is held back (WALHeld): only Claim, at a cut-over,
//     makes another directory the one that archives.
//   - A recovery follows a Pin: one timeline and an unbroken row of segments that
//     were there when it was made. Fetch says "end" (WALEnd, exit code 1) only
//     past that pin; everything else that goes wrong is exit code 126, at which
//     PostgreSQL stops instead of going on with less.
//   - What is pushed or fetched before PostgreSQL asks for it (Ahead, Spool) never
//     changes what it is told.
//
// An archive lies at wal/<cluster>/<system-identifier>/. A segment, and its
// .partial, .backup and .history, lie in the folder of their timeline;
// incarnations lie in incarnation/<n>.
package wal
