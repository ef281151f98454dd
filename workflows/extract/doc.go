// Package extract takes single tables, or one database, out of a base backup and
// the WAL behind it, into a file: ExtractDatabase. Production is not touched, and
// nothing but the file is left behind.
package extract
