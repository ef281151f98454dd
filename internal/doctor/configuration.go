package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/frende/lifeboat/internal/system"
)

// configuration asks what the file itself answers.
func (x *Examination) configuration() {
	s := x.System
	valid := func(subject string, a answer) {
		x.add(Configuration, subject, "valid", func(context.Context) answer { return a })
	}
	for _, found := range x.Findings {
		subject := found.Path
		if subject == "" {
			subject = x.File
		}
		a := problem(found.String(), "no backup and no recovery starts with a configuration that is wrong", found.Hint)
		valid(subject, a)
	}
	if len(x.Findings) == 0 {
		valid(s.Name, well("%s is valid", x.File))
	}
	x.add(Configuration, s.Name, "review", x.review)
	x.add(Configuration, s.Name, "contacts", x.contacts)
	x.add(Configuration, s.Name, "enabled", func(context.Context) answer {
		if !s.Backup.Enabled {
			return warning("backups are switched off", "nothing new is backed up", fmt.Sprintf("set backup.enabled: true in %s, or unset %s", x.File, system.EnvEnabled))
		}
		return well("backups are on")
	})
	x.add(Configuration, s.Name, "replica", x.replica)
	x.add(Configuration, s.Name, "second key", func(context.Context) answer {
		if len(s.Keys.Encryption)+len(s.Keys.Recipients) < 2 {
			return warning("one key alone opens the backups", "when it is lost, every backup is lost",
				fmt.Sprintf("add a second key under keys.encryption, or a public key under keys.recipients, in %s; keep it away from this host and from the bucket", x.File))
		}
		return well("%d keys open every backup", len(s.Keys.Encryption)+len(s.Keys.Recipients))
	})
	for _, component := range s.Components() {
		x.add(Configuration, component.ID, "schedule", func(context.Context) answer { return x.schedule(component) })
	}
}

func (x *Examination) review(context.Context) answer {
	const why = "a plan that nobody reads again describes a system that no longer exists"
	mend := fmt.Sprintf("read the plan, then set plan.last_review and plan.next_review in %s", x.File)
	next := x.System.Plan.NextReview
	switch late := x.Now().Sub(next.Time); {
	case next.IsZero():
		return warning("no date of the next review is set", why, mend)
	case late >= day:
		return warning(fmt.Sprintf("its review is overdue since %s (%s)", next, brief(late)), why, mend)
	}
	return well("next review on %s", next)
}

func (x *Examination) contacts(context.Context) answer {
	const why = "at 3 a.m. nobody should have to search for whom to call"
	var missing []string
	if len(x.System.Contacts.Primary) == 0 {
		missing = append(missing, "contacts.primary")
	}
	if len(x.System.Contacts.Escalation) == 0 {
		missing = append(missing, "contacts.escalation")
	}
	if len(missing) > 0 {
		return warning("nobody is named under "+strings.Join(missing, " and "), why, fmt.Sprintf("add role and email of each under contacts in %s", x.File))
	}
	return well("%d people are named", len(x.System.Contacts.Primary)+len(x.System.Contacts.Escalation))
}

func (x *Examination) replica(context.Context) answer {
	primary, err := x.System.Primary()
	if err != nil {
		return failure(err, "without a store nothing is kept")
	}
	copied, ok := x.System.ReplicaOf(primary)
	if !ok {
		return warning(fmt.Sprintf("store %s has no replica", primary.Name), "a region that is lost takes its backups along",
			fmt.Sprintf("add a store in another region, and name it as replica of %s in %s", primary.Name, x.File))
	}
	if copied.Region == primary.Region {
		return warning(fmt.Sprintf("the replica %s is in the same region, %s", copied.Name, copied.Region), "a region that is lost takes both along",
			"move the replica to another region: a new bucket there, and its name and region in "+x.File)
	}
	return well("%s in %s is the replica of %s in %s", copied.Name, copied.Region, primary.Name, primary.Region)
}

// schedule says whether the component is backed up by itself, and often enough.
// A database is as recent as its WAL, whatever the age of its base backup.
func (x *Examination) schedule(component system.Component) answer {
	kinds := map[string]system.ComponentKind{
		"BackupDatabase": system.KindDatabase, "BackupCache": system.KindCache, "BackupFiles": system.KindFiles, "BackupConfiguration": system.KindConfiguration,
	}
	of := slices.DeleteFunc(slices.Clone(x.System.Schedules), func(s system.Schedule) bool {
		kind, partial := kinds[s.Workflow]
		return s.Workflow != "BackupSystem" && (!partial || kind != component.Kind || s.Of != "" && s.Of != component.Name)
	})
	workflow := ""
	for name, kind := range kinds {
		if kind == component.Kind {
			workflow = name
		}
	}
	mend := fmt.Sprintf("add to schedules in %s: {name: %s-%s, workflow: %s, of: %s, every: %s}",
		x.File, component.Kind, component.Name, workflow, component.Name, component.RPO)
	if len(of) == 0 {
		return warning("no schedule backs it up", fmt.Sprintf("its recovery point objective of %s holds only if somebody remembers", component.RPO), mend)
	}
	for _, s := range of {
		if s.Cron != "" || s.Every <= component.RPO || component.Kind == system.KindDatabase {
			return well("schedule %s backs it up", s.Name)
		}
	}
	return warning(fmt.Sprintf("it is backed up every %s, and its recovery point objective is %s", of[0].Every, component.RPO),
		"what is lost may be more than the plan allows", fmt.Sprintf("set every: %s at schedule %s in %s", component.RPO, of[0].Name, x.File))
}
