package recovery

import (
	"time"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// ComponentInput is what a coordinator gives to each child.
type ComponentInput struct {
	System    system.System    `json:"system"` // pinned
	Target    system.Target    `json:"target"`
	Component system.Component `json:"component"`
	Backup    string           `json:"backup,omitempty"` // key; "": the newest complete one
	Run       string           `json:"run"`              // the recovery's name, fit for a directory
	Since     time.Time        `json:"since"`            // the disaster, or the start
	By        string           `json:"by,omitempty"`

	SearchAttributes bool `json:"search_attributes,omitempty"` // the namespace has all that a run sets
}

// Report is what a child signals to its coordinator: steps that changed, or a gate it reached.
type Report struct {
	Component string                `json:"component"`
	Steps     []api.Step            `json:"steps,omitempty"`
	Gate      api.Gate              `json:"gate,omitempty"`
	Outcome   *api.ComponentOutcome `json:"outcome,omitempty"` // as known so far, with a gate
}

// Proceed is what a coordinator signals to a child: the gate that it may pass now.
type Proceed struct {
	Gate api.Gate `json:"gate"`
}
