// Package tree is a captured directory tree: a table that lists every entry,
// and a stream of bytes in which the contents of its files lie at known places.
//
// The table is JSON lines ([EncodeTable], [DecodeTable]): a header, one line per
// entry, and an end line with their count, so that a cut table is seen. The
// stream can be anything whose ranges the table names: a plain concatenation of
// files, or the tar stream that PostgreSQL sends.
//
// [Extraction] puts a tree on disk. It promises:
//
//   - Nothing is created before the whole table was found harmless: no absolute
//     path, no "..", no entry below a symbolic link or a file, no hard link to
//     anything but a file of the same tree, no device, FIFO or socket, no bomb.
//     All else is a HostileArchive.
//   - Everything is created through [os.Root] in a staging directory that was
//     empty or that an earlier attempt of the same extraction owns.
//   - Contents are written by several goroutines at once, in any order.
//   - What a killed attempt wrote is not written again: a journal says which
//     chunks are in place. It counts only under the same boot of the machine,
//     the same backup and the same table; else the staging directory is emptied.
//   - After [Extraction.Finish] every file and directory has its size, mode,
//     owner, times and attributes, and has reached the disk.
//
// The package needs Linux: sparse files, extended attributes and syncfs.
package tree
