package recovery

import (
	"crypto/rand" //nolint:depguard // only within workflow.SideEffect
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// ComponentInput is what a coordinator gives to each child.
type ComponentInput struct {
	System    system.System    `json:"system"` // pinned
	Target    system.Target    `json:"target"`
	Component system.Component `json:"component"`
	Backup    string           `json:"backup,omitempty"` // key; "": the newest complete one that leads to the point
	To        plan.Point       `json:"to,omitzero"`      // zero: the newest
	Run       string           `json:"run"`              // the recovery's name, fit for a directory
	Since     time.Time        `json:"since"`            // the disaster, or the start
	By        string           `json:"by,omitempty"`
	Token     string           `json:"token,omitempty"`    // that signals to and from the coordinator carry; "": a run of before they did
	Reference api.Reference    `json:"reference,omitzero"` // what a restored database is held against

	SearchAttributes bool `json:"search_attributes,omitempty"` // the namespace has all that a run sets
}

// Report is what a child signals to its coordinator: steps that changed, or a gate it reached.
type Report struct {
	Component string                `json:"component"`
	Steps     []api.Step            `json:"steps,omitempty"`
	Gate      api.Gate              `json:"gate,omitempty"`
	Outcome   *api.ComponentOutcome `json:"outcome,omitempty"` // as known so far, with a gate
	Token     string                `json:"token,omitempty"`   // the child's, or it is not its report
}

// Proceed is what a coordinator signals to a child: the gate that it may pass now.
type Proceed struct {
	Gate  api.Gate `json:"gate"`
	Token string   `json:"token,omitempty"`
}

// newToken makes what tells the signals between a coordinator and one child from
// anybody else's: whoever may signal a workflow would open its gates, or say that
// one is reached, with the gate's name alone.
func newToken(ctx workflow.Context) (string, error) {
	if workflow.GetVersion(ctx, "signals-carry-a-token", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return "", nil
	}
	var token string
	err := workflow.SideEffect(ctx, func(workflow.Context) any { return rand.Text() }).Get(&token)
	return token, err
}
