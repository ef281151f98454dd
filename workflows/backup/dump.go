package backup

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// dump takes a logical dump of the component's database.
func (b *backing) dump(ctx workflow.Context, component system.Component) (api.BackupMade, error) {
	var activities *postgres.Activities
	format, err := postgres.ParseDumpFormat(b.in.Format)
	if err != nil {
		return api.BackupMade{}, err
	}
	ref := postgres.Ref{System: b.system, Component: component.Name, RunID: b.runID()}
	var ready postgres.DumpPreflightResult
	if err := b.Do(ctx, b.step(component, "preflight", "check server, rights and programs of "+component.Name, run.Quick), activities.DumpPreflight,
		postgres.DumpPreflightInput{Ref: ref, Format: format}, &ready, func() string { return system.Bytes(ready.Bytes).Human() }); err != nil {
		return api.BackupMade{}, err
	}
	var taken postgres.DumpResult
	title := fmt.Sprintf("dump %s in format %s (%s)", component.Name, format, system.Bytes(ready.Bytes).Human())
	if err := b.Do(ctx, b.step(component, "dump", title, run.Long), activities.Dump,
		postgres.DumpInput{Ref: ref, Format: format, By: b.in.By, At: b.Progress.Started}, &taken,
		func() string {
			return fmt.Sprintf("%s: %d tables, %d rows", taken.Key, taken.Facts.Tables, taken.Facts.Rows)
		}); err != nil {
		return api.BackupMade{}, err
	}
	return api.BackupMade{Key: taken.Key, Bytes: taken.Bytes, Stored: taken.Stored, From: taken.Facts.Started, To: taken.Facts.Snapshot}, nil
}
