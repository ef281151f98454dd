package wal

import "github.com/frende/lifeboat/internal/wal/local"

// MarkerName is the file in a data directory that says which incarnation of the
// cluster it is; see local.MarkerName.
const MarkerName = local.MarkerName

// Pin says which WAL a recovery replays; see local.Pin.
type Pin = local.Pin

// Hole is a segment that is missing although later ones are there.
type Hole = local.Hole

// Branch is a timeline on the way of a recovery, and where it begins.
type Branch = local.Branch

// Spool keeps, beside a pin, the segments that its recovery will ask for next; see local.Spool.
type Spool = local.Spool

// ReadPin is local.ReadPin.
func ReadPin(path string) (Pin, error) { return local.ReadPin(path) }

// SpoolOf is local.SpoolOf.
func SpoolOf(pinFile string) Spool { return local.SpoolOf(pinFile) }

// HomeOf is local.HomeOf.
func HomeOf(dataDir string) (string, error) { return local.HomeOf(dataDir) }
