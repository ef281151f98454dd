package plan

import (
	"slices"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// Phase is a part of a recovery.
type Phase string

// Phases, in their order.
const (
	Prepare Phase = "prepare"  // beside the living system; production untouched
	Fence   Phase = "fence"    // the old system stops taking writes; still undoable
	CutOver Phase = "cut over" // the restored data takes the old one's place
	After   Phase = "after"    // services come back and are proven to work
)

// Step is one activity of a recovery.
type Step struct {
	ID          string          `json:"id"`                  // "database/frende/restore"; "approve"
	Component   string          `json:"component,omitempty"` // "database/frende"; "" belongs to the whole
	Title       string          `json:"title"`               // what a tired person understands
	Phase       Phase           `json:"phase"`
	After       []string        `json:"after,omitempty"`       // IDs of the steps that must be done before
	Destructive bool            `json:"destructive,omitempty"` // changes the target as it runs now
	Objective   system.Duration `json:"objective"`             // RTO of the component, or of the whole
}

// Approve is the ID of the step in which a person lets production be touched.
const Approve = "approve"

// Plan is a recovery's graph. Steps are in topological order: each stands after those it needs.
type Plan struct {
	System     string             `json:"system"`
	Target     string             `json:"target"`
	To         string             `json:"to"`                // for a person
	Point      Point              `json:"point,omitzero"`    // that all go to; none: the newest
	Backups    map[string]string  `json:"backups,omitempty"` // keys by component; the others go to the point
	Newest     map[string]string  `json:"newest,omitempty"`  // keys of the newest now, when they are known
	From       string             `json:"from,omitempty"`    // the store that alone is read
	Objective  system.Duration    `json:"objective"`         // RTO of what is recovered
	Components []system.Component `json:"components"`
	Steps      []Step             `json:"steps"`
}

// order sorts the steps so that each stands after those it needs, and otherwise
// keeps them as they are. It fails with InputInvalid when they need each other.
func order(steps []Step) ([]Step, error) {
	const op = "order steps of"
	known := map[string]bool{}
	for _, step := range steps {
		if known[step.ID] {
			return nil, fault.Newf(fault.InputInvalid, op, "plan", "step %s stands twice", step.ID)
		}
		known[step.ID] = true
	}
	var sorted []Step
	done := map[string]bool{}
	for left := slices.Clone(steps); len(left) > 0; {
		i := slices.IndexFunc(left, func(step Step) bool {
			return !slices.ContainsFunc(step.After, func(id string) bool { return !done[id] })
		})
		if i < 0 {
			return nil, fault.Newf(fault.InputInvalid, op, "plan", "step %s waits for one that is missing or waits for it", left[0].ID)
		}
		done[left[i].ID] = true
		sorted = append(sorted, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return sorted, nil
}

// CriticalPath gives the chain of steps that decides how long the recovery
// takes, and its length, from how long each step took or is expected to take. A
// step without a duration takes none.
func (p Plan) CriticalPath(durations map[string]time.Duration) ([]string, time.Duration) {
	ends, before := map[string]time.Duration{}, map[string]string{}
	last := ""
	for _, step := range p.Steps {
		var start time.Duration
		for _, id := range step.After {
			if ends[id] > start || before[step.ID] == "" {
				start, before[step.ID] = ends[id], id
			}
		}
		ends[step.ID] = start + durations[step.ID]
		if last == "" || ends[step.ID] > ends[last] {
			last = step.ID
		}
	}
	var path []string
	for id := last; id != ""; id = before[id] {
		path = append(path, id)
	}
	slices.Reverse(path)
	return path, ends[last]
}
