package verify_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

const baseKey = "database-backups/2024/01/15/frende_db_backup_20240115_020000.base"

// stage is a test environment whose activities all succeed at once, but for those in fails.
type stage struct {
	*testsuite.TestWorkflowEnvironment
	mu        sync.Mutex // activities may run at once
	t         *testing.T
	fails     map[string]error // by activity
	fallbacks []postgres.Fallback
	chosen    string
	done      []string // activities, in their order
	chose     []vault.ChooseInput
	judged    []vault.JudgeInput
	verified  []api.Verified
	filed     []report.Run
	listed    map[bool]api.Listed // of the replica or not
}

func at(level int) *int { return &level }

func newStage(t *testing.T) *stage {
	var suite testsuite.WorkflowTestSuite
	s := &stage{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t, fails: map[string]error{}, chosen: baseKey}
	s.SetTestTimeout(time.Minute)
	s.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
	s.SetStartTime(time.Date(2024, 1, 16, 3, 0, 0, 0, time.UTC))
	workflows.Register(s)
	s.RegisterActivityWithOptions(records.New(records.Deps{
		Load: func() (system.System, error) {
			return system.System{
				Name: "frende", Backup: system.Backup{Enabled: true, Compression: "zstd"}, Stores: []system.Store{{Name: "primary", Replica: "second"}, {Name: "second"}},
				Databases: []system.Database{{Name: "frende"}}, Caches: []system.Cache{{Name: "sessions"}}, Targets: []system.Target{{Name: "production", Kind: system.TargetProduction}},
			}, nil
		},
	}), activity.RegisterOptions{Name: "records.", DisableAlreadyRegisteredCheck: true})
	step(s, "records.RecordVerified", func(in records.VerifiedInput) any { s.verified = append(s.verified, in.Verified); return nil })
	step(s, "records.FileReport", func(in records.ReportInput) any { s.filed = append(s.filed, in.Record); return nil })
	step(s, "vault.Choose", func(in vault.ChooseInput) any {
		s.chose = append(s.chose, in)
		return vault.ChooseResult{Key: s.chosen}
	})
	step(s, "vault.List", func(in vault.ListInput) any {
		found := s.listed[in.Copy]
		found.Component, found.Store = in.Component.ID, map[bool]string{false: "primary", true: "second"}[in.Copy]
		return s.or("list "+found.Store, found)
	})
	step(s, "vault.Judge", func(in vault.JudgeInput) any { s.judged = append(s.judged, in); return nil })
	step(s, "vault.Verify", func(in vault.VerifyInput) any {
		if in.System.From != "" {
			return vault.VerifyResult{Bytes: 1, Objects: 1}
		}
		return s.or("primary", vault.VerifyResult{Bytes: 1 << 20, Objects: 4})
	})
	step(s, "postgres.ScratchPreflight", func(in postgres.ScratchPreflightInput) any {
		require.True(t, in.Scratch)
		return postgres.ScratchPreflightResult{RestorePreflightResult: postgres.RestorePreflightResult{Bytes: 1 << 20}, Until: "000000010000000000000007", Compared: 12}
	})
	step(s, "postgres.Restore", func(postgres.RestoreInput) any { return postgres.RestoreResult{Bytes: 1 << 20, Fallbacks: s.fallbacks} })
	step(s, "postgres.VerifyFiles", func(postgres.VerifyFilesInput) any { return postgres.VerifyFilesResult{Files: 900} })
	step(s, "postgres.Replay", func(in postgres.ReplayInput) any {
		require.Equal(t, "000000010000000000000007", in.Until)
		return postgres.ReplayResult{LSN: 0x7000000}
	})
	step(s, "postgres.Verify", func(in postgres.VerifyInput) any {
		require.Equal(t, baseKey, in.Against)
		return postgres.VerifyResult{Compared: 12, Checks: []postgres.CheckResult{{SQL: "SELECT 1", Answer: "1"}}}
	})
	step(s, "postgres.CheckPages", func(postgres.CheckPagesInput) any { return postgres.CheckPagesResult{Checksums: true, Blocks: 3000} })
	step(s, "postgres.Inspect", func(postgres.InspectInput) any { return postgres.InspectResult{Databases: 3} })
	step(s, "postgres.DiscardScratch", func(in postgres.DiscardScratchInput) any {
		require.True(t, in.Scratch)
		return postgres.DiscardResult{Removed: true}
	})
	return s
}

// or gives an answer, or what was planned to fail in its place.
func (s *stage) or(what string, answer any) any {
	if err := s.fails[what]; err != nil {
		return err
	}
	return answer
}

// step registers an activity.
func step[I any](s *stage, name string, do func(I) any) {
	s.RegisterActivityWithOptions(func(_ context.Context, in I) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.done = append(s.done, name)
		answer := s.or(name, do(in))
		if err, failed := answer.(error); failed {
			return nil, temporalfault.ToTemporal(err)
		}
		return answer, nil
	}, activity.RegisterOptions{Name: name, DisableAlreadyRegisteredCheck: true})
}

func (s *stage) run(in api.VerifyInput) (api.VerifyResult, error) {
	s.ExecuteWorkflow(api.VerifyBackup, in)
	require.True(s.t, s.IsWorkflowCompleted())
	if err := s.GetWorkflowError(); err != nil {
		return api.VerifyResult{}, temporalfault.FromTemporal(err)
	}
	var result api.VerifyResult
	require.NoError(s.t, s.GetWorkflowResult(&result))
	return result, nil
}

func TestAProofIsRecordedWithWhatWasLookedAt(t *testing.T) {
	s := newStage(t)
	result, err := s.run(api.VerifyInput{Key: baseKey, Level: at(3), By: "ops@host"})
	require.NoError(t, err)
	require.Equal(t, []string{
		"postgres.ScratchPreflight", "postgres.Restore", "postgres.VerifyFiles", "postgres.Replay", "postgres.Verify", "postgres.CheckPages", "postgres.Inspect",
		"postgres.DiscardScratch", "vault.Judge", "records.RecordVerified", "records.FileReport",
	}, s.done)
	require.Len(t, result.Backups, 1)
	require.Equal(t, s.verified, result.Backups)
	one := result.Backups[0]
	require.Equal(t, "L3", one.Level)
	require.Equal(t, []any{int64(900), int64(3000), 12, 3, "0/7000000"}, []any{one.Files, one.Pages, one.Compared, one.Databases, one.Point.LSN})
	require.Empty(t, s.judged[0].Damage)
	require.Equal(t, report.Succeeded, s.filed[0].Outcome)
	require.Contains(t, s.filed[0].Checks[0].Message, "12 tables and sequences equal the source's")
}

func TestWhatSaysNothingOfTheBackupDoesNotMarkIt(t *testing.T) {
	for name, trial := range map[string]struct {
		at     string
		fault  *fault.Error
		level  int
		marked bool
	}{
		"a page":                        {"postgres.CheckPages", fault.Newf(fault.VerificationFailed, "check", "users", "block 7"), 2, true},
		"a table":                       {"postgres.Verify", fault.Newf(fault.VerificationFailed, "compare", "users", "rows"), 3, true},
		"an index":                      {"postgres.Inspect", fault.Newf(fault.VerificationFailed, "look into", "users_pkey", "order"), 3, true},
		"a chunk":                       {"postgres.Restore", fault.Newf(fault.IntegrityError, "read", baseKey+"/chunk/1/0", "damaged"), 3, true},
		"WAL up to its end":             {"postgres.Replay", fault.Newf(fault.IntegrityError, "read", "wal/frende/1/00000001/x", "damaged"), 2, true},
		"a hole before its end":         {"postgres.ScratchPreflight", fault.Newf(fault.WALGap, "pin", "wal/frende", "x is missing"), 2, true},
		"WAL behind it":                 {"postgres.Replay", fault.Newf(fault.IntegrityError, "read", "wal/frende/1/00000001/x", "damaged"), 3, false},
		"a hole behind it":              {"postgres.ScratchPreflight", fault.Newf(fault.WALGap, "pin", "wal/frende", "x is missing"), 3, false},
		"a full disk":                   {"postgres.ScratchPreflight", fault.Newf(fault.NoSpace, "restore", "/var", "12 MiB free"), 3, false},
		"another version of a library":  {"postgres.Inspect", fault.Newf(fault.VersionMismatch, "look into", "frende", "glibc"), 3, false},
		"a key that is not there":       {"postgres.Restore", fault.Newf(fault.KeyUnavailable, "open", "frende", "k1"), 2, false},
		"a reference that was not made": {"postgres.ScratchPreflight", fault.Newf(fault.Unsupported, "prove", baseKey, "no reference"), 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.fails[trial.at] = trial.fault
			_, err := s.run(api.VerifyInput{Component: "database", Level: at(trial.level)})
			require.True(t, fault.Has(err, trial.fault.Kind), "%v", err)
			require.Contains(t, s.done, "postgres.DiscardScratch", "nothing is left behind")
			require.Equal(t, report.Failed, s.filed[0].Outcome)
			if !trial.marked {
				require.Empty(t, s.judged)
				require.Empty(t, s.verified)
				return
			}
			require.Contains(t, s.judged[0].Damage, trial.fault.Subject)
			require.Equal(t, s.judged[0].Damage, s.verified[0].Damage)
		})
	}
}

func TestDamageInOneRegionIsToldAndDoesNotMarkTheBackup(t *testing.T) {
	s := newStage(t)
	s.fails["primary"] = fault.Newf(fault.IntegrityError, "read", baseKey+"/chunk/1/0", "damaged")
	_, err := s.run(api.VerifyInput{Key: baseKey})
	require.True(t, fault.Has(err, fault.StorageMissing), "%v", err)
	require.ErrorContains(t, err, "the copy in primary is damaged, and the one in second is whole")
	require.Empty(t, s.judged)

	s = newStage(t)
	s.fallbacks = []postgres.Fallback{{Object: baseKey + "/chunk/1/0", Reason: "IntegrityError", From: "primary", To: "second"}}
	_, err = s.run(api.VerifyInput{Key: baseKey, Level: at(2)})
	require.True(t, fault.Has(err, fault.StorageMissing), "%v", err)
	require.ErrorContains(t, err, "primary could not give it (IntegrityError), and second did")
	require.Empty(t, s.judged)

	s = newStage(t)
	s.fails["vault.Verify"] = fault.Newf(fault.IntegrityError, "read", baseKey+"/chunk/1/0", "damaged in both")
	_, err = s.run(api.VerifyInput{Key: baseKey})
	require.True(t, fault.Has(err, fault.IntegrityError), "%v", err)
	require.Len(t, s.judged, 1)
}

func TestEachComponentIsVerifiedAsFarAsThereIsALevel(t *testing.T) {
	s := newStage(t)
	result, err := s.run(api.VerifyInput{Level: at(2)})
	require.NoError(t, err)
	require.Len(t, result.Backups, 2)
	require.Equal(t, []string{"L2", "L1"}, []string{result.Backups[0].Level, result.Backups[1].Level})
	require.Equal(t, []string{"cache/sessions was verified at L1: there is no L2 of cache yet"}, result.Notes)

	s = newStage(t)
	_, err = s.run(api.VerifyInput{Component: "cache/sessions", Level: at(2)})
	require.True(t, fault.Has(err, fault.Unsupported), "%v", err)

	s = newStage(t)
	s.chosen = ""
	result, err = s.run(api.VerifyInput{Component: "database/frende", Level: at(3), Random: true})
	require.NoError(t, err)
	require.Equal(t, []string{"no backup of database/frende before the newest can be verified at L3"}, result.Notes)
	require.Equal(t, "reference", s.chose[0].With)
	require.NotEmpty(t, s.chose[0].Seed)
}

func TestAVerificationIsNotAskedForWhatItCanNotDo(t *testing.T) {
	for name, in := range map[string]api.VerifyInput{
		"a level that is the drill's": {Level: at(4)}, "a negative level": {Level: at(-1)}, "one of all by chance": {Level: at(0), Random: true}, "a key and a component": {Key: baseKey, Component: "database"}, "no key": {Key: "frende"},
	} {
		_, err := newStage(t).run(in)
		require.True(t, fault.Has(err, fault.InputInvalid), "%s: %v", name, err)
	}
	_, err := newStage(t).run(api.VerifyInput{Component: "database/other"})
	require.True(t, fault.Has(err, fault.NameUnknown), "%v", err)
}

const dumpKey = "database-backups/2024/01/15/frende_db_backup_20240115_023000.sql.gz"

func TestADumpIsVerifiedAtL1Only(t *testing.T) {
	_, err := newStage(t).run(api.VerifyInput{Key: dumpKey, Level: at(2)})
	require.True(t, fault.Has(err, fault.Unsupported), "%v", err)
	require.Contains(t, fault.HintOf(err), "--to backup:"+dumpKey)
	s := newStage(t)
	result, err := s.run(api.VerifyInput{Key: dumpKey})
	require.NoError(t, err)
	require.Equal(t, "L1", result.Backups[0].Level)
}

func TestAListingLooksAtEveryBackupInEachStoreAndMarksNone(t *testing.T) {
	s := newStage(t)
	s.listed = map[bool]api.Listed{false: {Backups: 30, Objects: 900, Bytes: 1 << 20, Locked: 30}, true: {Backups: 29, Objects: 870, Bytes: 1 << 20, Copying: 1}}
	result, err := s.run(api.VerifyInput{Level: at(0)})
	require.NoError(t, err)
	require.Len(t, result.Listed, 4, "two components in two stores")
	require.Empty(t, result.Backups)
	require.Empty(t, s.judged)
	require.Empty(t, s.verified)
	require.Len(t, s.filed, 1)
	require.Equal(t, report.Check{Name: "database/frende in primary at L0", OK: true, Message: "30 backups, 900 objects, 1.0 MiB; 30 locked"}, s.filed[0].Checks[0])
	require.Equal(t, "29 backups, 870 objects, 1.0 MiB; 1 being copied", s.filed[0].Checks[1].Message)

	s = newStage(t)
	s.listed = map[bool]api.Listed{false: {}, true: {Backups: 1, Wrong: 2, Lacking: []api.Lacking{{Key: baseKey, Why: "two are gone"}}}}
	_, err = s.run(api.VerifyInput{Level: at(0), Component: "database"})
	require.True(t, fault.Has(err, fault.BackupIncomplete), "%v", err)
	require.ErrorContains(t, err, "in second: two are gone; and 1 more backups of database/frende")
	require.Equal(t, report.Failed, s.filed[0].Outcome)
	require.Equal(t, report.Check{Name: baseKey + " in second at L0", Message: "two are gone"}, s.filed[0].Checks[2])

	s = newStage(t)
	s.fails["list primary"] = fault.Newf(fault.StorageDenied, "list", "primary", "no rights")
	_, err = s.run(api.VerifyInput{Level: at(0), Component: "database"})
	require.True(t, fault.Has(err, fault.StorageDenied), "%v", err)
	require.Contains(t, s.done, "vault.List")
	require.Len(t, s.filed[0].Checks, 1, "the replica was looked at all the same")
}
