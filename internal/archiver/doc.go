// Package archiver lets a worker push WAL for PostgreSQL's archive_command: the
// worker holds the connections, the keys and the memory, and looks ahead, and
// lifeboat wal-push asks it at a Unix socket.
//
// It promises:
//
//   - The worker says that a file is in the store only when wal.Ahead does. Everything
//     else is an error, after which the caller (package ask) pushes the file itself.
//   - The socket answers the owner of the data directory, root and the worker's own
//     account, and nobody else; package ask believes the same accounts, and nobody else.
//   - What goes over the socket is a name and what tells which archive and which
//     directory are meant. No secret does, and no byte of WAL.
package archiver
