package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// Options say what is recovered, to where and to which point. Zero values mean:
// every component, production, latest.
type Options struct {
	Components []string // IDs: "database/frende"
	Target     string   // name of a target
	To         string   // what ParsePoint reads
	Backups    []string // keys of more backups. Each is of one component; the others go to the point

	// What a person is told besides; it decides nothing.
	Newest map[string]string // keys of the newest backups, by component
	From   string            // the store that alone is read
}

// Recovery makes the plan. It fails with NameUnknown when a component or the
// target is not configured, with InputInvalid when the point can't be recovered to.
func Recovery(s system.System, o Options) (Plan, error) {
	to, err := ParsePoint(o.To)
	if err != nil {
		return Plan{}, err
	}
	at, target, err := s.ForTarget(o.Target)
	if err != nil {
		return Plan{}, err
	}
	components, err := choose(s, o.Components)
	if err != nil {
		return Plan{}, err
	}
	if err := to.check(components); err != nil {
		return Plan{}, err
	}
	backups, err := o.backups(components)
	if err != nil {
		return Plan{}, err
	}
	if err := checkDumps(to, target, components, backups); err != nil {
		return Plan{}, err
	}
	to.Backup = "" // it is of one component, and stands among the backups
	g := &graph{system: at, production: target.Kind == system.TargetProduction, from: backups, newest: o.Newest, to: to, whole: objective(s, components)}
	g.build(components)
	steps, err := order(g.steps)
	if err != nil {
		return Plan{}, err
	}
	return Plan{System: s.Name, Target: target.Name, To: told(components, to, backups), Point: to, Backups: backups, Newest: o.Newest, From: o.From, Objective: g.whole, Components: components, Steps: steps}, nil
}

// told says for a person what is recovered to.
func told(components []system.Component, to Point, backups map[string]string) string {
	var named []string
	for _, c := range components {
		if key := backups[c.ID]; key != "" {
			named = append(named, backupPrefix+key)
		}
	}
	switch {
	case len(named) == 0:
		return to.String()
	case to.Newest() && len(named) == len(components):
	case to.Newest():
		named = append(named, Latest+" for the others")
	default:
		named = append([]string{to.String()}, named...)
	}
	return strings.Join(named, ", ")
}

// choose gives the components of these IDs in the order of the configuration; none means all.
func choose(s system.System, ids []string) ([]system.Component, error) {
	all := s.Components()
	if len(ids) == 0 {
		return all, nil
	}
	for _, id := range ids {
		if !slices.ContainsFunc(all, func(c system.Component) bool { return c.ID == id }) {
			return nil, fault.New(fault.NameUnknown, "plan recovery of", id, nil)
		}
	}
	return slices.DeleteFunc(all, func(c system.Component) bool { return !slices.Contains(ids, c.ID) }), nil
}

// objective is the one of the whole system, or of the slowest of some components.
func objective(s system.System, components []system.Component) system.Duration {
	if len(components) == len(s.Components()) {
		return s.Objectives.RTO.System
	}
	var longest system.Duration
	for _, c := range components {
		longest = max(longest, c.RTO)
	}
	return longest
}

// graph collects the steps of one plan.
type graph struct {
	system     system.System // as it is at the target
	production bool
	from       map[string]string // backups by component; none is the newest that leads to the point
	newest     map[string]string // which that is, when it is known
	to         Point
	whole      system.Duration
	steps      []Step
}

func (g *graph) add(step Step) string {
	if step.Objective == 0 {
		step.Objective = g.whole
	}
	g.steps = append(g.steps, step)
	return step.ID
}

// chain adds the steps of one component, each after the one before it, the
// first after the given ones, and returns the last one's ID.
func (g *graph) chain(c system.Component, phase Phase, after []string, links ...link) string {
	last := ""
	for _, l := range links {
		last = g.add(Step{
			ID: c.ID + "/" + l.id, Component: c.ID, Title: l.title, Phase: phase, After: after,
			Destructive: l.destructive, Objective: c.RTO,
		})
		after = []string{last}
	}
	return last
}

type link struct {
	id, title   string
	destructive bool
}

// build lays out the phases. The IDs are those of the activities in history.
func (g *graph) build(components []system.Component) {
	var prepared []string
	for _, c := range components {
		prepared = append(prepared, g.prepare(c))
	}
	stopped := prepared
	if g.production {
		stopped = g.approveAndStop(prepared)
	}
	var fenced []string
	for _, c := range components {
		if c.Kind == system.KindDatabase {
			fenced = append(fenced, g.fence(c, stopped))
		}
	}
	if len(fenced) == 0 {
		fenced = stopped
	} else if !g.production {
		fenced = slices.Concat(fenced, stopped)
	}
	recorded := g.add(Step{ID: "record-recovery-point", Title: "put the recovery point of every component on record", Phase: Fence, After: fenced})
	g.after(components, g.place(components, recorded))
}

// place cuts all components over. Servers start with the configuration that was
// recovered, so theirs come after the configuration sets.
func (g *graph) place(components []system.Component, recorded string) []string {
	var placed []string
	before := []string{recorded}
	for _, c := range components {
		if c.Kind == system.KindConfiguration {
			placed = append(placed, g.cutOver(c, before))
		}
	}
	serversAfter := before
	if len(placed) > 0 {
		serversAfter = slices.Clone(placed)
	}
	for _, c := range components {
		switch c.Kind {
		case system.KindDatabase, system.KindCache:
			placed = append(placed, g.cutOver(c, serversAfter))
		case system.KindFiles:
			placed = append(placed, g.cutOver(c, before))
		}
	}
	return placed
}

// approveAndStop lets a person open the way to production and stops what writes there.
func (g *graph) approveAndStop(prepared []string) []string {
	last := g.add(Step{ID: Approve, Title: "wait until a person approves: nothing in production is touched before", Phase: Fence, After: prepared})
	services := g.applications()
	if len(services) == 0 {
		return []string{last}
	}
	slices.Reverse(services)
	last = g.add(Step{ID: "services-status", Title: "note which services run", Phase: Fence, After: []string{last}})
	last = g.add(Step{ID: "stop-services", Title: "stop " + strings.Join(services, ", "), Phase: Fence, After: []string{last}, Destructive: true})
	return []string{last}
}

// prepare restores a component beside the living one.
func (g *graph) prepare(c system.Component) string {
	restore := link{id: "restore", title: fmt.Sprintf("restore %s beside the living data, from %s", c.ID, g.source(c))}
	replay := "replay the archived WAL of " + c.ID + ", without promoting"
	if !g.to.Newest() {
		replay = fmt.Sprintf("replay the archived WAL of %s to %s, and stop there", c.ID, g.to)
	}
	switch {
	case IsDump(g.from[c.ID]):
		return g.chain(c, Prepare, nil,
			link{id: "preflight", title: "check dump, server, extensions, roles, locale and disk of " + c.ID},
			link{id: "restore", title: fmt.Sprintf("restore %s into a database beside the living one, from %s", c.ID, g.source(c))},
			link{id: "verify", title: "hold every table, sequence and large object of " + c.ID + " against what was dumped"},
		)
	case c.Kind == system.KindDatabase:
		return g.chain(c, Prepare, nil,
			link{id: "preflight", title: "check backup, WAL, disk, version, keys and mount points of " + c.ID},
			restore,
			link{id: "verify-files", title: "verify every file of " + c.ID + " against the backup's manifest"},
			link{id: "replay", title: replay},
		)
	case c.Kind == system.KindCache:
		return g.chain(c, Prepare, nil,
			link{id: "preflight", title: "check backup, disk and place of " + c.ID},
			restore,
			link{id: "verify", title: "load the restored " + c.ID + " in an isolated server"},
		)
	default:
		return g.chain(c, Prepare, nil,
			link{id: "preflight", title: "check backup, disk and place of " + c.ID},
			restore,
			link{id: "verify", title: "verify every file of the restored " + c.ID},
		)
	}
}

// source says which backup a component is restored from.
func (g *graph) source(c system.Component) string {
	switch key := g.from[c.ID]; {
	case key != "":
		return key
	case g.to.Newest() && g.newest[c.ID] != "":
		return "its newest backup, now " + g.newest[c.ID]
	case g.to.Newest():
		return "its newest backup"
	case c.Kind == system.KindDatabase:
		return "the newest backup that ended before " + g.to.String()
	default:
		return "the newest backup whose state is not newer than " + g.to.String()
	}
}

// fence keeps a database's old server from taking writes, and replays what it wrote last.
func (g *graph) fence(c system.Component, after []string) string {
	if IsDump(g.from[c.ID]) {
		return g.chain(c, Fence, after, link{"fence", "let nobody connect to the living database of " + c.ID + ", and end its sessions", true})
	}
	final := "replay the last WAL of " + c.ID
	if !g.to.Newest() {
		final = fmt.Sprintf("see that %s still stands at %s", c.ID, g.to)
	}
	var links []link
	if g.production {
		links = []link{
			{"fence", "fence the old server of " + c.ID + ": it accepts no connection any more", true},
			{"terminate-connections", "terminate the connections to " + c.ID, true},
			{"salvage-wal", "archive the WAL that the old server of " + c.ID + " left behind", false},
			{"replay-final", final, false},
		}
	}
	return g.chain(c, Fence, after, append(links, link{"verify", "verify the restored " + c.ID + ": tables, counts and checks", false})...)
}

// cutOver puts the restored data in the old one's place.
func (g *graph) cutOver(c system.Component, after []string) string {
	place := "put the restored " + c.ID + " in place"
	if g.production {
		place += ", keeping the old directory"
	}
	switch {
	case IsDump(g.from[c.ID]):
		return g.chain(c, CutOver, after, link{"cut-over", "rename the restored database of " + c.ID + " into its place, keeping the old one", true})
	case c.Kind == system.KindDatabase:
		return g.chain(c, CutOver, after, link{"cut-over", place + ", and start it", g.production}, link{"promote", "promote " + c.ID + " on a timeline of its own", g.production})
	case c.Kind == system.KindCache:
		return g.chain(c, CutOver, after, link{"cut-over", place + ", start it and count its keys", g.production})
	default:
		return g.chain(c, CutOver, after, link{"cut-over", place, g.production})
	}
}

// after brings the services back and proves that they work.
func (g *graph) after(components []system.Component, placed []string) {
	recovered := func(kind system.ComponentKind, name string) bool {
		return slices.ContainsFunc(components, func(c system.Component) bool { return c.Kind == kind && c.Name == name })
	}
	before := placed
	for _, m := range g.system.Migrations {
		if recovered(system.KindDatabase, m.Database) {
			before = []string{g.add(Step{
				ID: "migrate/" + m.Name, Title: "migrate " + m.Database + ": " + strings.Join(m.Command, " "), Phase: After,
				After: before, Destructive: true, Objective: g.system.Objectives.RTO.Application,
			})}
		}
	}
	if services := g.applications(); len(services) > 0 {
		before = []string{g.add(Step{
			ID: "start-services", Title: "start " + strings.Join(services, ", "), Phase: After,
			After: before, Destructive: true, Objective: g.system.Objectives.RTO.Application,
		})}
	}
	if len(g.system.Checks) > 0 {
		var names []string
		for _, check := range g.system.Checks {
			names = append(names, check.Name)
		}
		before = []string{g.add(Step{ID: "health-checks", Title: "check the health of " + strings.Join(names, ", "), Phase: After, After: before})}
	}
	for _, c := range components {
		if c.Kind == system.KindDatabase && g.production {
			g.chain(c, After, before, link{id: "base-backup", title: "take a new base backup of " + c.ID})
		}
	}
}

// applications names the services in the order to start them.
func (g *graph) applications() []string {
	var names []string
	for _, v := range g.system.Applications() {
		names = append(names, v.Name)
	}
	return names
}
