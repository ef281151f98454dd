package api

import (
	"time"

	"github.com/frende/lifeboat/internal/system"
)

// Progress is the answer to the query "progress": where a run stands now.
type Progress struct {
	System     string          `json:"system"`
	Workflow   string          `json:"workflow"` // type
	ID         string          `json:"id"`
	RunID      string          `json:"run_id"`
	Target     string          `json:"target,omitempty"`
	Phase      Phase           `json:"phase"`
	Entered    time.Time       `json:"entered,omitzero"`  // when the phase began
	Waiting    string          `json:"waiting,omitempty"` // for whom and how to answer, when a person is asked
	Started    time.Time       `json:"started"`
	Since      time.Time       `json:"since"` // the clock's zero: the disaster, or the start
	Finished   *time.Time      `json:"finished,omitempty"`
	Clocks     []Clock         `json:"clocks,omitempty"` // the whole first
	Steps      []Step          `json:"steps"`
	Children   []string        `json:"children,omitempty"` // workflow IDs whose pending activities carry byte counts
	Components []ComponentView `json:"components,omitempty"`
	Failure    string          `json:"failure,omitempty"`
}

// Phase says what a run is doing.
type Phase string

// Phases, in their order.
const (
	PhasePreparing   Phase = "preparing"
	PhaseWaiting     Phase = "waiting for approval"
	PhaseStopping    Phase = "stopping services"
	PhaseFencing     Phase = "fencing"
	PhaseCuttingOver Phase = "cutting over"
	PhaseMigrating   Phase = "migrating"
	PhaseStarting    Phase = "starting services"
	PhaseChecking    Phase = "checking health"
	PhaseRecovered   Phase = "recovered"
	PhaseAborted     Phase = "aborted"
	PhaseFailed      Phase = "failed"
	PhaseBackingUp   Phase = "backing up"
	PhaseReplicating Phase = "replicating"
	PhaseObserving   Phase = "observing production"
	PhaseRehearsing  Phase = "recovering into the sandbox"
	PhaseClearing    Phase = "clearing the sandbox"
	PhaseCleaning    Phase = "cleaning up"
	PhaseRetaining   Phase = "applying retention"
	PhaseVerifying   Phase = "verifying"
	PhaseExtracting  Phase = "extracting"
	PhaseDone        Phase = "done"
)

// Clock measures one objective.
type Clock struct {
	Name      string          `json:"name"` // "system", or a component's ID
	Critical  bool            `json:"critical,omitempty"`
	Objective system.Duration `json:"objective"`
	Since     time.Time       `json:"since"`
	Stopped   *time.Time      `json:"stopped,omitempty"` // when its part was back
	Reached   int             `json:"reached"`           // the last mark passed: 0, 50, 80 or 100 percent of the objective
}

// StepState is where one step stands.
type StepState string

// States of a step.
const (
	StepRunning StepState = "running"
	StepDone    StepState = "done"
	StepFailed  StepState = "failed"
	StepAborted StepState = "aborted" // called off: it did not fail by itself
)

// Step is one activity of a run.
type Step struct {
	ID        string     `json:"id"` // the activity's ID
	Workflow  string     `json:"workflow_id,omitempty"`
	Component string     `json:"component,omitempty"` // "database/frende"; "" belongs to the whole
	Title     string     `json:"title"`
	State     StepState  `json:"state"`
	Started   time.Time  `json:"started"`
	Finished  *time.Time `json:"finished,omitempty"`
	Outcome   string     `json:"outcome,omitempty"` // what it found or did, or the error
}

// ComponentView is where one component's recovery or backup stands.
type ComponentView struct {
	ID      string `json:"id"`
	Gate    Gate   `json:"gate,omitempty"`   // the last gate it reached
	Backup  string `json:"backup,omitempty"` // key of the backup used or made
	Outcome string `json:"outcome,omitempty"`
}

// Gate is a point that a recovered component reaches, and passes only when its parent says so.
type Gate string

// Gates, in their order.
const (
	GatePrepared Gate = "prepared" // restored beside; production untouched
	GateReady    Gate = "ready"    // fenced, replayed to the end and verified; still undoable
	GateDone     Gate = "done"     // cut over and running
)
