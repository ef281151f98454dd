package verify

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// Levels that can be asked for. L4 is the drill's.
const (
	listed  = 0
	lowest  = 1 // of which bytes are read
	highest = 3
)

// verifying is one verification of one or more backups.
type verifying struct {
	*run.Run
	in     api.VerifyInput
	level  int
	system system.System
	result api.VerifyResult
	failed []error
}

// subject is a backup that is verified.
type subject struct {
	component system.Component
	key       string // "" is chosen
	level     int
}

// Backup proves backups (workflow type VerifyBackup): the one that is named, or
// the newest, or an older one by chance, of each component. One that is damaged
// does not keep the others from being looked at; the run fails with what is wrong.
func Backup(ctx workflow.Context, in api.Input[api.VerifyInput]) (api.VerifyResult, error) {
	r, err := run.Begin(ctx, api.PhaseVerifying)
	if err != nil {
		return api.VerifyResult{}, err
	}
	v := &verifying{Run: r, result: api.VerifyResult{Started: r.Progress.Started, Backups: []api.Verified{}}}
	err = v.verify(ctx, in)
	disconnected, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	v.End(disconnected, err)
	v.result.Finished = *v.Progress.Finished
	v.file(disconnected, err)
	return v.result, run.Failure(err)
}

func (v *verifying) verify(ctx workflow.Context, in api.Input[api.VerifyInput]) error {
	// Step 1. What the system is, and of what is asked how much.
	subjects, err := v.pin(ctx, in)
	if err != nil {
		return err
	}
	// Step 2. One backup after the other: each needs room to be restored in.
	for _, one := range subjects {
		if err := v.one(ctx, one); err != nil {
			if ctx.Err() != nil {
				return err
			}
			v.failed = append(v.failed, err)
		}
	}
	if len(v.failed) > 0 {
		return v.failed[0]
	}
	return nil
}

// pin loads the configuration and finds what is verified.
func (v *verifying) pin(ctx workflow.Context, in api.Input[api.VerifyInput]) ([]subject, error) {
	var err error
	if v.in, err = in.Checked(api.VerifyBackup); err != nil {
		return nil, err
	}
	if v.level = lowest; v.in.Level != nil {
		v.level = *v.in.Level
	}
	if v.level < listed || v.level > highest {
		return nil, fault.Newf(fault.InputInvalid, "read input of", api.VerifyBackup, "there is no level %d here", v.level).
			WithHint("give 0 to 3; L4 is a drill: lifeboat drill run")
	}
	if v.level == listed && v.in.Random {
		return nil, fault.Newf(fault.InputInvalid, "read input of", api.VerifyBackup, "level 0 looks at every backup, and chooses none")
	}
	if v.in.Key != "" && (v.in.Random || v.in.Component != "") {
		return nil, fault.Newf(fault.InputInvalid, "read input of", api.VerifyBackup, "a key names one backup, and component and random choose one")
	}
	var activities *records.Activities
	var loaded records.Loaded
	if err := v.Do(ctx, run.Step{ID: "configuration", Title: "read and pin the configuration", Class: run.Quick}, activities.LoadSystem,
		records.LoadInput{System: v.in.System, From: v.in.From}, &loaded, func() string { return "plan version " + loaded.System.Plan.Version }); err != nil {
		return nil, err
	}
	v.system = loaded.System
	v.Progress.System, v.result.System = v.system.Name, v.system.Name
	wanted := v.in.Component
	if v.in.Key != "" {
		if wanted, err = plan.ComponentOf(strings.TrimSuffix(v.in.Key, "/")); err != nil {
			return nil, err
		}
	}
	kind, _, _ := strings.Cut(wanted, "/")
	v.Identify(ctx, cmp.Or(kind, "system"), loaded.SearchAttributes)
	var subjects []subject
	for _, c := range v.system.Components() {
		if wanted == "" || wanted == c.ID || wanted == string(c.Kind) {
			subjects = append(subjects, subject{component: c, key: strings.TrimSuffix(v.in.Key, "/"), level: v.level})
		}
	}
	if len(subjects) == 0 {
		return nil, fault.Newf(fault.NameUnknown, "verify backups of", wanted, "the configuration has no such component").
			WithHint("see the components with: lifeboat config check")
	}
	return v.possible(subjects, wanted != "")
}

// possible lowers the level of those for which there is none as high, or refuses
// when one is asked for by name.
func (v *verifying) possible(subjects []subject, named bool) ([]subject, error) {
	for i := range subjects {
		one := &subjects[i]
		if one.level <= lowest {
			continue
		}
		if plan.IsDump(one.key) {
			return nil, fault.Newf(fault.Unsupported, "verify at "+level(one.level), one.key, "a dump is verified at L1 only: every byte read and authenticated").
				WithHint("verify it with --level 1; a recovery restores a dump beside the living database and compares all of it, and lifeboat abort leaves that as it was: lifeboat recover database --to backup:%s", one.key)
		}
		if one.component.Kind == system.KindDatabase {
			continue
		}
		if named {
			return nil, fault.Newf(fault.Unsupported, "verify at "+level(one.level), one.component.ID, "caches, files and configuration are verified at L1 only: every byte read and authenticated").
				WithHint("verify it with --level 1; a drill recovers all of them: lifeboat drill run")
		}
		v.note(fmt.Sprintf("%s was verified at L1: there is no %s of %s yet", one.component.ID, level(one.level), one.component.Kind))
		one.level = lowest
	}
	return subjects, nil
}

// one verifies one backup, and has what was found recorded.
func (v *verifying) one(ctx workflow.Context, s subject) error {
	if s.level == listed {
		return v.list(ctx, s)
	}
	if s.key == "" {
		if err := v.choose(ctx, &s); err != nil || s.key == "" {
			return err
		}
	}
	found := api.Verified{Component: s.component.ID, Key: s.key, Level: level(s.level), Random: v.in.Random, Run: v.Progress.ID + "@" + v.Progress.RunID}
	var err error
	if s.level == lowest {
		err = v.readBack(ctx, s, &found)
	} else {
		err = v.database(ctx, s, &found)
	}
	if ctx.Err() != nil {
		return err // called off: nothing was found
	}
	if err != nil && !damages(err, s.level) {
		return err // the verification could not be carried out: that says nothing of the backup
	}
	found.At = workflow.Now(ctx).UTC()
	if err != nil {
		found.Damage = run.Reason(err)
	}
	if recordErr := v.record(ctx, s, found); recordErr != nil {
		return errors.Join(err, recordErr)
	}
	v.result.Backups = append(v.result.Backups, found)
	return err
}

func (v *verifying) choose(ctx workflow.Context, s *subject) error {
	title := "find the newest backup of " + s.component.ID
	in := vault.ChooseInput{System: v.system, Component: s.component}
	if v.in.Random {
		title = "choose a backup of " + s.component.ID + " before the newest, by chance"
		in.Random, in.Seed = true, v.Progress.RunID
		if s.level == highest {
			in.With = "reference" // docs/FORMAT.md, section 11
		}
		in.Base = s.level > lowest
	}
	var activities *vault.Activities
	var chosen vault.ChooseResult
	err := v.Do(ctx, v.step(*s, "choose", title, run.Quick), activities.Choose, in, &chosen, func() string { return cmp.Or(chosen.Key, "there is none") })
	if err == nil && chosen.Key == "" {
		v.note("no backup of " + s.component.ID + " before the newest can be verified at " + level(s.level))
	}
	s.key = chosen.Key
	return err
}

// damages says whether what failed a verification is wrong with the backup itself,
// so that no recovery should take it.
func damages(err error, level int) bool {
	named := temporalfault.FromTemporal(err)
	switch fault.KindOf(named) {
	case fault.VerificationFailed, fault.HostileArchive:
		return true
	case fault.IntegrityError, fault.WALGap, fault.WALShort:
		// WAL far behind the backup is missing or damaged for the older ones, too.
		failed, ok := errors.AsType[*fault.Error](named)
		wal := ok && strings.HasPrefix(failed.Subject, "wal/") || !fault.Has(named, fault.IntegrityError)
		return !wal || level < highest
	}
	return false
}

// record puts a verdict beside the backup and on the ledger.
func (v *verifying) record(ctx workflow.Context, s subject, found api.Verified) error {
	var vaultActivities *vault.Activities
	var recordActivities *records.Activities
	title, name := "record that "+s.key+" is proven at "+found.Level, "record"
	if found.Damage != "" {
		title = "mark " + s.key + " as damaged"
	}
	if err := v.Do(ctx, v.step(s, "verdict", title, run.Quick), vaultActivities.Judge, vault.JudgeInput{
		System: v.system, Key: s.key, Level: found.Level, Run: found.Run, At: found.At, Damage: found.Damage,
	}, nil, nil); err != nil {
		return err
	}
	return v.Do(ctx, v.step(s, name, "put it on the ledger", run.Quick), recordActivities.RecordVerified, records.VerifiedInput{System: v.system, Verified: found}, nil, nil)
}

func (v *verifying) step(s subject, name, title string, class run.Class) run.Step {
	return run.Step{ID: s.component.ID + "/" + name, Component: s.component.ID, Title: title, Class: class}
}

func (v *verifying) note(text string) { v.result.Notes = append(v.result.Notes, text) }

func level(n int) string { return fmt.Sprintf("L%d", n) }
