package local

import (
	"slices"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres/walfile"
)

// Upto gives the pin that ends with the named segment. It fails with WALShort
// when the archive does not reach it yet, with WALGap when a hole lies before it, and with InputInvalid when the pin
// begins behind it or goes another way.
func (p Pin) Upto(name string) (Pin, error) {
	const op = "end WAL at"
	wanted, err := walfile.ParseSegment(name, p.SegmentSize)
	if err != nil {
		return Pin{}, fault.New(fault.InputInvalid, op, name, err)
	}
	last, err := p.Last()
	if err != nil {
		return Pin{}, err
	}
	first, err := walfile.ParseSegment(p.Start, p.SegmentSize)
	if err != nil {
		return Pin{}, err
	}
	switch {
	case last.Number < wanted.Number && p.Hole != nil:
		return Pin{}, fault.Newf(fault.WALGap, op, name, "%s is missing, and %d later segments are there", p.Hole.Missing, p.Hole.Later)
	case last.Number < wanted.Number:
		return Pin{}, fault.Newf(fault.WALShort, op, name, "the archive ends at %s", p.End).
			WithHint("it was not archived, or not replicated, yet: see lifeboat status")
	case wanted.Number < first.Number || p.At(wanted.Number) != wanted:
		return Pin{}, fault.Newf(fault.InputInvalid, op, name, "the recovery goes from %s to %s", p.Start, p.End)
	}
	p.End, p.Timeline, p.Hole = name, wanted.Timeline, nil
	p.History = slices.DeleteFunc(slices.Clone(p.History), func(b Branch) bool { return b.Timeline > wanted.Timeline })
	return p, nil
}
