package doctor

import (
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/system"
)

// Area is what a check is about.
type Area string

// The areas.
const (
	Configuration Area = "configuration"
	Keys          Area = "keys" // and all other secrets
	Stores        Area = "stores"
	PostgreSQL    Area = "postgresql"
	Redis         Area = "redis"
	Files         Area = "files"
	Tools         Area = "tools"
	Disk          Area = "disk"
	Temporal      Area = "temporal"
	Services      Area = "services"
	Checks        Area = "checks"
	Backups       Area = "backups"
)

// Areas lists them in the order in which they are told.
func Areas() []Area {
	return []Area{Configuration, Keys, Stores, PostgreSQL, Redis, Files, Tools, Disk, Temporal, Services, Checks, Backups}
}

// Status is how a check came out.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warning Status = "warning" // works, and can be better
	Problem Status = "problem" // a backup or a recovery may fail, or data may be lost
	Unknown Status = "unknown" // could not be examined, because another check failed
)

// Finding is the answer to one check.
type Finding struct {
	Area    Area   `json:"area"`
	Subject string `json:"subject"` // a store, a database, a reference to a secret …
	Check   string `json:"check"`
	Status  Status `json:"status"`
	What    string `json:"what"`              // what was found
	Why     string `json:"why,omitempty"`     // why it matters
	Mend    string `json:"mend,omitempty"`    // commands, or an edit; one or more lines
	Because string `json:"because,omitempty"` // the finding for which this could not be examined, as ID
	Fix     string `json:"fix,omitempty"`     // what --fix would do
	Fixed   string `json:"fixed,omitempty"`   // what was done, or why that failed
}

// ID names the check: "stores/primary/versioning".
func (f Finding) ID() string {
	return strings.Join([]string{string(f.Area), f.Subject, f.Check}, "/")
}

// Report is what an examination found, in the order of the areas.
type Report struct {
	System   string          `json:"system"`
	At       time.Time       `json:"at"`
	Took     system.Duration `json:"took"`
	OK       int             `json:"ok"`
	Warnings int             `json:"warnings"`
	Problems int             `json:"problems"`
	Unknown  int             `json:"unknown"`
	Findings []Finding       `json:"findings"`
}

// Healthy says that nothing is wrong, and that everything could be examined.
func (r Report) Healthy() bool { return r.Problems == 0 && r.Unknown == 0 }

// Of gives the findings of a status.
func (r Report) Of(status Status) []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Status != status })
}

func (r *Report) count() {
	r.OK, r.Warnings, r.Problems, r.Unknown = len(r.Of(OK)), len(r.Of(Warning)), len(r.Of(Problem)), len(r.Of(Unknown))
}
