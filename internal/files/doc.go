// Package files turns a directory of files into a table and a stream, and says
// whether a restored directory equals them.
//
// [Capture] promises:
//
//   - The table is complete: every selected directory, file, symbolic and hard
//     link, with modes, owners, extended attributes and holes. Sockets, devices,
//     FIFOs and what other file systems hold are left out and counted.
//   - A file's content is one that the file had, whole, unless it is flagged: a
//     file that changes while it is read is read again, later, and flagged
//     [tree.FlagChanged] when it never holds still.
//   - What can't be read is a fault that names it; what is deleted meanwhile is
//     counted, and not in the table.
//   - The table passes [tree.Check]: no backup is made that a restore refuses.
//
// Changes are seen by size, mtime and ctime. A program that writes through a
// memory mapping may change a file without either for a while; such files
// (databases) want a backup of their own kind.
package files
