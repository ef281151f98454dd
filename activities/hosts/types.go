package hosts

import (
	"time"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// LeftoversInput asks what recoveries left beside the directories of a system.
type LeftoversInput struct {
	System system.System `json:"system"`
}

// LeftoversResult says what may be removed, and what was looked at and is kept.
type LeftoversResult struct {
	Old     []Old         `json:"old,omitempty"`
	Staging []Staging     `json:"staging,omitempty"`
	Scratch []Staging     `json:"scratch,omitempty"` // of runs that ended and only looked at a backup
	Kept    []api.Cleaned `json:"kept,omitempty"`
}

// Old is a directory that a recovery replaced longer ago than it can be undone, or
// the journal of one that replaced nothing.
type Old struct {
	What      api.CleanedKind `json:"what,omitempty"` // "": a directory
	Component string          `json:"component"`
	Dir       string          `json:"dir"` // that is in its place now
	Run       string          `json:"run"`
	Path      string          `json:"path"`
	At        time.Time       `json:"at"` // when it was replaced
}

// Staging is a directory that a recovery filled and never put in place; the recovery has ended.
type Staging struct {
	Component system.Component `json:"component"`
	Run       string           `json:"run"`
	Path      string           `json:"path"`
}

// ExpireInput removes an old directory.
type ExpireInput struct {
	Dir string `json:"dir"`
	Run string `json:"run"`
}

// HoldKeptInput names the recovery that is taken back.
type HoldKeptInput struct {
	System     system.System `json:"system"`
	Of         string        `json:"of"`                   // its run ID
	Components []string      `json:"components,omitempty"` // IDs of those that it recovered, as far as that is known
	Run        string        `json:"run"`                  // who takes it back
}

// HoldKeptResult is what the recovery replaced, settings first.
type HoldKeptResult struct {
	Kept  []Kept   `json:"kept"`
	Notes []string `json:"notes,omitempty"`
}

// Kept is a directory that a recovery replaced, and that is still beside what it put in place.
type Kept struct {
	Component system.Component `json:"component"`
	Dir       string           `json:"dir"`
	Of        string           `json:"of"` // the recovery, as it stands in the names of directories
	Old       string           `json:"old"`
	At        time.Time        `json:"at"` // when it was replaced
}

// LetGoInput gives up what HoldKept holds.
type LetGoInput struct {
	Kept []Kept `json:"kept"`
	Run  string `json:"run"`
}
