package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/redis"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
)

// files asks after the roots of file and configuration sets.
func (x *Examination) files() {
	for _, component := range x.System.Components() {
		root := x.directory(component)
		if component.Kind != system.KindFiles && component.Kind != system.KindConfiguration {
			continue
		}
		x.add(Files, component.ID, "root", func(context.Context) answer { return readable(root) })
		x.add(Files, component.ID, "swap", func(context.Context) answer { return swappable(root) })
	}
}

// directory is what a recovery of the component replaces.
func (x *Examination) directory(component system.Component) string {
	s := x.System
	switch component.Kind {
	case system.KindDatabase:
		return s.Databases[slices.IndexFunc(s.Databases, func(d system.Database) bool { return d.Name == component.Name })].DataDir
	case system.KindCache:
		return s.Caches[slices.IndexFunc(s.Caches, func(c system.Cache) bool { return c.Name == component.Name })].DataDir
	case system.KindFiles:
		return s.Files[slices.IndexFunc(s.Files, func(f system.FileSet) bool { return f.Name == component.Name })].Root
	default:
		return s.Configurations[slices.IndexFunc(s.Configurations, func(f system.FileSet) bool { return f.Name == component.Name })].Root
	}
}

// readable opens the directory, and no file in it: a backup names those that it can't read.
func readable(root string) answer {
	const why = "what can't be read can't be backed up"
	entries, err := os.ReadDir(root)
	if os.IsPermission(err) {
		return problem(root+" can't be read by this user", why, "run this, and the worker, as root or as the owner of "+root)
	}
	if err != nil {
		return problem(fmt.Sprintf("%s: %v", root, pathError(err)), why, "correct its root in the configuration, or make it: mkdir -p "+root)
	}
	if len(entries) == 0 {
		return warning(root+" is empty", "a backup of nothing protects nothing", "see that it is the right directory, and mounted: findmnt -T "+root)
	}
	return well("%s can be read", root)
}

// tools asks after the programs that backups and recoveries run.
func (x *Examination) tools(databases map[string]*databaseExam, caches map[string]*cacheExam) {
	for _, d := range x.System.Databases {
		x.add(Tools, system.ComponentID(system.KindDatabase, d.Name), "programs", func(ctx context.Context) answer { return postgresPrograms(ctx, databases[d.Name]) }).
			then(databases[d.Name].rights)
	}
	for _, c := range x.System.Caches {
		x.add(Tools, system.ComponentID(system.KindCache, c.Name), "programs", func(ctx context.Context) answer { return redisPrograms(ctx, caches[c.Name]) }).
			then(caches[c.Name].login)
	}
	for _, m := range x.System.Migrations {
		x.add(Tools, "migration/"+m.Name, "program", func(context.Context) answer {
			if _, err := command.New(command.Config{Argv: m.Command, Dir: m.Dir}); err != nil {
				return problem(m.Command[0]+" is not on this host", "after a recovery the migration would fail", fault.HintOf(err))
			}
			return well("%s is on this host", m.Command[0])
		})
	}
}

// postgresPrograms looks for those of the server's version; a server that does
// not answer has left it in its directory.
func postgresPrograms(ctx context.Context, e *databaseExam) answer {
	const why = "a recovery starts and verifies the restored directory with the programs of the same major version"
	var major int
	if !e.rights.failed() {
		major = postgres.Major(e.facts.Version)
	} else if left, err := postgres.DirMajor(e.config.DataDir); err == nil {
		major = left
	} else {
		return unexamined(e.rights)
	}
	bin, err := postgres.FindBin(ctx, e.config.BinDir, major)
	if err != nil {
		return failure(err, why)
	}
	for _, name := range []string{"pg_controldata", "pg_verifybackup"} {
		if _, err := command.New(command.Config{Argv: []string{filepath.Join(bin, name)}}); err != nil {
			return problem(name+" is missing in "+bin, why, fmt.Sprintf("apt-get install postgresql-%d postgresql-client-%d", major, major))
		}
	}
	if _, err := postgres.OwnerOf(e.config.DataDir, e.config.OSUser); err != nil {
		return failure(err, why)
	}
	return well("PostgreSQL %d in %s", major, bin)
}

func redisPrograms(ctx context.Context, e *cacheExam) answer {
	const why = "a recovery verifies the restored data with Redis's own tools before it is put in place"
	found, err := redis.FindPrograms(e.config.BinDir)
	if err != nil {
		return failure(err, why)
	}
	version, err := found.Version(ctx)
	if err != nil {
		return failure(err, why)
	}
	if !e.login.failed() && redis.Older(version, e.facts.Version) {
		return problem(fmt.Sprintf("Redis %s is installed, the server is %s", version, e.facts.Version), "an older Redis may not read what a newer one wrote", "install Redis "+e.facts.Version+" on this host")
	}
	return well("Redis %s", version)
}

// disk asks whether a restore has room beside what it replaces: each component
// alone, and all of them together.
func (x *Examination) disk(newest newestChecks) {
	components := x.System.Components()
	room := func(ctx context.Context, of ...system.Component) answer {
		var places []target.Place
		for _, component := range of {
			needs, err := newest.manifests[component.ID].needs(ctx, x.System, x.directory(component))
			if err != nil {
				return failure(err, "a recovery needs to know how much it writes")
			}
			for dir, need := range needs {
				places = append(places, target.Place{Dir: dir, Need: need})
			}
		}
		return fits(places)
	}
	var rooms []*question
	for _, component := range components {
		rooms = append(rooms, x.add(Disk, component.ID, "room", func(ctx context.Context) answer { return room(ctx, component) }, newest.readable[component.ID]).slowly())
		x.add(Disk, component.ID, "leftovers", func(context.Context) answer { return x.leftovers(x.directory(component)) })
	}
	if len(components) > 1 {
		x.add(Disk, x.System.Name, "room", func(ctx context.Context) answer { return room(ctx, components...) }, rooms...).slowly()
	}
}

func fits(places []target.Place) answer {
	var need uint64
	for _, place := range places {
		need += place.Need
	}
	if err := target.Fits(places...); err != nil {
		return failure(err, "a recovery restores beside the old data, and is refused without the room for both")
	}
	return well("room for %s beside what is there", system.Bytes(need).Human())
}

// leftovers finds what recoveries have left beside a directory.
func (x *Examination) leftovers(dir string) answer {
	found, err := target.Leftovers(dir)
	if err != nil {
		return failure(err, "what earlier recoveries left takes the room of the next one")
	}
	undo := 7 * day
	if production, err := x.System.Target(""); err == nil && production.Undo > 0 {
		undo = production.Undo.Std()
	}
	var locked, old []string
	for _, left := range found {
		switch age := x.Now().Sub(left.Modified); {
		case left.Kind == target.LeftoverLock:
			locked = append(locked, left.Path)
		case left.Kind != target.LeftoverJournal && age > undo:
			old = append(old, left.Path)
		}
	}
	switch {
	case len(old) > 0:
		return warning(fmt.Sprintf("%d directories of earlier recoveries are older than %s", len(old), brief(undo)), "they take the room of the next recovery",
			"when nobody misses anything: rm -r -- "+strings.Join(old, " "))
	case len(locked) > 0:
		return warning("a recovery holds "+locked[0], "no other recovery of it can begin", "wait for the run that the file names, or abort it: cat "+locked[0])
	}
	return well("nothing old lies beside %s", dir)
}
