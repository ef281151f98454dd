package recovery_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/report"
)

func TestARecordThatTakesTooLongStopsNoRecovery(t *testing.T) {
	s := newStage(t)
	replace(s, "records.RecordPoints", func(context.Context, records.PointsInput) (records.PointsResult, error) {
		return records.PointsResult{}, temporal.NewHeartbeatTimeoutError()
	})
	_, err := s.recover(approved())
	require.NoError(t, err)
	require.Equal(t, 1, s.calls("postgres.CutOver"))
	require.Equal(t, 2, s.calls("records.RecordPoints"), "people wait for their services meanwhile")
	require.Equal(t, string(fault.StepTimeout), s.filedStep("record-recovery-point").Failure.Kind)
}

func TestADamagedLedgerStopsNoRecovery(t *testing.T) {
	for _, kind := range []fault.Kind{fault.IntegrityError, fault.KeyUnavailable, fault.FormatUnsupported} {
		s := newStage(t)
		damaged := temporalfault.ToTemporal(fault.New(kind, "read ledger record", "ledger/zzz/000000000001", nil))
		replace(s, "records.RecordPoints", func(context.Context, records.PointsInput) (records.PointsResult, error) {
			return records.PointsResult{}, damaged
		})
		_, err := s.recover(approved())
		require.NoError(t, err)
		require.Equal(t, 1, s.calls("postgres.Promote"))
		require.Zero(t, s.calls("postgres.Unfence"))
		require.Contains(t, s.filedStep("record-recovery-point").Failure.Message, "ledger/zzz/000000000001")
		require.Contains(t, s.progress().Failure, "the recovery point was not recorded: "+string(kind))
		for _, point := range s.filed[0].Points {
			require.Empty(t, point.Proof, "nothing is claimed that could not be read")
		}
	}
}

func TestWhatOfTheLedgerWasNotReadIsInTheReport(t *testing.T) {
	s := newStage(t)
	replace(s, "records.RecordPoints", func(context.Context, records.PointsInput) (records.PointsResult, error) {
		return records.PointsResult{Notes: []string{"read ledger record ledger/zzz/000000000001: stored data is damaged or not authentic"}}, nil
	})
	_, err := s.recover(approved())
	require.NoError(t, err)
	require.Contains(t, s.filedStep("record-recovery-point").Detail, "ledger/zzz/000000000001")
}

// filedStep is a step as the filed report has it.
func (s *stage) filedStep(id string) report.Step {
	for _, step := range s.filed[0].Steps {
		if step.ID == id {
			return step
		}
	}
	require.Fail(s.t, "the report has no step "+id)
	return report.Step{}
}
