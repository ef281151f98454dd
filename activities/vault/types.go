package vault

import "github.com/frende/lifeboat/internal/system"

// VerifyInput names a backup to read back.
type VerifyInput struct {
	System system.System `json:"system"`
	Key    string        `json:"key"`
}

// VerifyResult says what was read and authenticated: proof level L1.
type VerifyResult struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// Moved says what the step moved.
func (r VerifyResult) Moved() (direction string, bytes int64) { return "verify", r.Bytes }

// ReplicateInput names the store whose replica is brought up to date; empty: the primary.
type ReplicateInput struct {
	System system.System `json:"system"`
	Store  string        `json:"store,omitempty"`
}

// ReplicateResult says what was copied.
type ReplicateResult struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
	Present int64  `json:"present"` // objects that were there already
}

// Moved says what the step moved.
func (r ReplicateResult) Moved() (direction string, bytes int64) { return "replicate", r.Bytes }

// Progress is the heartbeat of both, in bytes. Total is 0 while it is not known.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}
