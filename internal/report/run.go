package report

import (
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/system"
)

// Run is the record of one run: a recovery, a drill or a backup. It is plain
// JSON and holds no secret. Zero times and durations mean "not yet" or "none".
type Run struct {
	System    string          `json:"system"`
	ID        string          `json:"id"`     // workflow ID: "recover/frende"
	RunID     string          `json:"run_id"` // Temporal's run ID
	Kind      string          `json:"kind"`   // workflow type: "RecoverSystem"
	Target    string          `json:"target"` // name of the target: "production"
	By        string          `json:"by,omitempty"`
	Phase     string          `json:"phase"`              // "preparing", "waiting", "cutting over", "finished", …
	Outcome   Outcome         `json:"outcome"`            // empty while it runs
	Disaster  time.Time       `json:"disaster,omitzero"`  // when the system went down; RTA counts from here
	Started   time.Time       `json:"started"`            // of the run
	Finished  time.Time       `json:"finished,omitzero"`  //
	Objective system.Duration `json:"objective"`          // RTO of the whole; 0: none
	Breached  bool            `json:"breached,omitempty"` // whether the objective was missed, or is already
	Critical  system.Duration `json:"critical,omitempty"` // length of the critical path of the steps
	Clocks    []Clock         `json:"clocks,omitempty"`
	Steps     []Step          `json:"steps,omitempty"`
	Points    []Point         `json:"points,omitempty"`  // recoveries
	Backups   []Backup        `json:"backups,omitempty"` // backup runs
	Approvals []Approval      `json:"approvals,omitempty"`
	Checks    []Check         `json:"checks,omitempty"`
	Fallbacks []Fallback      `json:"fallbacks,omitempty"`
	Failures  []Failure       `json:"failures,omitempty"`
	Recovery  string          `json:"recovery,omitempty"` // drills: the recovery that was led, by the name of its own report
	Notes     []string        `json:"notes,omitempty"`    // what was not done, and why
}

// Outcome says how a run ended.
type Outcome string

// Outcomes of a run and of a step. A run that still goes on has none.
const (
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
	Aborted   Outcome = "aborted"
	Skipped   Outcome = "skipped" // steps only
)

// ClockWhole is the name of the clock that counts until everything is back.
const ClockWhole = "whole"

// Clock is one recovery time objective and what became of it.
type Clock struct {
	Name      string          `json:"name"` // component, ClockWhole, "critical" or "application"
	Objective system.Duration `json:"objective"`
	Since     time.Time       `json:"since,omitzero"` // where it counts from; zero in old records
	Took      system.Duration `json:"took"`           // RTA; so far while the run goes on
	Breached  bool            `json:"breached,omitempty"`
	Open      bool            `json:"open,omitempty"` // the run ended before this part was back: nothing was achieved
}

// Step is one thing done to one component.
type Step struct {
	ID        string          `json:"id"`                  // "restore/frende"
	Component string          `json:"component,omitempty"` // empty: the whole system
	Title     string          `json:"title"`               // "restore frende from 2024-01-15 02:00 (1.9 GB)"
	Phase     string          `json:"phase"`               // "prepare", "cut over", "after"
	Outcome   Outcome         `json:"outcome"`             // empty: waiting or running
	Started   time.Time       `json:"started,omitzero"`
	Finished  time.Time       `json:"finished,omitzero"`
	Waited    bool            `json:"waited,omitempty"`   // nothing was done but wait for a person
	Critical  bool            `json:"critical,omitempty"` // on the critical path: a shorter one would have shortened the run
	Attempts  int             `json:"attempts,omitempty"` // 1: at the first try
	Bytes     int64           `json:"bytes,omitempty"`    // done so far
	Total     int64           `json:"total,omitempty"`    // to do in all, when it is known
	Rate      int64           `json:"rate,omitempty"`     // bytes per second
	Resumed   int64           `json:"resumed,omitempty"`  // bytes that an earlier attempt had done already
	Objective system.Duration `json:"objective,omitempty"`
	Breached  bool            `json:"breached,omitempty"`
	Fallbacks []Fallback      `json:"fallbacks,omitempty"`
	Detail    string          `json:"detail,omitempty"`  // what it found or did
	Retried   string          `json:"retried,omitempty"` // why the attempt before the last one failed
	Failure   *Failure        `json:"failure,omitempty"`
}

// Point is the recovery point of one component.
type Point struct {
	Component string          `json:"component"`
	Kind      string          `json:"kind"`               // "database", "cache", "files", "configuration"
	Backup    string          `json:"backup"`             // key of the backup
	Timeline  uint32          `json:"timeline,omitempty"` // databases
	LSN       string          `json:"lsn,omitempty"`      // databases: "0/3000148"
	Time      time.Time       `json:"time"`               // the moment the component was brought back to: all that was acknowledged before is there
	Asked     string          `json:"asked,omitempty"`    // the point that was asked for: a time, "lsn:0/3000148", "name:before-migration"; "" is the newest
	Until     time.Time       `json:"until,omitzero"`     // nothing written after this moment is in it
	RPA       system.Duration `json:"rpa"`                // disaster − time
	Objective system.Duration `json:"objective"`          // RPO
	Breached  bool            `json:"breached,omitempty"`
	Proof     string          `json:"proof,omitempty"` // highest proof level of the backup: "L1"
	Bytes     int64           `json:"bytes,omitempty"` // restored; where the steps don't tell
	Rate      int64           `json:"rate,omitempty"`  // bytes per second

	PassedOver []PassedOver `json:"passed_over,omitempty"` // newer backups that could not be used
}

// PassedOver is a newer backup that a recovery could not use.
type PassedOver struct {
	Backup string `json:"backup"` // its key
	Why    string `json:"why"`
}

// Backup is a backup that a run made.
type Backup struct {
	Component string    `json:"component"`
	Key       string    `json:"key"`
	Bytes     int64     `json:"bytes"`  // at the source
	Stored    int64     `json:"stored"` // in the store
	From      time.Time `json:"from"`   // the captured state is not older than this …
	To        time.Time `json:"to"`     // … and holds nothing newer than this
	LSN       string    `json:"lsn,omitempty"`
	Proof     string    `json:"proof,omitempty"`
	Note      string    `json:"note,omitempty"`
}

// Approval is a decision that an operator gave to the run.
type Approval struct {
	Decision string    `json:"decision"`       // "approve", "abort"
	Step     string    `json:"step,omitempty"` // what it was about, or why
	By       string    `json:"by,omitempty"`
	At       time.Time `json:"at"`
}

// Check is the result of one check after the recovery.
type Check struct {
	Name    string          `json:"name"`
	OK      bool            `json:"ok"`
	Latency system.Duration `json:"latency"`
	Message string          `json:"message,omitempty"`
}

// Fallback is an object that had to be read from the other region.
type Fallback struct {
	Object string `json:"object"`
	Reason string `json:"reason"` // name of the fault: "IntegrityError"
	From   string `json:"from"`   // name of the store that failed
	To     string `json:"to"`     // name of the store that gave it
}

// Failure is a fault as a report tells it.
type Failure struct {
	Step    string `json:"step,omitempty"`
	Kind    string `json:"kind"` // name of the fault
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// CutOver says whether the run has begun to put something in place of what served people.
func (r *Run) CutOver() bool {
	return slices.ContainsFunc(r.Steps, func(s Step) bool { return strings.HasSuffix(s.ID, "/cut-over") })
}

// RTA is the recovery time that was achieved, as the clock of the whole has it:
// a drill goes on after that, and clears its sandbox. Without that clock it is
// all that has elapsed.
func (r *Run) RTA(now time.Time) time.Duration {
	for _, c := range r.Clocks {
		if c.Name == ClockWhole && c.Took > 0 && !c.Open && !r.Finished.IsZero() {
			return std(c.Took)
		}
	}
	return r.elapsed(now)
}

// elapsed is the time from the disaster, or from the start when no disaster is
// known, to the end. now stands for the end of a run that goes on.
func (r *Run) elapsed(now time.Time) time.Duration {
	from := r.zero()
	if !r.Finished.IsZero() {
		now = r.Finished
	}
	if from.IsZero() || now.Before(from) {
		return 0
	}
	return now.Sub(from)
}

// zero is the moment that all is counted from: the disaster, or the start when none
// is known. A drill has none, though old records of drills name one: the start of their recovery.
func (r *Run) zero() time.Time {
	if r.fromDisaster() {
		return r.Disaster
	}
	return r.Started
}

func (r *Run) fromDisaster() bool { return !r.Disaster.IsZero() && r.kind() != kindDrill }

// Took is how long a step ran, until now while it still runs.
func (s *Step) Took(now time.Time) time.Duration {
	if s.Started.IsZero() {
		return 0
	}
	if !s.Finished.IsZero() {
		now = s.Finished
	}
	return max(0, now.Sub(s.Started))
}
