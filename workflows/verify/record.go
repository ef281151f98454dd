package verify

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

// file writes the run's record to the ledger. One that can't be filed is told:
// what was found of each backup is there already.
func (v *verifying) file(ctx workflow.Context, cause error) {
	if v.system.Name == "" {
		return
	}
	v.File(ctx, v.system, v.told(cause))
}

func (v *verifying) told(cause error) report.Run {
	record := v.Record(v.system, v.in.By, cause)
	record.Notes = v.result.Notes
	record.Checks = v.checks()
	for _, one := range v.result.Backups {
		record.Checks = append(record.Checks, report.Check{Name: one.Key + " at " + one.Level, OK: one.Damage == "", Message: found(one)})
		record.Notes = append(record.Notes, one.Notes...)
	}
	failures := v.failed
	if len(failures) == 0 && cause != nil {
		failures = []error{cause}
	}
	for _, err := range failures {
		record.Failures = append(record.Failures, run.RecordedFailure(err))
	}
	return record
}

// found is what was found of a backup, in one line.
func found(one api.Verified) string {
	if one.Damage != "" {
		return one.Damage
	}
	told := system.Bytes(one.Bytes).Human() + " read and authenticated"
	if one.Files > 0 {
		told += fmt.Sprintf("; %d files, %d pages, replayed to %s", one.Files, one.Pages, one.Point.LSN)
	}
	if one.Databases > 0 {
		told += fmt.Sprintf("; %d tables and sequences equal the source's, %d databases looked into, %d checks", one.Compared, one.Databases, len(one.Checks))
	}
	return told
}
