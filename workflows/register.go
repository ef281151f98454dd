// Package workflows names every workflow of Lifeboat in one place.
package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/backup"
	"github.com/frende/lifeboat/workflows/drill"
	"github.com/frende/lifeboat/workflows/extract"
	"github.com/frende/lifeboat/workflows/recovery"
	"github.com/frende/lifeboat/workflows/replicate"
	"github.com/frende/lifeboat/workflows/verify"
	"github.com/frende/lifeboat/workflows/watch"
)

// Registry is what a worker, a replayer and a test environment have in common.
type Registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
}

// Register registers every workflow under its exact type name.
func Register(registry Registry) {
	for _, w := range []struct {
		name       string
		definition any
	}{
		{api.BackupSystem, backup.System},
		{api.BackupDatabase, backup.Databases},
		{api.BackupCache, backup.Caches},
		{api.BackupFiles, backup.FileSets},
		{api.BackupConfiguration, backup.Configurations},
		{api.DumpDatabase, backup.Dumps},
		{api.RecoverSystem, recovery.System},
		{api.RecoverDatabase, recovery.Databases},
		{api.RecoverCache, recovery.Caches},
		{api.RecoverFiles, recovery.FileSets},
		{api.RecoverConfiguration, recovery.Configurations},
		{api.UndoRecovery, recovery.Undo},
		{api.RestoreDatabase, recovery.Database},
		{api.RestoreDump, recovery.Dump},
		{api.RestoreCache, recovery.Cache},
		{api.RestoreFiles, recovery.Files},
		{api.HoldSystem, recovery.Hold},
		{api.ReplicateStore, replicate.Store},
		{api.DrillSystem, drill.System},
		{api.CleanUp, watch.CleanUp},
		{api.ReportStatus, watch.ReportStatus},
		{api.CheckArchive, watch.CheckArchive},
		{api.ApplyRetention, watch.ApplyRetention},
		{api.VerifyBackup, verify.Backup},
		{api.ExtractDatabase, extract.Database},
		{api.CopyDatabase, extract.Copy},
	} {
		registry.RegisterWorkflowWithOptions(w.definition, workflow.RegisterOptions{Name: w.name})
	}
}
