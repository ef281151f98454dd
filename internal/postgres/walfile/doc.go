// Package walfile knows positions in the WAL and the names of its files. It needs
// nothing else, so that what PostgreSQL calls for each file starts at once. Package
// postgres has all of it, too, under the same names.
package walfile
