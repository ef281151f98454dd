package recovery_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
)

func TestASystemIsRecoveredToATimeAndTheRecordSaysSo(t *testing.T) {
	at := time.Date(2024, 1, 15, 9, 40, 0, 0, time.UTC)
	before := at.Add(-time.Minute)
	goal := &postgres.Goal{Timeline: 1}
	goal.Time = at
	s := newStage(t)
	var asked []time.Time
	var goals []*postgres.Goal
	seen := func(ref postgres.Ref) {
		s.mu.Lock()
		defer s.mu.Unlock()
		goals = append(goals, ref.Goal)
	}
	replace(s, "postgres.RestorePreflight", func(_ context.Context, in postgres.RestorePreflightInput) (postgres.RestorePreflightResult, error) {
		require.Equal(t, plan.Point{Time: at}, in.To)
		require.Nil(t, in.Goal)
		return postgres.RestorePreflightResult{Key: "database-backups/x", Goal: goal, Facts: postgres.Facts{Started: backupTaken}}, nil
	})
	reached := postgres.ReplayResult{LSN: 0x3000148, Timeline: 1, Committed: &before, Reached: true}
	replace(s, "postgres.Replay", func(_ context.Context, in postgres.ReplayInput) (postgres.ReplayResult, error) {
		seen(in.Ref)
		return reached, nil
	})
	replace(s, "postgres.SalvageWAL", func(_ context.Context, in postgres.SalvageWALInput) (postgres.SalvageWALResult, error) {
		seen(in.Ref)
		return postgres.SalvageWALResult{}, nil
	})
	replace(s, "postgres.ReplayFinal", func(_ context.Context, in postgres.ReplayInput) (postgres.ReplayResult, error) {
		seen(in.Ref)
		return reached, nil
	})
	replace(s, "postgres.Verify", func(_ context.Context, in postgres.VerifyInput) (postgres.VerifyResult, error) {
		seen(in.Ref)
		return postgres.VerifyResult{}, nil
	})
	replace(s, "postgres.CutOver", func(_ context.Context, in postgres.CutOverInput) (postgres.CutOverResult, error) {
		seen(in.Ref)
		return postgres.CutOverResult{}, nil
	})
	note := func(when time.Time) {
		s.mu.Lock()
		defer s.mu.Unlock()
		asked = append(asked, when)
	}
	replace(s, "redis.RestorePreflight", func(_ context.Context, in redis.RestorePreflightInput) (redis.RestorePreflightResult, error) {
		note(in.Before)
		return redis.RestorePreflightResult{Key: "redis-backups/x"}, nil
	})
	replace(s, "files.RestorePreflight", func(_ context.Context, in files.RestorePreflightInput) (files.RestorePreflightResult, error) {
		note(in.Before)
		return files.RestorePreflightResult{Key: "file-backups/x"}, nil
	})
	in := approved()
	in.To = "2024-01-15T10:40:00+01:00"
	result, err := s.recover(in)
	require.NoError(t, err)
	require.Equal(t, []time.Time{at, at, at}, asked)
	require.Equal(t, []*postgres.Goal{goal, goal, goal, goal, goal}, goals, "every step is told where it ends")
	for _, component := range result.Components {
		require.Equal(t, "2024-01-15T09:40:00Z", component.Asked)
		if component.Component == "database/frende" {
			require.Equal(t, at, component.Point.From, "all that was committed by then is there")
			require.Equal(t, at, component.Point.To, "and nothing after")
			require.Equal(t, "0/3000148", component.Point.LSN)
		}
	}
	for _, point := range s.filed[0].Points {
		require.Equal(t, "2024-01-15T09:40:00Z", point.Asked)
	}
	require.Contains(t, s.filedStep("database/frende/replay").Detail, "last commit 2024-01-15 09:39:00.000, and stands there: 2024-01-15T09:40:00Z")
}

func TestATimeInTheFutureIsRefusedBeforeAnythingIsLookedAt(t *testing.T) {
	s := newStage(t)
	in := approved()
	in.To = "2024-01-15T09:59:00Z"
	_, err := s.recover(in)
	require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
	require.ErrorContains(t, err, "it lies in the future")
	require.Zero(t, s.calls("postgres.RestorePreflight"))
	require.Zero(t, s.calls("files.RestorePreflight"))
}
