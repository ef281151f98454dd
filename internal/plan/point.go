package plan

import (
	"regexp"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// Point is what a recovery goes to. At most one field is set; none is the newest
// that there is.
type Point struct {
	Backup string    `json:"backup,omitempty"` // key
	Time   time.Time `json:"time,omitzero"`    // databases: every transaction committed by then, and none after
	LSN    string    `json:"lsn,omitempty"`    // everything in the WAL before it, and nothing from it on
	Name   string    `json:"name,omitempty"`   // of a restore point
}

// Latest asks for the newest backups, and for databases all WAL behind them.
const Latest = "latest"

// What precedes a key, a position and a name: "backup:file-backups/2024/…".
const (
	backupPrefix = "backup:"
	lsnPrefix    = "lsn:"
	namePrefix   = "name:"
)

var (
	momentForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$`)
	noOffset   = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?$`)
	dateAlone  = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	likeTime   = regexp.MustCompile(`^\d{1,4}[-./:]\d`)
	lsnForm    = regexp.MustCompile(`^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$`)
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
)

// ParsePoint reads "latest" or nothing, a time in RFC 3339 with its offset,
// "lsn:0/3000148", "name:before-migration" and "backup:KEY". Anything else is
// InputInvalid: no other form of a time says which moment it is, everywhere.
func ParsePoint(to string) (Point, error) {
	const example = "2024-01-15T09:42:00Z or 2024-01-15T10:42:00+01:00"
	refused := func(reason string) *fault.Error {
		return fault.Newf(fault.InputInvalid, "read recovery point", to, "%s", reason)
	}
	if to == "" || to == Latest {
		return Point{}, nil
	}
	if key, ok := strings.CutPrefix(to, backupPrefix); ok && key != "" {
		return Point{Backup: strings.TrimSuffix(key, "/")}, nil
	}
	if lsn, ok := strings.CutPrefix(to, lsnPrefix); ok {
		if !lsnForm.MatchString(lsn) || strings.Trim(lsn, "0/") == "" {
			return Point{}, refused("it is no position in the WAL").WithHint("write it as PostgreSQL does: lsn:0/3000148")
		}
		return Point{LSN: strings.ToUpper(lsn)}, nil
	}
	if name, ok := strings.CutPrefix(to, namePrefix); ok {
		return Point{Name: name}, CheckName(name)
	}
	switch {
	case momentForm.MatchString(to):
		at, err := time.Parse(time.RFC3339, to)
		if err != nil {
			return Point{}, refused("there is no such date or time of day").WithHint("write it like %s", example)
		}
		return Point{Time: at.UTC()}, nil
	case noOffset.MatchString(to):
		return Point{}, refused("the time has no offset").WithHint("say from UTC how far it is: %s", example)
	case dateAlone.MatchString(to):
		return Point{}, refused("a date alone is no moment").WithHint("add the time of day and its offset: %s", example)
	case likeTime.MatchString(to):
		return Point{}, refused("the time is not written as RFC 3339").WithHint("write it like %s", example)
	}
	return Point{}, refused("it is neither latest, nor a time, nor lsn:POSITION, name:NAME or backup:KEY").
		WithHint("write a time like %s; see what can be gone back to with: lifeboat window database", example)
}

// CheckName says, with InputInvalid, what no restore point may be called. A server
// takes 63 bytes of anything; these need no quoting anywhere.
func CheckName(name string) error {
	if nameForm.MatchString(name) {
		return nil
	}
	return fault.Newf(fault.InputInvalid, "name restore point", name, "it is not of 1 to 63 letters, digits, dots, hyphens and underscores").
		WithHint("choose one like before-migration")
}

// String writes the point as ParsePoint reads it.
func (p Point) String() string {
	switch {
	case p.Backup != "":
		return backupPrefix + p.Backup
	case p.LSN != "":
		return lsnPrefix + p.LSN
	case p.Name != "":
		return namePrefix + p.Name
	case !p.Time.IsZero():
		return p.Time.Format(time.RFC3339Nano)
	}
	return Latest
}

// Newest says whether nothing is asked for but what there is.
func (p Point) Newest() bool { return p == Point{} }

// For is the part of the point that a component is recovered to. Only a database
// has positions and restore points.
func (p Point) For(c system.Component) Point {
	if c.Kind == system.KindDatabase {
		return Point{Time: p.Time, LSN: p.LSN, Name: p.Name}
	}
	return Point{Time: p.Time}
}

// check refuses a position or a restore point of what has none, or of more than
// one database: it would be another moment in each.
func (p Point) check(components []system.Component) error {
	if p.LSN == "" && p.Name == "" {
		return nil
	}
	databases := 0
	for _, c := range components {
		if c.Kind != system.KindDatabase {
			return fault.Newf(fault.InputInvalid, "read recovery point", p.String(), "it says nothing of %s", c.ID).
				WithHint("recover the database alone: lifeboat recover database NAME --to %s; or give a time, which holds for every component", p)
		}
		databases++
	}
	if databases > 1 {
		return fault.Newf(fault.InputInvalid, "read recovery point", p.String(), "it is of one database, and %d are to be recovered", databases).
			WithHint("name the database: lifeboat recover database NAME --to %s", p)
	}
	return nil
}
