package recovery_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/workflows/api"
)

const dumpKey = "database-backups/2024/01/15/frende_db_backup_20240115_020000.sql.gz"

// dumpStage is a stage on which a dump is restored.
func dumpStage(t *testing.T) *stage {
	s := newStage(t)
	answer(s, "postgres.RestoreDumpPreflight", postgres.RestoreDumpPreflightInput{}, postgres.RestoreDumpPreflightResult{
		Key: dumpKey, Place: postgres.DumpPlace{Database: "frende", Staging: "frende_restoring_x", Old: "frende_before_x", Exists: true},
		Facts: postgres.DumpFacts{Started: backupTaken, Snapshot: backupTaken.Add(time.Second), Tables: 2, Rows: 200},
	})
	answer(s, "postgres.RestoreDump", postgres.RestoreDumpInput{}, postgres.RestoreResult{Bytes: 1000})
	answer(s, "postgres.VerifyDump", postgres.VerifyDumpInput{}, postgres.VerifyResult{Compared: 3, Tables: []postgres.TableCount{{Table: "users", Rows: 200}}})
	answer(s, "postgres.CloseDatabase", postgres.DumpPlaceInput{}, postgres.CloseDatabaseResult{Closed: true, Ended: 4})
	answer(s, "postgres.SwapDatabases", postgres.SwapDatabasesInput{}, postgres.SwapDatabasesResult{Old: "frende_before_x"})
	answer(s, "postgres.ReopenDatabase", postgres.DumpPlaceInput{}, none{})
	answer(s, "postgres.DiscardDump", postgres.DumpPlaceInput{}, none{})
	return s
}

func TestADatabaseIsRecoveredFromADumpBesideTheOthers(t *testing.T) {
	s := dumpStage(t)
	in := approved()
	in.To = "backup:" + dumpKey
	result, err := s.recover(in)
	require.NoError(t, err)
	require.Less(t, s.first("postgres.VerifyDump"), s.first("services.Stop"), "production is touched when all is proven")
	require.Less(t, s.first("services.Stop"), s.first("postgres.CloseDatabase"))
	require.Less(t, s.first("records.RecordPoints"), s.first("postgres.SwapDatabases"))
	require.Less(t, s.first("postgres.SwapDatabases"), s.first("services.Start"))
	for _, never := range []string{"postgres.RestorePreflight", "postgres.CutOver", "postgres.DiscardDump", "postgres.ReopenDatabase"} {
		require.Zero(t, s.calls(never), never)
	}
	database := result.Components[0]
	require.Equal(t, dumpKey, database.Backup)
	require.Equal(t, api.RecoveryPoint{From: backupTaken, To: backupTaken.Add(time.Second)}, database.Point)
	require.Equal(t, []string{"database frende_before_x"}, database.Undo)
	require.Equal(t, 3, database.Compared)
	require.Equal(t, "3 tables and sequences, large objects, extensions and objects equal what was dumped; users 200 rows", s.filedStep("database/frende/verify").Detail)
	require.Equal(t, "4 sessions ended; it lets nobody in", s.filedStep("database/frende/fence").Detail)
	require.Equal(t, "the old one is kept as database frende_before_x", s.filedStep("database/frende/cut-over").Detail)
}

func TestADumpThatDiffersTouchesNothingAndIsDropped(t *testing.T) {
	s := dumpStage(t)
	replace(s, "postgres.VerifyDump", func(context.Context, postgres.VerifyDumpInput) (postgres.VerifyResult, error) {
		return postgres.VerifyResult{}, temporalfault.ToTemporal(fault.Newf(fault.VerificationFailed, "compare", "public.users", "it has 7 rows, and had 8"))
	})
	in := approved()
	in.To = "backup:" + dumpKey
	_, err := s.recover(in)
	require.True(t, fault.Has(err, fault.VerificationFailed), "%v", err)
	require.Equal(t, 1, s.calls("postgres.DiscardDump"))
	require.Zero(t, s.calls("services.Stop"))
	require.Zero(t, s.calls("postgres.CloseDatabase"))
}

func TestAFaultAfterTheLivingDatabaseWasClosedOpensItAgain(t *testing.T) {
	s := dumpStage(t)
	replace(s, "postgres.CloseDatabase", func(context.Context, postgres.DumpPlaceInput) (postgres.CloseDatabaseResult, error) {
		return postgres.CloseDatabaseResult{}, temporalfault.ToTemporal(fault.Newf(fault.TargetRefused, "close", "database frende", "transaction t is prepared in it"))
	})
	in := approved()
	in.To = "backup:" + dumpKey
	_, err := s.recover(in)
	require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
	require.Equal(t, 1, s.calls("postgres.ReopenDatabase"))
	require.Less(t, s.first("postgres.ReopenDatabase"), s.first("postgres.DiscardDump"))
	require.Zero(t, s.calls("postgres.SwapDatabases"))
	require.Equal(t, 1, s.calls("services.Start"), "the old system goes on as it was")
}
