package doctor

import (
	"context"
	"slices"
)

// Fix does what is safe and can be undone: what the findings of the areas offer.
// Each check that offered something is then asked again, and what it finds takes
// the place of its finding.
func (x *Examination) Fix(ctx context.Context, report *Report) {
	for _, c := range x.checks {
		offered := c.answer.fix
		at := slices.IndexFunc(report.Findings, func(f Finding) bool { return f.ID() == c.finding().ID() })
		if offered == nil || at < 0 {
			continue
		}
		if err := x.mend(ctx, c, offered); err != nil {
			report.Findings[at].Fixed = "could not " + offered.what + ": " + told(err)
			continue
		}
		c.answer = x.ask(ctx, c)
		report.Findings[at] = c.finding()
		report.Findings[at].Fixed = offered.what
	}
	report.count()
}

func (x *Examination) mend(ctx context.Context, c *question, f *fix) error {
	limited, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	return f.do(limited)
}
