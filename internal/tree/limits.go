package tree

// Limits bound what a table may ask of a host. Zero values take the defaults.
type Limits struct {
	Entries int   // most entries; default 20 million
	Bytes   int64 // most bytes to write; default: unlimited, the caller's preflight knows the disk
	Ratio   int64 // most bytes of files per stored byte, counted past 1 GiB of files; default 100,000
}
