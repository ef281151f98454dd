// Package archiver lets a worker push WAL for PostgreSQL's archive_command: the
// worker holds the connections, the keys and the memory, and looks ahead, and
// lifeboat wal-push asks it at a Unix socket.
//
// It promises:
//
//   - Ask gives nil only when the worker said that the file is in the store, and
//     the worker says so only when wal.Ahead does. Everything else, a worker that
//     is down, hangs, or protects something else included, is an error, after
//     which the caller pushes the file itself.
//   - The socket answers the owner of the data directory, root and the worker's own
//     account, and nobody else; Ask believes the same accounts, and nobody else.
//   - What goes over the socket is a name and what tells which archive and which
//     directory are meant. No secret does, and no byte of WAL.
package archiver
