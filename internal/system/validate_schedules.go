package system

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// verifyBackup is the schedulable workflow that proves backups.
const verifyBackup = "VerifyBackup"

// Proof levels that a schedule can ask for: L4 is the drill's.
const (
	lowestLevel  = 0
	defaultLevel = 1
	highestLevel = 3
)

// ProofLevel is the level at which a schedule of VerifyBackup proves.
func (s Schedule) ProofLevel() int {
	if s.Level == nil {
		return defaultLevel
	}
	return *s.Level
}

// schedulable is a workflow that may start by itself.
type schedulable struct {
	name    string
	of      ComponentKind // the kind of component that it takes; "": it concerns the whole system
	catchup Duration
	timeout Duration
}

// schedulables lists them with their defaults: a backup is worth making up for
// within hours, a drill within days. A timeout is far beyond what the longest run takes:
// it ends the one that hangs, which would otherwise keep every later one from starting.
func schedulables() []schedulable {
	const hour = Duration(time.Hour)
	return []schedulable{
		{"BackupSystem", "", 6 * hour, 24 * hour},
		{"BackupDatabase", KindDatabase, 6 * hour, 24 * hour},
		{"DumpDatabase", KindDatabase, 6 * hour, 24 * hour},
		{"BackupCache", KindCache, hour, 6 * hour},
		{"BackupFiles", KindFiles, 6 * hour, 24 * hour},
		{"BackupConfiguration", KindConfiguration, hour, 2 * hour},
		{"ReplicateStore", "", hour, 24 * hour},
		{"DrillSystem", "", 72 * hour, 24 * hour},
		{"ReportStatus", "", 6 * hour, hour},
		{"CleanUp", "", 24 * hour, 12 * hour},
		{"CheckArchive", KindDatabase, hour, hour},
		{"ApplyRetention", "", 24 * hour, 24 * hour},
		{verifyBackup, KindDatabase, 6 * hour, 24 * hour},
	}
}

func findSchedulable(workflow string) (schedulable, bool) {
	for _, one := range schedulables() {
		if one.name == workflow {
			return one, true
		}
	}
	return schedulable{}, false
}

// applyDefaults fills what the file leaves open.
func (s *Schedule) applyDefaults() {
	known, _ := findSchedulable(s.Workflow)
	setDefault(&s.Catchup, known.catchup)
	setDefault(&s.Timeout, known.timeout)
}

// longestCatchup: a start that is later than this says nothing of its own day.
const longestCatchup = Duration(7 * day)

func (v *validation) schedules() {
	v.distinct("schedules", named(v.Schedules, func(s Schedule) string { return s.Name }))
	for i, s := range v.Schedules {
		v.name(at("schedules", i, "name"), s.Name)
		known := v.scheduledWorkflow(at("schedules", i, "workflow"), s.Workflow)
		if s.Of != "" {
			v.scheduleOf(at("schedules", i, "of"), s)
		}
		if s.IfChanged && s.Workflow != "BackupCache" {
			v.add(at("schedules", i, "if_changed"), "remove it: only a cache says whether it changed", "if_changed means nothing for %s", s.Workflow)
		}
		v.scheduledProof(i, s)
		if s.Format != "" && s.Workflow != "DumpDatabase" {
			v.add(at("schedules", i, "format"), "remove it: only a dump has a format", "format means nothing for %s", s.Workflow)
		} else if s.Format != "" {
			v.oneOf(at("schedules", i, "format"), string(s.Format), string(DumpSQL), string(DumpCustom))
		}
		v.scheduleTimes(i, s)
		if !known {
			continue
		}
		if s.Catchup < Duration(time.Minute) || s.Catchup > longestCatchup {
			v.add(at("schedules", i, "catchup"), "leave it out to have the default, hours for a backup and days for a drill", "%s is not between 1m and %s", s.Catchup, longestCatchup)
		}
		if s.Timeout < Duration(time.Minute) {
			v.add(at("schedules", i, "timeout"), "leave it out to have the default", "%s would end runs before they are done", s.Timeout)
		}
	}
}

// scheduledProof wants a level that there is, and what is for verifications at those alone.
func (v *validation) scheduledProof(i int, s Schedule) {
	if s.Workflow != verifyBackup {
		if s.Level != nil {
			v.add(at("schedules", i, "level"), "remove it", "level means nothing for %s", s.Workflow)
		}
		if s.Random {
			v.add(at("schedules", i, "random"), "remove it", "random means nothing for %s", s.Workflow)
		}
		return
	}
	level := s.ProofLevel()
	if level < lowestLevel || level > highestLevel {
		v.add(at("schedules", i, "level"), "give 0, 1, 2 or 3; L4 is proven by DrillSystem", "there is no level %d of %s", level, verifyBackup)
	}
	if s.Random && level == lowestLevel {
		v.add(at("schedules", i, "random"), "remove it: level 0 looks at every backup", "random means nothing at level 0")
	}
}

func (v *validation) scheduledWorkflow(path, workflow string) bool {
	if !v.required(path, workflow) {
		return false
	}
	if strings.HasPrefix(workflow, "Recover") || strings.HasPrefix(workflow, "Restore") {
		v.add(path, "start recoveries with: lifeboat recover", "a recovery is never started by a schedule")
		return false
	}
	return v.refer(path, "workflow", workflow, named(schedulables(), func(one schedulable) string { return one.name }))
}

// scheduleTimes wants exactly one of when, cron and every, and one that comes.
func (v *validation) scheduleTimes(i int, s Schedule) {
	var given []string
	for _, one := range []struct {
		key string
		set bool
	}{{"when", s.When != ""}, {"cron", s.Cron != ""}, {"every", s.Every != 0}} {
		if one.set {
			given = append(given, one.key)
		}
	}
	if len(given) > 1 {
		v.add(at("schedules", i, given[1]), "keep one of them", "%s exclude each other", strings.Join(given, " and "))
		return
	}
	if len(given) == 0 {
		v.add(at("schedules", i, ""), fmt.Sprintf(`add cron: "0 2 * * *", every: 15m or when: %s`, whenForm), "the schedule has none of cron, every and when")
		return
	}
	_, _, err := s.Calendar()
	switch {
	case errors.Is(err, errBothDays):
		v.add(at("schedules", i, "cron"), "write it in words: when: "+whenForm, "%v", err)
	case err != nil && s.Cron != "":
		v.add(at("schedules", i, "cron"), "minute hour day-of-month month day-of-week, in UTC: 0 2 * * *", "%v", err)
	case err != nil:
		v.add(at("schedules", i, "when"), "such as, in UTC: when: "+whenForm, "%v", err)
	case s.Cron == "" && s.When == "" && s.Every < Duration(time.Minute):
		v.add(at("schedules", i, "every"), "give at least 1m", "%s is too often: runs would overlap", s.Every)
	case s.Every%Duration(time.Second) != 0:
		v.add(at("schedules", i, "every"), "give whole seconds", "%s has a part of a second", s.Every)
	}
}

func (v *validation) scheduleOf(path string, s Schedule) {
	known, is := findSchedulable(s.Workflow)
	if !is {
		return
	}
	if known.of == "" {
		v.add(path, "remove it", "%s concerns the whole system", s.Workflow)
		return
	}
	var names []string
	for _, c := range v.Components() {
		if c.Kind == known.of {
			names = append(names, c.Name)
		}
	}
	v.refer(path, string(known.of), s.Of, names)
}
