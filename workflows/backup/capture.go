package backup

import (
	"fmt"
	"path"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// capture makes one backup, reads it back, and records it.
func (b *backing) capture(ctx workflow.Context, component system.Component) (api.BackupMade, error) {
	made, err := b.source(ctx, component)
	if err != nil {
		return made, err
	}
	made.Component = component.ID

	var vaultActivities *vault.Activities
	var verified vault.VerifyResult
	if err := b.Do(ctx, b.step(component, "read-back", fmt.Sprintf("read back every byte of %s", made.Key), run.Long), vaultActivities.Verify,
		vault.VerifyInput{System: b.system, Key: made.Key}, &verified,
		func() string {
			return fmt.Sprintf("L1: %s in %d objects", system.Bytes(verified.Bytes).Human(), verified.Objects)
		}); err != nil {
		return made, err
	}
	made.Proof = "L1"

	var recordActivities *records.Activities
	err = b.Do(ctx, b.step(component, "record", "record the backup of "+component.ID, run.Quick), recordActivities.RecordBackup,
		records.BackupInput{System: b.system, Run: b.Progress.ID + "@" + b.Progress.RunID, Key: made.Key, Backup: made}, nil, nil)
	if err != nil {
		return made, err
	}
	return b.reference(ctx, component, made)
}

// takeReference is the change from which on a backup of a database takes down what its source holds.
const takeReference = "backup-takes-reference"

// reference takes down what the source of a database's backup holds, right behind
// it, so that the backup can be proven at L3. Where that is not possible, the backup
// is as good as ever, and its step says why.
func (b *backing) reference(ctx workflow.Context, component system.Component, made api.BackupMade) (api.BackupMade, error) {
	if component.Kind != system.KindDatabase {
		return made, nil
	}
	database, err := b.system.Database(component.Name)
	if err != nil || database.Compare != system.CompareFull || workflow.GetVersion(ctx, takeReference, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return made, err
	}
	var activities *postgres.Activities
	var kept postgres.KeepReferenceResult
	if err := b.Do(ctx, b.step(component, "reference", "take down what "+component.Name+" holds, to compare with", run.Spare), activities.KeepReference,
		postgres.KeepReferenceInput{Ref: postgres.Ref{System: b.system, Component: component.Name, RunID: b.runID()}, Key: made.Key}, &kept, func() string {
			return fmt.Sprintf("%d tables and sequences, at the end of %s", kept.Tables, kept.Segment)
		}); err != nil && ctx.Err() != nil {
		return made, err
	} else if err != nil {
		made.Note = strings.TrimPrefix(made.Note+"; it can't be proven at L3: "+run.Reason(err), "; ")
	}
	return made, nil
}

func (b *backing) step(component system.Component, name, title string, class run.Class) run.Step {
	return run.Step{ID: component.ID + "/" + name, Component: component.ID, Title: title, Class: class}
}

// runID is what a backup in the store belongs to: this execution of this workflow.
func (b *backing) runID() string { return b.Progress.ID + "@" + b.Progress.RunID }

func (b *backing) source(ctx workflow.Context, component system.Component) (api.BackupMade, error) {
	switch component.Kind {
	case system.KindDatabase:
		if b.Progress.Workflow == api.DumpDatabase {
			return b.dump(ctx, component)
		}
		return b.database(ctx, component)
	case system.KindCache:
		return b.cache(ctx, component)
	default:
		return b.fileSet(ctx, component)
	}
}

func (b *backing) database(ctx workflow.Context, component system.Component) (api.BackupMade, error) {
	var activities *postgres.Activities
	ref := postgres.Ref{System: b.system, Component: component.Name, RunID: b.runID()}
	var ready postgres.BackupPreflightResult
	if err := b.Do(ctx, b.step(component, "preflight", "check server, rights and archiving of "+component.Name, run.Quick), activities.BackupPreflight,
		postgres.BackupPreflightInput{Ref: ref}, &ready, func() string { return system.Bytes(ready.Bytes).Human() }); err != nil {
		return api.BackupMade{}, err
	}
	var taken postgres.BaseBackupResult
	if err := b.Do(ctx, b.step(component, "base-backup", fmt.Sprintf("base backup of %s (%s)", component.Name, system.Bytes(ready.Bytes).Human()), run.Long), activities.BaseBackup,
		postgres.BaseBackupInput{Ref: ref, By: b.in.By, At: b.Progress.Started, Full: b.in.Full}, &taken, func() string { return shared(taken) }); err != nil {
		return api.BackupMade{}, err
	}
	var notes []string
	if taken.Facts.NoStandby != "" {
		notes = append(notes, "taken from the primary: "+taken.Facts.NoStandby)
	}
	if taken.Facts.Damaged > 0 {
		notes = append(notes, damaged(taken.Facts))
	}
	return api.BackupMade{
		Key: taken.Key, Bytes: taken.Bytes, Stored: taken.Stored, LSN: taken.Facts.StopLSN.String(),
		From: taken.Facts.Started, To: taken.Facts.Finished, Note: strings.Join(notes, "; "),
	}, nil
}

// damagedNamed is how many damaged files a note names.
const damagedNamed = 3

// damaged says in which files and blocks the source has pages with wrong checksums.
func damaged(facts postgres.Facts) string {
	note := fmt.Sprintf("%d files have pages with wrong checksums", facts.Damaged)
	var named []string
	for _, file := range facts.DamagedIn[:min(len(facts.DamagedIn), damagedNamed)] {
		named = append(named, file.String())
	}
	if len(named) > 0 {
		note += ": " + strings.Join(named, "; ")
	}
	if more := len(facts.DamagedIn) - len(named); more > 0 {
		note += fmt.Sprintf("; and %d more files", more)
	}
	return note
}

// shared says from where a base backup was taken, and how much of it an earlier one had already.
func shared(taken postgres.BaseBackupResult) string {
	told := taken.Key
	if taken.Facts.Standby != "" {
		told += ", from the standby " + taken.Facts.Standby
	}
	if taken.Shared == 0 {
		return told
	}
	return fmt.Sprintf("%s, %s of it as in %s", told, system.Bytes(taken.Shared).Human(), path.Base(taken.Base))
}

// unchanged says whether the newest backup of a cache still equals it and is
// proven; nil when a backup is needed. No recorded history has an input that asks
// for it, so that all of them replay without a version of their own.
func (b *backing) unchanged(ctx workflow.Context, component system.Component) (*api.Unchanged, error) {
	var redisActivities *redis.Activities
	cache, err := b.system.Cache(component.Name)
	if err != nil {
		return nil, err
	}
	var found redis.UnchangedResult
	if err := b.Do(ctx, b.step(component, "changed", "ask whether "+component.Name+" changed since its newest backup", run.Quick), redisActivities.Unchanged,
		redis.UnchangedInput{System: b.system, Cache: cache}, &found, func() string {
			if found.Why != "" {
				return "backup needed: " + found.Why
			}
			return "nothing changed since " + found.Key
		}); err != nil || found.Why != "" {
		return nil, err
	}
	same := &api.Unchanged{Component: component.ID, Key: found.Key, At: found.At}
	var recordActivities *records.Activities
	var recorded records.UnchangedResult
	if err := b.Do(ctx, b.step(component, "record-unchanged", "record that "+found.Key+" still equals "+component.ID, run.Quick), recordActivities.RecordUnchanged,
		records.UnchangedInput{System: b.system, Unchanged: *same}, &recorded, func() string {
			if recorded.Proof == "" {
				return "backup needed: the newest one is not proven"
			}
			return "fresh: " + recorded.Proof
		}); err != nil || recorded.Proof == "" {
		return nil, err
	}
	same.Proof = recorded.Proof
	return same, nil
}

func (b *backing) cache(ctx workflow.Context, component system.Component) (api.BackupMade, error) {
	var activities *redis.Activities
	cache, err := b.system.Cache(component.Name)
	if err != nil {
		return api.BackupMade{}, err
	}
	var ready redis.BackupPreflightResult
	if err := b.Do(ctx, b.step(component, "preflight", "check server and persistence of "+component.Name, run.Quick), activities.BackupPreflight,
		redis.BackupPreflightInput{System: b.system, Cache: cache}, &ready, func() string { return fmt.Sprintf("%d keys", ready.Facts.Keys) }); err != nil {
		return api.BackupMade{}, err
	}
	var taken redis.BackupResult
	if err := b.Do(ctx, b.step(component, "rdb", fmt.Sprintf("RDB of %s (%d keys)", component.Name, ready.Facts.Keys), run.Long), activities.Backup,
		redis.BackupInput{System: b.system, Cache: cache, RunID: b.runID(), By: b.in.By, At: b.Progress.Started}, &taken, func() string { return taken.Key }); err != nil {
		return api.BackupMade{}, err
	}
	return api.BackupMade{Key: taken.Key, Bytes: taken.Bytes, Stored: taken.Stored, From: taken.Facts.Started, To: taken.Facts.Forked}, nil
}

func (b *backing) fileSet(ctx workflow.Context, component system.Component) (api.BackupMade, error) {
	var activities *files.Activities
	set, folder, err := b.set(component)
	if err != nil {
		return api.BackupMade{}, err
	}
	var taken files.BackupResult
	if err := b.Do(ctx, b.step(component, "capture", "capture "+set.Root, run.Long), activities.Backup,
		files.BackupInput{System: b.system, Set: set, Folder: folder, RunID: b.runID(), By: b.in.By, At: b.Progress.Started}, &taken,
		func() string {
			return fmt.Sprintf("%s: %d files, %s", taken.Key, taken.Facts.Files, system.Bytes(taken.Facts.Bytes).Human())
		}); err != nil {
		return api.BackupMade{}, err
	}
	note := ""
	if taken.Facts.Changed > 0 {
		note = fmt.Sprintf("%d files changed while they were read and are flagged", taken.Facts.Changed)
	}
	return api.BackupMade{Key: taken.Key, Bytes: taken.Bytes, Stored: taken.Stored, From: taken.Facts.Started, To: taken.Facts.Finished, Note: note}, nil
}

func (b *backing) set(component system.Component) (system.FileSet, string, error) {
	if component.Kind == system.KindConfiguration {
		set, err := b.system.Configuration(component.Name)
		return set, files.FolderConfiguration, err
	}
	set, err := b.system.FileSet(component.Name)
	return set, files.FolderFiles, err
}
