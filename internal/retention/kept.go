package retention

import "time"

// Reason says why something is kept. The words are part of the public face.
type Reason string

// Reasons.
const (
	Younger           Reason = "younger"            // than the retention
	Anchor            Reason = "anchor"             // the newest proven one before the retention began: points within it need it
	NewerThanAnchor   Reason = "newer than anchor"  //
	LastProven        Reason = "last proven"        // one of the two proven backups that always stay
	Held              Reason = "held"               // by a person
	Unproven          Reason = "no anchor"          // nothing older than the retention is proven: nothing goes
	ProofStale        Reason = "proof stale"        // nothing was proven of late: nothing goes
	TooMuch           Reason = "too much"           // more would go than may in one run
	NextRun           Reason = "next run"           // a plan is full
	ReplicaIncomplete Reason = "replica incomplete" // the other store does not hold it whole
	InPrimary         Reason = "in primary"         // of the replica: it goes after the primary's
	Locked            Reason = "object lock"        //
	Denied            Reason = "deletion denied"    // the store refused
	Needed            Reason = "needed"             // objects and WAL that kept backups need
	NoBase            Reason = "no base backup"     // WAL of which nobody knows from where on it is needed
	Unconfigured      Reason = "not configured"     // nobody said how long it is kept
	BeingWritten      Reason = "being written"      //
	Interrupted       Reason = "interrupted"        // it goes with the next run
)

// What an entry is about.
type What string

// Kinds of entries.
const (
	Backup  What = "backup"
	Objects What = "objects" // of a removed backup that others need
	Remains What = "remains" // of a backup whose manifest is gone
	WAL     What = "WAL"
)

// Entry is something that goes or is kept: one backup, or a row of them or of WAL
// segments that share a reason.
type Entry struct {
	Store     string    `json:"store"`               // as configured: "primary"
	Component string    `json:"component,omitempty"` // "database/frende"
	What      What      `json:"what"`
	First     string    `json:"first"`          // key of a backup, or name of a segment behind its folder
	Last      string    `json:"last,omitempty"` // of a row
	Count     int64     `json:"count"`
	Bytes     int64     `json:"bytes"`            // as stored; of what goes, those that are given back
	Reason    Reason    `json:"reason,omitempty"` // "": it goes
	Why       string    `json:"why"`
	Until     time.Time `json:"until,omitzero"` // when this reason ends; zero: nobody knows
}

// rowable reasons are told once for a row of neighbours.
func (r Reason) rowable() bool {
	switch r {
	case Held, Anchor, LastProven, Locked, Denied, Interrupted, BeingWritten:
		return false
	}
	return true
}

// rows joins neighbours that are kept for the same reason.
func rows(all []Entry) []Entry {
	joined := []Entry{}
	for _, one := range all {
		if n := len(joined) - 1; n >= 0 && one.Reason != "" && one.Reason.rowable() && joined[n].Store == one.Store &&
			joined[n].Component == one.Component && joined[n].What == one.What && joined[n].Reason == one.Reason {
			row := &joined[n]
			row.Last = one.First
			if one.Last != "" {
				row.Last = one.Last
			}
			row.Count += one.Count
			row.Bytes += one.Bytes
			if one.Until.After(row.Until) && !row.Until.IsZero() {
				row.Until = one.Until // when the last of the row is free
			}
			continue
		}
		joined = append(joined, one)
	}
	return joined
}
