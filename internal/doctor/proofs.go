package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// Workflow types of schedules that prove and dump.
const (
	verifyWorkflow = "VerifyBackup"
	dumpWorkflow   = "DumpDatabase"
)

// schedulesOf are the schedules of a workflow that concern the database.
func (x *Examination) schedulesOf(workflow, database string) []system.Schedule {
	return slices.DeleteFunc(slices.Clone(x.System.Schedules), func(s system.Schedule) bool {
		return s.Workflow != workflow || s.Of != "" && s.Of != database
	})
}

// proofs asks whether databases are proven by themselves, and about their dumps.
func (x *Examination) proofs(secrets secretChecks, stores storeChecks, databases map[string]*databaseExam) {
	for _, d := range x.System.Databases {
		id := system.ComponentID(system.KindDatabase, d.Name)
		x.add(Configuration, id, "proofs", func(context.Context) answer { return x.provenBySchedule(d) })
		dumps := x.schedulesOf(dumpWorkflow, d.Name)
		if len(dumps) == 0 {
			continue
		}
		x.add(Tools, id, "dump programs", func(ctx context.Context) answer { return dumpPrograms(ctx, databases[d.Name]) }, databases[d.Name].rights)
		from := &sources{x: x, stores: stores}
		x.add(Backups, id, "dump", func(ctx context.Context) answer { return x.newestDump(ctx, from, d, dumps) }, secrets.working()...).
			then(from.conditions()...).slowly()
	}
}

// provenBySchedule says which proofs of the plan nothing starts: the newest backup daily, an
// older one weekly, and all of them by their listing each hour.
func (x *Examination) provenBySchedule(d system.Database) answer {
	level := 3
	if d.Compare == system.CompareNone {
		level = 2 // nothing is taken down that L3 could compare with
	}
	var newest, older, listed bool
	for _, s := range x.schedulesOf(verifyWorkflow, d.Name) {
		high := s.ProofLevel() >= level
		newest = newest || high && !s.Random
		older = older || high && s.Random
		listed = listed || s.ProofLevel() == 0
	}
	var missing, add []string
	lacks := func(what, schedule string) {
		missing = append(missing, what)
		add = append(add, fmt.Sprintf("add to schedules in %s: {%s}", x.File, schedule))
	}
	if !newest {
		lacks("the newest backup", fmt.Sprintf("name: proof-daily-%s, workflow: VerifyBackup, of: %s, level: %d, cron: 30 4 * * *", d.Name, d.Name, level))
	}
	if !older {
		lacks("an older one", fmt.Sprintf("name: proof-weekly-%s, workflow: VerifyBackup, of: %s, level: %d, random: true, cron: 30 10 * * sun", d.Name, d.Name, level))
	}
	if !listed {
		lacks("that every backup is still there", "name: proof-hourly, workflow: VerifyBackup, level: 0, every: 1h")
	}
	if len(missing) > 0 {
		return warning("no schedule proves "+strings.Join(missing, ", nor "), "a backup that nobody has restored is a hope, and one that has lost an object is none", strings.Join(add, "\n"))
	}
	return well("its backups are proven at L%d, an older one too, and listed", level)
}

// dumpPrograms looks for a pg_dump of the server's major version.
func dumpPrograms(ctx context.Context, e *databaseExam) answer {
	const why = "scheduled dumps fail: a pg_dump that is older than the server refuses it"
	major := postgres.Major(e.facts.Version)
	bin, err := postgres.FindClient(ctx, e.config.BinDir, major)
	if err != nil {
		return failure(err, why)
	}
	return well("pg_dump %d in %s", major, bin)
}

// newestDump holds the newest dump against its schedule.
func (x *Examination) newestDump(ctx context.Context, from *sources, d system.Database, dumps []system.Schedule) answer {
	const why = "a dump is what one table, another major version or anybody's psql can be served from"
	opened, gone, err := from.vault(ctx)
	if gone != nil {
		return unexamined(gone)
	}
	if err != nil {
		return failure(err, why)
	}
	mend := fmt.Sprintf("lifeboat backup database %s --dump", d.Name)
	for one, err := range opened.Backups(ctx, vault.Filter{Folder: system.KindDatabase.Folder(), Component: d.Name}) {
		if err != nil {
			return failure(err, why)
		}
		if !one.Complete || !vault.IsDump(one.Kind) {
			continue
		}
		for _, s := range dumps {
			if due := s.Due(x.Now()); one.At.Before(due) {
				return warning(fmt.Sprintf("the newest is %s old; schedule %s was due on %s", brief(x.Now().Sub(one.At)), s.Name, due.Format("2006-01-02 15:04 UTC")), why,
					mend+"\nlifeboat schedule list")
			}
		}
		return well("the newest is %s old: %s", brief(x.Now().Sub(one.At)), one.Key)
	}
	return warning("no dump was ever taken, and schedule "+dumps[0].Name+" wants them", why, mend+"\nlifeboat schedule list")
}
