package api

import (
	"fmt"
	"strings"
	"time"
)

// Queue is the task queue of a system that lives on one machine.
const Queue = "lifeboat"

// Types of the workflows that people and schedules start.
const (
	BackupSystem        = "BackupSystem"
	BackupDatabase      = "BackupDatabase"
	BackupCache         = "BackupCache"
	BackupFiles         = "BackupFiles"
	BackupConfiguration = "BackupConfiguration"
	DumpDatabase        = "DumpDatabase"

	RecoverSystem        = "RecoverSystem"
	RecoverDatabase      = "RecoverDatabase"
	RecoverCache         = "RecoverCache"
	RecoverFiles         = "RecoverFiles"
	RecoverConfiguration = "RecoverConfiguration"

	UndoRecovery = "UndoRecovery"

	ReplicateStore = "ReplicateStore"

	DrillSystem = "DrillSystem"

	ReportStatus = "ReportStatus"
	CleanUp      = "CleanUp"
	CheckArchive = "CheckArchive"

	ApplyRetention = "ApplyRetention"
	VerifyBackup   = "VerifyBackup"

	ExtractDatabase = "ExtractDatabase"
	CopyDatabase    = "CopyDatabase"
)

// Types of the children that a recovery starts, one per component. Their IDs
// are fixed, so that no two recoveries ever work on one component.
const (
	RestoreDatabase = "RestoreDatabase"
	RestoreDump     = "RestoreDump" // of a database, from a dump
	RestoreCache    = "RestoreCache"
	RestoreFiles    = "RestoreFiles" // file sets and configuration sets
)

// HoldSystem is the type of the child through which a recovery keeps all others off its system.
const HoldSystem = "HoldSystem"

// Queries and updates.
const (
	QueryProgress = "progress" // → Progress
	UpdateApprove = "approve"  // Approval → Answer
	UpdateAbort   = "abort"    // Abort → Answer
)

// Signals between a recovery and its children. Each carries the token that the
// child was started with, so that neither takes anybody else's for the other's.
const (
	SignalProceed = "proceed" // parent → child: the Gate that is open now
	SignalReport  = "report"  // child → parent: ComponentReport
)

// Search attributes of every run, all of type Keyword, and the values of the last.
const (
	AttributeSystem = "LifeboatSystem"
	AttributeKind   = "LifeboatKind"  // kind of component: "database", …; "system" for all, "store" for a replication
	AttributePhase  = "LifeboatPhase" // Phase
	AttributeRTO    = "LifeboatRTO"   // the worst that a clock of the run has reached; not set without an objective

	RTOOk       = "ok"
	RTO50       = "50" // at least half of an objective has passed
	RTO80       = "80"
	RTOBreached = "breached"
)

// Fields of every run's memo, which needs nothing of the namespace.
const (
	MemoSystem  = "system"
	MemoKind    = "kind"
	MemoPhase   = "phase"
	MemoRTO     = "rto"
	MemoPercent = "objective_percent" // how much of the whole's objective had passed when this was written
)

// SearchAttributes are the names of all search attributes.
func SearchAttributes() []string {
	return []string{AttributeSystem, AttributeKind, AttributePhase, AttributeRTO}
}

// RecoveryID is the workflow ID of a recovery that lifeboat starts: of a whole
// system when kind is "", else of one or all components of a kind. target is ""
// for production.
func RecoveryID(system, target, kind string) string {
	return ComponentRecoveryID(system, target, kind, "")
}

// ComponentRecoveryID is the fixed ID of the child that recovers one component
// of one target. kind and name are those of the component; target is "" for production.
func ComponentRecoveryID(system, target, kind, name string) string {
	if target != "" && target != "production" {
		return joined("recover", system, "target", target, kind, name)
	}
	return joined("recover", system, kind, name)
}

// UndoID is the workflow ID of an undo that lifeboat starts: one at a time.
func UndoID(system string) string { return joined("undo", system) }

// HoldID is the fixed ID of the child that holds a system for one recovery.
func HoldID(system string) string { return joined("hold", system) }

// BackupID is the workflow ID of a backup that lifeboat starts at a moment.
func BackupID(system, kind, name string, at time.Time) string {
	return joined("backup", system, kind, name, at.UTC().Format("20060102T150405Z"))
}

// DumpID is the workflow ID of a dump that lifeboat starts at a moment. A base
// backup may run at the same.
func DumpID(system, name string, at time.Time) string {
	return joined("dump", system, "database", name, at.UTC().Format("20060102T150405Z"))
}

// WALLostBackupID is the workflow ID of the backup that a check of the WAL archive
// begins when WAL was lost: one at a time.
func WALLostBackupID(system, name string) string {
	return joined("backup", system, "database", name, "wal-lost")
}

// ReplicationID is the workflow ID of the replication of a store.
func ReplicationID(system, store string) string { return joined("replicate", system, store) }

// DrillID is the workflow ID of a drill: one for each quarter, which may hold several runs.
func DrillID(system string, at time.Time) string {
	at = at.UTC()
	return joined("drill", system, fmt.Sprintf("%d-Q%d", at.Year(), (int(at.Month())+2)/3))
}

// VerifyID is the workflow ID of a verification that lifeboat starts: one at a time
// of a component, of a backup, or ("") of the whole system.
func VerifyID(system, what string) string { return joined("verify", system, what) }

// ExtractID is the workflow ID of an extraction that lifeboat starts at a moment.
func ExtractID(system, name string, at time.Time) string {
	return joined("extract", system, "database", name, at.UTC().Format("20060102T150405Z"))
}

// CopyID is the workflow ID of a copy that lifeboat restores to a directory at a moment.
func CopyID(system, name string, at time.Time) string {
	return joined("copy", system, "database", name, at.UTC().Format("20060102T150405Z"))
}

// CleanUpID is the workflow ID of a clean-up that lifeboat starts: one at a time.
func CleanUpID(system string) string { return joined("clean-up", system) }

// RetentionID is the workflow ID of a retention that lifeboat starts: one at a time.
func RetentionID(system string) string { return joined("retention", system) }

// ScheduleID is the ID of a schedule. Its runs have the same with the time of
// their start behind it: "schedule/frende/cache-2024-01-15T09:45:00Z".
func ScheduleID(system, name string) string { return joined("schedule", system, name) }

func joined(parts ...string) string {
	kept := parts[:0:0]
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "/")
}
