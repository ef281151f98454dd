package window

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

// Choice is the way to a point: from which backup, along which timeline.
type Choice struct {
	Opened   vault.Opened
	Base     Base
	Timeline uint32        // recovery_target_timeline
	Goal     postgres.Goal // where the replay stops; the zero Goal is the end of the WAL
}

// Choose finds the way to a point: from the newest whole backup that ended before
// it, or from the one that is named. A point that nothing leads to is
// PointUnreachable, with the window in its hint. The newest point asks for no
// goal: the newest backup that the timeline which the archive goes on with comes
// from; while a drill waits for its WAL, a newer one may end behind that.
func Choose(ctx context.Context, c Config, to plan.Point, key string) (Choice, error) {
	ch := &chooser{Config: c, to: to, key: key}
	if !to.Time.IsZero() && to.Time.After(c.Now()) {
		return Choice{}, fault.Newf(fault.PointUnreachable, "recover to", to.String(), "it lies in the future").
			WithHint("it is now %s; check the offset", c.Now().UTC().Format(time.RFC3339))
	}
	if err := ch.newest(ctx); err != nil {
		return Choice{}, err
	}
	if to.Newest() {
		return ch.latest(ctx)
	}
	lines, err := c.Archive.Tree(ctx, ch.base.SystemID, ch.base.SegmentSize)
	if err != nil {
		return Choice{}, err
	}
	if len(lines) == 0 {
		return Choice{}, fault.Newf(fault.WALGap, "recover to", to.String(), "the archive holds no WAL of database %s", c.Component)
	}
	ch.lines = lines
	switch {
	case !to.Time.IsZero():
		return ch.time(ctx)
	case to.LSN != "":
		lsn, err := postgres.ParseLSN(to.LSN)
		if err != nil {
			return Choice{}, err
		}
		return ch.position(ctx, ch.along(), lsn)
	default:
		return ch.name(ctx)
	}
}

type chooser struct {
	Config
	to    plan.Point
	key   string // of the backup that is named, or ""
	base  Base   // that one, or the newest: says of which cluster the way is
	named vault.Opened
	lines []wal.Line
}

func (c *chooser) filter() vault.Filter { return vault.Filter{Folder: folder, Component: c.Component} }

// newest opens the backup that says which cluster it is about.
func (c *chooser) newest(ctx context.Context) (err error) {
	if c.key != "" {
		c.named.Backup, err = c.Vault.OpenWhole(ctx, c.key)
	} else {
		c.named, err = c.Vault.OpenLatest(ctx, c.filter())
	}
	if err != nil {
		return err
	}
	c.base, err = ReadBase(c.named.Manifest(), c.Component)
	return err
}

// latest is the end of all. A backup that was taken on a timeline which a
// recovery to an earlier point has left leads to what was given up: it is passed over.
func (c *chooser) latest(ctx context.Context) (Choice, error) {
	if c.key != "" {
		return Choice{Opened: c.named, Base: c.base}, nil
	}
	ended := func(Base) bool { return true }
	if c.Until != "" {
		until, err := postgres.ParseSegment(c.Until, c.base.SegmentSize)
		if err != nil {
			return Choice{}, err
		}
		ended = func(b Base) bool { return b.StopLSN <= until.End(b.SegmentSize) }
	}
	line, found, err := c.Archive.Leading(ctx, c.base.SystemID)
	if err != nil || !found || line.Passes(c.base.Timeline, c.base.StopLSN) && ended(c.base) {
		return Choice{Opened: c.named, Base: c.base}, err
	}
	choice, err := c.from(ctx, line, time.Time{}, ended)
	choice.Timeline = 0 // the newest one that comes from there
	return choice, err
}

// from opens the newest backup that fits, or the one that is named.
func (c *chooser) from(ctx context.Context, line wal.Line, before time.Time, fits func(Base) bool) (Choice, error) {
	choice := Choice{Timeline: line.Timeline}
	suits := func(m *vault.Manifest) (bool, error) {
		base, err := ReadBase(m, c.Component)
		if err != nil {
			return false, nil //nolint:nilerr // a dump, or another kind: no base backup
		}
		choice.Base = base
		return base.SystemID == c.base.SystemID && line.Passes(base.Timeline, base.StopLSN) && fits(base), nil
	}
	if c.key != "" {
		choice.Opened, choice.Base = c.named, c.base
		ok, err := suits(c.named.Manifest())
		if err == nil && !ok {
			return Choice{}, c.refused(ctx, "the backup %s ended at %s (%s) on timeline %d, and does not lead there", c.key, moment(c.base.Finished), c.base.StopLSN, c.base.Timeline)
		}
		return choice, err
	}
	var err error
	choice.Opened, err = c.Vault.OpenNewest(ctx, c.filter(), before, suits)
	if fault.Has(err, fault.BackupUnknown) && c.to.Newest() && c.Until != "" {
		return Choice{}, fault.Newf(fault.BackupUnknown, "find newest backup", "database "+c.Component, "none had ended by %s, with which this recovery ends", c.Until).
			WithHint("begin the run again: it ends with newer WAL then")
	}
	if fault.Has(err, fault.BackupUnknown) && c.to.Newest() {
		return Choice{}, fault.Newf(fault.BackupUnknown, "find newest backup", "database "+c.Component, "all are of timelines that were left, and the archive goes on with timeline %d", line.Timeline).
			WithHint("take a base backup at once: lifeboat backup database; to go back to what was left, name a backup: --to backup:%s", c.base.Key)
	}
	if fault.Has(err, fault.BackupUnknown) {
		return Choice{}, c.refused(ctx, "no base backup ended before it on the way to timeline %d", line.Timeline)
	}
	return choice, err
}

// time finds the way to a time, along the timeline that was the cluster's then.
func (c *chooser) time(ctx context.Context) (Choice, error) {
	at := c.to.Time.Truncate(time.Microsecond) // as commits are dated
	ended := func(b Base) bool { return !b.Finished.After(at) }
	line := wal.LineAt(c.lines, at)
	if c.key != "" && !line.Passes(c.base.Timeline, c.base.StopLSN) {
		line = c.along() // a backup of a timeline that was given up is named on purpose
	}
	choice, err := c.from(ctx, line, at, ended)
	if err != nil {
		return Choice{}, err
	}
	choice.Goal = postgres.Goal{Time: at}
	for {
		pin, last, err := c.end(ctx, choice.Base, line)
		if err != nil {
			return Choice{}, err
		}
		if at.Before(last) && pin.Timeline == line.Timeline {
			choice.Timeline = line.Timeline
			return choice, nil
		}
		next, continued := c.continued(line, pin)
		if !continued {
			return Choice{}, c.beyond(ctx, pin, last)
		}
		line = next
	}
}

// end is how far the archive leads, and when the last transaction there ended.
func (c *chooser) end(ctx context.Context, base Base, line wal.Line) (wal.Pin, time.Time, error) {
	pin, err := c.Archive.Pin(ctx, base.Point(line.Timeline))
	if err != nil {
		return wal.Pin{}, time.Time{}, err
	}
	last, err := c.Archive.Last(ctx, pin)
	return pin, last, err
}

// continued is the timeline that took over from another at the end of what the
// archive holds of that one: no transaction lies between the two.
func (c *chooser) continued(line wal.Line, pin wal.Pin) (wal.Line, bool) {
	last, err := pin.Last()
	if err != nil || pin.Hole != nil {
		return wal.Line{}, false
	}
	for _, next := range c.lines {
		if len(next.Way) > 1 && next.Way[len(next.Way)-2].Timeline == line.Timeline && next.Fork() >= last.Start(pin.SegmentSize) {
			return next, true
		}
	}
	return wal.Line{}, false
}

// beyond refuses a time that the archive does not reach.
func (c *chooser) beyond(ctx context.Context, pin wal.Pin, last time.Time) error {
	told := "tells of no transaction"
	if !last.IsZero() {
		told = "tells of no transaction after " + moment(last)
	}
	end, err := pin.EndLSN()
	if err != nil {
		return err
	}
	if pin.Hole != nil {
		return c.refused(ctx, "%s is missing: the WAL before it, to %s, %s, and %d later segments can't be used", pin.Hole.Missing, end, told, pin.Hole.Later)
	}
	return c.refused(ctx, "the archived WAL, to %s on timeline %d, %s: what was committed between the two may be missing", end, pin.Timeline, told)
}

// position finds the way to a position, along the timeline that holds it.
func (c *chooser) position(ctx context.Context, line wal.Line, lsn postgres.LSN) (Choice, error) {
	at := len(line.Way) - 1
	for at > 0 && line.Way[at].Begin >= lsn {
		at-- // the state at a fork is that of the older timeline
	}
	line = c.line(line.Way[at].Timeline, line)
	choice, err := c.from(ctx, line, time.Time{}, func(b Base) bool { return b.StopLSN <= lsn })
	if err != nil {
		return Choice{}, err
	}
	choice.Goal = postgres.Goal{LSN: lsn}
	pin, last, err := c.end(ctx, choice.Base, line)
	if err != nil {
		return Choice{}, err
	}
	if end, err := pin.EndLSN(); err != nil || end < lsn {
		if err == nil {
			err = c.beyond(ctx, pin, last)
		}
		return Choice{}, err
	}
	choice.Timeline = pin.Timeline
	return choice, nil
}

// name finds the way to a restore point. One that was not made with lifeboat is
// looked for by the server itself, in the WAL behind the backup that is named.
func (c *chooser) name(ctx context.Context) (Choice, error) {
	point, err := c.Archive.RestorePoint(ctx, c.base.SystemID, c.to.Name)
	switch {
	case fault.Has(err, fault.ObjectMissing) && c.key == "":
		return Choice{}, fault.Newf(fault.PointUnreachable, "recover to", c.to.String(), "no restore point of this name was made with lifeboat restore-point").
			WithHint("see the names with: lifeboat window database; for one that pg_create_restore_point made, name the base backup before it, too: --to backup:KEY")
	case fault.Has(err, fault.ObjectMissing):
		line := c.along()
		return Choice{Opened: c.named, Base: c.base, Timeline: line.Timeline, Goal: postgres.Goal{Name: c.to.Name}}, nil
	case err != nil:
		return Choice{}, err
	}
	return c.position(ctx, c.line(point.Timeline, c.along()), point.LSN)
}

// along is the newest timeline or, with a backup that is named, the newest that comes from it.
func (c *chooser) along() wal.Line {
	for _, line := range slices.Backward(c.lines) {
		if c.key == "" || line.Passes(c.base.Timeline, c.base.StopLSN) {
			return line
		}
	}
	return c.lines[0]
}

// line is the timeline of a number; one without files of its own is on the way of another.
func (c *chooser) line(timeline uint32, on wal.Line) wal.Line {
	for _, line := range c.lines {
		if line.Timeline == timeline {
			return line
		}
	}
	for i, branch := range on.Way {
		if branch.Timeline == timeline {
			return wal.Line{Timeline: timeline, Way: on.Way[:i+1]}
		}
	}
	return on
}

// refused names what keeps the point from being reached, and the window.
func (c *chooser) refused(ctx context.Context, format string, args ...any) error {
	return fault.Newf(fault.PointUnreachable, "recover to", c.to.String(), format, args...).
		WithHint("%s", c.hint(ctx))
}

func (c *chooser) hint(ctx context.Context) string {
	w, err := Read(ctx, c.Config)
	if err != nil || len(w.Spans) == 0 {
		return "see what can be gone back to with: lifeboat window database " + c.Component
	}
	told := make([]string, 0, len(w.Spans))
	for _, span := range w.Spans {
		told = append(told, span.String())
	}
	return "it can be recovered to: " + strings.Join(told, "; ") + "; or to latest, with what the old server still holds; see: lifeboat window database " + c.Component
}

// String is the span for a person.
func (s Span) String() string { return fmt.Sprintf("%s on timeline %d", s.Reach(), s.Timeline) }

// Reach tells the span without its timeline.
func (s Span) Reach() string {
	to := "no time that is known"
	switch {
	case !s.To.IsZero() && !s.To.After(s.From):
		return fmt.Sprintf("no time, only positions from %s to %s: no transaction has ended since the backup of %s", s.FromLSN, s.ToLSN, moment(s.From))
	case !s.To.IsZero():
		to = "before " + moment(s.To)
	}
	return fmt.Sprintf("%s (%s) to %s (%s)", moment(s.From), s.FromLSN, to, s.ToLSN)
}

func moment(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000Z") }
