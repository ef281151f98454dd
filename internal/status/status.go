package status

import (
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

// Status is where a system stands at one moment. It is plain JSON and holds no secret.
type Status struct {
	System     string          `json:"system"`
	At         time.Time       `json:"at"`
	Took       system.Duration `json:"took"`
	Answer     string          `json:"answer"` // "OK frende: …", "LATE frende: 2 overdue", "WRONG frende: …"
	Late       int             `json:"late"`   // problems of each kind
	Wrong      int             `json:"wrong"`
	Store      string          `json:"store"`             // that backups are written to
	Replica    string          `json:"replica,omitempty"` // its copy; "" when there is none
	Ledger     string          `json:"ledger,omitempty"`  // the replica whose copy of the ledger was read, as the primary gave no answer
	Components []Component     `json:"components"`
	Behind     []string        `json:"behind,omitempty"` // components whose newest backup the replica does not have yet
	Drill      Drill           `json:"drill"`
	Scheduled  []Scheduled     `json:"scheduled,omitempty"`  // schedules of proofs and dumps that have run
	Review     system.Date     `json:"next_review,omitzero"` // of the plan
	Running    []Run           `json:"running"`
	Away       []Away          `json:"away,omitempty"` // what can't be reached
	Problems   []Problem       `json:"problems"`       // the wrong ones first
}

// Component is what could be recovered of one component now.
type Component struct {
	ID        string          `json:"id"`
	Objective system.Duration `json:"objective"` // RPO
	Backup    *Backup         `json:"backup"`    // the newest complete one; none, or not known: see Bucket
	Proof     string          `json:"proof"`     // its proof level; "": none
	Asked     bool            `json:"asked"`     // whether the ledger said so
	Proven    Proven          `json:"proven,omitzero"`
	Bucket    Point           `json:"bucket"`
	Replica   *Point          `json:"replica,omitempty"`
}

// Proven is when backups of a component, whichever, were proven last, and when it was
// dumped last, as the ledger has it. Zero: not on record.
type Proven struct {
	L2     time.Time `json:"l2,omitzero"` // at this level or a higher one
	L3     time.Time `json:"l3,omitzero"`
	Dump   string    `json:"dump,omitempty"` // key of the newest dump
	Dumped time.Time `json:"dumped,omitzero"`
}

// Scheduled is how the runs of a schedule ended, by their starts.
type Scheduled struct {
	Name      string    `json:"name"`
	Succeeded time.Time `json:"succeeded,omitzero"` // the newest that did
	Failed    time.Time `json:"failed,omitzero"`    // the newest that did not
	Run       string    `json:"run,omitempty"`      // its ID
	Why       string    `json:"why,omitempty"`
}

// Backup is a complete backup.
type Backup struct {
	Key   string          `json:"key"`
	Store string          `json:"store"` // where it was seen
	At    time.Time       `json:"at"`    // its start
	Age   system.Duration `json:"age"`
}

// Point is how far one store, alone, brings a component back.
type Point struct {
	State  PointState      `json:"state"`
	Backup string          `json:"backup,omitempty"` // key of the newest one that can be used
	Taken  time.Time       `json:"taken,omitzero"`   // its start
	At     time.Time       `json:"at,omitzero"`      // of State known: what was written before is there
	RPO    system.Duration `json:"rpo,omitempty"`    // how much would be lost now
	Least  bool            `json:"least,omitempty"`  // RPO is at least this: only when WAL came into the store is known, not what is in it
	Lacks  string          `json:"lacks,omitempty"`  // of State known: what is there and can't be used, as something is missing
	Why    string          `json:"why,omitempty"`    // of State broken and unreachable
	Fault  fault.Kind      `json:"fault,omitempty"`  // its name
	Hint   string          `json:"hint,omitempty"`
}

// PointState says what is known of a Point.
type PointState string

// States of a point.
const (
	Known       PointState = "known"
	None        PointState = "none"   // the store answers, and has no complete backup
	Broken      PointState = "broken" // there is a backup, and a recovery from it would fail
	Unreachable PointState = "unreachable"
)

// Drill is what the ledger says of drills.
type Drill struct {
	Asked     bool           `json:"asked"`             // whether the ledger could be read
	ID        string         `json:"id,omitempty"`      // of the newest; "": none was run
	At        time.Time      `json:"at,omitzero"`       // its end
	Outcome   report.Outcome `json:"outcome,omitempty"` //
	Succeeded time.Time      `json:"succeeded,omitzero"`
}

// Run is a run that goes on now.
type Run struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Started time.Time `json:"started"`
	Phase   string    `json:"phase,omitempty"` // "waiting for approval"
}

// Away is a source that gave no answer.
type Away struct {
	Source string `json:"source"` // "store primary", "ledger", "Temporal"
	Why    string `json:"why"`
}

// Problem is what a person should see to.
type Problem struct {
	Kind ProblemKind `json:"kind"`
	Text string      `json:"text"`
	Mend string      `json:"mend,omitempty"` // a command, or what to do
}

// ProblemKind is the allowed values of Problem.Kind.
type ProblemKind string

// Kinds of problems.
const (
	Late  ProblemKind = "late"  // overdue: it mends itself when the next one succeeds
	Wrong ProblemKind = "wrong" // a recovery would fail, or nobody can say
)
