package verify

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// list holds every backup of a component, or the one that is named, against what each
// store lists: L0. Nothing is marked: a recovery looks for itself whether a backup is whole.
func (v *verifying) list(ctx workflow.Context, s subject) error {
	primary, err := v.system.Primary()
	if err != nil {
		return err
	}
	first := v.listIn(ctx, s, "list", primary.Name, false)
	if ctx.Err() != nil {
		return first
	}
	replica, ok := v.system.ReplicaOf(primary)
	if !ok {
		return first
	}
	second := v.listIn(ctx, s, "list-replica", replica.Name, true)
	if first != nil {
		if second != nil {
			v.failed = append(v.failed, first)
			return second
		}
		return first
	}
	return second
}

func (v *verifying) listIn(ctx workflow.Context, s subject, name, store string, replica bool) error {
	what := "every backup of " + s.component.ID
	if s.key != "" {
		what = s.key
	}
	var activities *vault.Activities
	var found api.Listed
	if err := v.Do(ctx, v.step(s, name, "hold "+what+" against what "+store+" lists", run.Long), activities.List,
		vault.ListInput{System: v.system, Component: s.component, Key: s.key, Copy: replica}, &found, found.String); err != nil {
		return err
	}
	v.result.Listed = append(v.result.Listed, found)
	if found.Wrong == 0 {
		return nil
	}
	one := found.Lacking[0]
	told := "in " + store + ": " + one.Why
	if found.Wrong > 1 {
		told += fmt.Sprintf("; and %d more backups of %s", found.Wrong-1, s.component.ID)
	}
	hint := "take a new backup, and find out what removes objects from " + store
	if replica {
		hint = "lifeboat status says how far the replica is; bring it up to date: temporal workflow start --type ReplicateStore --task-queue " + api.Queue
	}
	return fault.Newf(fault.BackupIncomplete, "list", one.Key, "%s", told).WithHint("%s", hint)
}

// checks are what a record keeps of the listings.
func (v *verifying) checks() []report.Check {
	var all []report.Check
	for _, one := range v.result.Listed {
		all = append(all, report.Check{Name: one.Component + " in " + one.Store + " at L0", OK: one.Wrong == 0, Message: one.String()})
		for _, lacking := range one.Lacking {
			all = append(all, report.Check{Name: lacking.Key + " in " + one.Store + " at L0", Message: lacking.Why})
		}
	}
	return all
}
